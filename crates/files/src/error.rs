//! What can go wrong with a file as a whole. A single bad row is no error but a
//! [`BadRecord`](tidecast_stream::BadRecord).

use std::io;
use std::path::{Path, PathBuf};

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
        "`{}`: the extension does not tell the format; expected .csv, .tsv, .jsonl or .parquet (.gz for all but the last), or say 'format' = 'csv'",
        .path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a kind that is not read.
    #[error("`{}`: is {kind}, which cannot be read; {remedy}", .path.display())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// What to do.
        remedy: &'static str,
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
    /// A column of the table is in the file twice.
    #[error(
        "`{}`: has two columns `{column}` (columns {first} and {second}); {remedy}",
        .path.display()
    )]
    ColumnTwice {
        /// The file.
        path: PathBuf,
        /// The column wanted.
        column: String,
        /// Where the first one stands, from 1.
        first: usize,
        /// Where the second one stands.
        second: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// The first line of a file holds values.
    #[error(
        "`{}`: has no header: its first line holds values (`{first_line}`); expected the names of the columns, e.g. add a line `{example}` in front",
        .path.display()
    )]
    NoHeader {
        /// The file.
        path: PathBuf,
        /// The values.
        first_line: String,
        /// What a header may be.
        example: String,
    },
    /// There is nothing but the columns' names.
    #[error("`{}`: has {} and no rows", .path.display(), if *.is_header { "a header" } else { "columns" })]
    NoRows {
        /// The file.
        path: PathBuf,
        /// Whether the names are a line of it.
        is_header: bool,
    },
    /// None of the first rows can be read.
    #[error("`{}`: none of its first {rows} rows can be read; the first: {reason}", .path.display())]
    NoGoodRow {
        /// The file.
        path: PathBuf,
        /// How many were tried.
        rows: usize,
        /// Where the first one stands, and what is wrong.
        reason: String,
    },
    /// A column's type cannot become the table's.
    #[error("`{}`: column `{column}` holds {found}, which cannot become {wanted}; {remedy}", .path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
        /// Its type in the table.
        wanted: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A column's numbers are no times in any sensible unit.
    #[error("`{}`: column `{column}` holds no times: {reason}", .path.display())]
    AbsurdTimes {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What they would be, and what is likely meant.
        reason: String,
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
    /// The table's records cannot be decoded.
    #[error(transparent)]
    Decode(#[from] tidecast_formats::DecodeError),
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
    /// The error for a file whose first line is `values`.
    pub(crate) fn no_header(path: &Path, values: &[String]) -> Self {
        let first: Vec<&str> = values.iter().take(4).map(String::as_str).collect();
        let more = if values.len() > first.len() { ", …" } else { "" };
        let names = ["ts", "value", "value_2", "value_3"];
        let names: Vec<&str> = names.into_iter().take(first.len()).collect();
        Self::NoHeader {
            path: path.to_owned(),
            first_line: format!("{}{more}", first.join(", ")),
            example: format!("{}{more}", names.join(",")),
        }
    }

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
