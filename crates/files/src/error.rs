//! What can go wrong with a file as a whole. A single bad row is no error but a
//! [`BadRecord`](tidecast_stream::BadRecord).

use std::io;
use std::path::PathBuf;

use tidecast_stream::{Blame, SinkError, SourceError};

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened.
    #[error("`{}`: cannot be opened: {source}; check 'path' and the file's permissions", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The path names a folder.
    #[error("`{}`: is a folder; 'path' names one file", .path.display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The extension is none we know.
    #[error(
        "`{}`: the extension does not tell the format; expected .csv, .jsonl or .parquet (.gz for the first two), or say 'format' = 'csv'",
        .path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file is not in its format, or broken.
    #[error("`{}`: cannot be read as {format}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The format it was taken for.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A column of the table is not in the file.
    #[error("`{}`: has no column `{column}`{}; it has: {}", .path.display(), suggestion(.nearest), .found.join(", "))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column wanted.
        column: String,
        /// The nearest column there is.
        nearest: Option<String>,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A column's type cannot become the table's.
    #[error("`{}`: column `{column}` holds {found}, which cannot become {wanted}; declare the column as what the file holds", .path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
        /// Its type in the table.
        wanted: String,
    },
    /// The file cannot be written.
    #[error(
        "`{target}`: cannot be written: {source}; check that the folder exists and there is room"
    )]
    Write {
        /// The file, or standard output.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// A forecast cannot be laid out in the table's columns.
    #[error("`{target}`: forecast of series {series} does not fit the file: {reason}")]
    Layout {
        /// The file.
        target: String,
        /// The series.
        series: String,
        /// What does not fit, and what was expected.
        reason: String,
    },
    /// Something that should not happen did.
    #[error("cannot build a batch of rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Returns the candidate that `name` was probably meant to be.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let similarity =
        |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (similarity(candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

impl FileError {
    /// Returns who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Write { .. } => Blame::External,
            Self::Arrow(_) => Blame::Internal,
            _ => Blame::User,
        }
    }
}

impl From<FileError> for SourceError {
    fn from(error: FileError) -> Self {
        Self { message: error.to_string(), blame: error.blame(), retriable: false }
    }
}

impl From<FileError> for SinkError {
    fn from(error: FileError) -> Self {
        Self { message: error.to_string(), blame: error.blame(), retriable: false }
    }
}
