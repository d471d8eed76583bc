//! What a file holds, and how its name says so.

use std::path::Path;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Separated values with a header line.
    Csv,
    /// JSON objects, one a line or in an array.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// Returns its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "json",
            Self::Parquet => "parquet",
        }
    }

    /// Returns the format that a file's name says, `.gz` taken off.
    ///
    /// ```
    /// use tidecast_stream::FileFormat;
    /// assert_eq!(FileFormat::of_path("load.csv.gz".as_ref()), Some(FileFormat::Csv));
    /// assert_eq!(FileFormat::of_path("load.jsonl.gz".as_ref()), Some(FileFormat::JsonLines));
    /// assert_eq!(FileFormat::of_path("load.TSV".as_ref()), Some(FileFormat::Csv));
    /// assert_eq!(FileFormat::of_path("load.xlsx".as_ref()), None);
    /// ```
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = path.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match Path::new(name).extension()?.to_str()? {
            "csv" | "tsv" | "tab" | "psv" | "txt" => Some(Self::Csv),
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            "parquet" | "pq" => Some(Self::Parquet),
            _ => None,
        }
    }
}
