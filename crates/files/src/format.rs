//! File formats.

use std::fs::File;
use std::path::Path;

use crate::error::FileError;
use crate::text::other_kind;

pub(crate) use crate::text::open_text;

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
    /// Returns the format that the file's name says, `.gz` taken off.
    ///
    /// # Errors
    /// If the extension is none we know.
    ///
    /// ```
    /// use tidecast_files::FileFormat;
    /// assert_eq!(FileFormat::of_path("load.csv.gz".as_ref()).unwrap(), FileFormat::Csv);
    /// assert_eq!(FileFormat::of_path("load.TSV".as_ref()).unwrap(), FileFormat::Csv);
    /// assert!(FileFormat::of_path("load.xlsx".as_ref()).is_err());
    /// ```
    pub fn of_path(path: &Path) -> Result<Self, FileError> {
        let name = path.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("csv" | "tsv" | "tab" | "psv" | "txt") => Ok(Self::Csv),
            Some("jsonl" | "ndjson" | "json") => Ok(Self::JsonLines),
            Some("parquet" | "pq") => Ok(Self::Parquet),
            other => match other.and_then(other_kind) {
                Some((kind, remedy)) => {
                    Err(FileError::OtherKind { path: path.to_owned(), kind, remedy })
                }
                None => Err(FileError::UnknownFormat { path: path.to_owned() }),
            },
        }
    }
}

/// Opens a file for reading; a folder is refused here, since reading one fails
/// only later and says less.
pub(crate) fn open(path: &Path) -> Result<File, FileError> {
    let failed = |source| FileError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(FileError::IsFolder { path: path.to_owned() });
    }
    Ok(file)
}
