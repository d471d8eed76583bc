//! File formats.

use std::fs::File;
use std::path::Path;

use tidecast_stream::FileFormat;

use crate::error::FileError;
use crate::text::other_kind;

pub(crate) use crate::text::open_text;

/// Returns the format that the file's name says.
///
/// # Errors
/// If the extension is none we know.
///
/// ```
/// use tidecast_files::{FileFormat, format_of};
/// assert_eq!(format_of("load.csv.gz".as_ref()).unwrap(), FileFormat::Csv);
/// assert!(format_of("load.xlsx".as_ref()).is_err());
/// ```
pub fn format_of(path: &Path) -> Result<FileFormat, FileError> {
    if let Some(format) = FileFormat::of_path(path) {
        return Ok(format);
    }
    let name = path.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    Err(match extension.and_then(other_kind) {
        Some((kind, remedy)) => FileError::OtherKind { path: path.to_owned(), kind, remedy },
        None => FileError::UnknownFormat { path: path.to_owned() },
    })
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
