//! File formats.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::FileError;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
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
    /// assert!(FileFormat::of_path("load.xlsx".as_ref()).is_err());
    /// ```
    pub fn of_path(path: &Path) -> Result<Self, FileError> {
        let name = path.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson" | "json") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(FileError::UnknownFormat { path: path.to_owned() }),
        }
    }
}

/// Opens a text file, through gzip if its name ends in `.gz`.
pub(crate) fn open_text(path: &Path) -> Result<BufReader<Box<dyn Read + Send>>, FileError> {
    let file = open(path)?;
    let is_gzip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let reader: Box<dyn Read + Send> =
        if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(BufReader::with_capacity(128 * 1024, reader))
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
