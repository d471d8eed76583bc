//! The filesystem connector: tables that are files, and forecasts written to
//! files or to standard output.
//!
//! A file is one partition, its row numbers are the offsets, and it ends. So
//! the SQL that runs on a topic runs on a file as a batch: that is how one
//! tries a query, backtests and backfills.
//!
//! | format | by extension | read | written |
//! |--------|--------------|------|---------|
//! | separated values, with a header line | `.csv`, `.tsv`, `.txt` | [`FileSource`] | long form |
//! | JSON objects | `.jsonl`, `.ndjson`, `.json` | [`FileSource`] | the message |
//! | Apache Parquet | `.parquet` | [`FileSource`] | long form |
//! | Apache Parquet, one row a series | `.parquet` | [`read_listed_series`], whole | |
//!
//! Text may be packed by gzip, which is told by its first bytes, and is UTF-8, or
//! UTF-16 with a byte order mark.
//!
//! # How a file is written
//! is told from a sample, once for a column and not for each value: what separates
//! the fields, decimal signs and thousands, the unit of times. See
//! [`FileSource::dialect`] for what is said of it. What names a series is declared
//! as text and is the text of the file, whatever it looks like.
//!
//! # What a row has to be
//! Columns are matched by name and cast to the table's types. An empty CSV
//! field, `NaN`, `NA` and `null` in a column that is not text are *missing*. A
//! row that has the wrong number of fields, holds a value that is no value of
//! its column, or lacks a value where the table says `NOT NULL` becomes a
//! [`BadRecord`](tidecast_stream::BadRecord) with its line and the reason, and
//! the rest goes on; [`BadSummary`] gathers the reasons. Times are what
//! `tidecast_formats::time` takes.
//!
//! A file that is damaged, or something else than its name says, is a
//! [`FileError`], whatever its decoder makes of it.
//!
//! Architecture invariant: this crate knows files and Arrow, not SQL and not
//! the engine.

mod bad;
mod conform;
mod error;
mod format;
mod infer;
mod listed;
mod long;
mod numbers;
mod read;
mod sink;
mod source;
mod survey;
mod text;
pub mod time;

pub use bad::{BadReason, BadSummary};
pub use error::FileError;
pub use format::format_of;
pub use infer::{InferredSchema, UnusableColumn, infer_schema};
pub use listed::{ListedSeries, read_listed_series};
pub use long::LongTable;
pub use sink::{FileSink, JsonLinesWriter, StdoutSink, write_csv, write_parquet};
pub use source::{BATCH_ROWS, FileSource, FileSourceConfig};
pub use tidecast_stream::FileFormat;
