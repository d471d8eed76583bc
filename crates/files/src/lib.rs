//! The filesystem connector: tables that are files, and forecasts written to
//! files or to standard output.
//!
//! A file is one partition, its row numbers are the offsets, and it ends. So
//! the SQL that runs on a topic runs on a file as a batch: that is how one
//! tries a query, backtests and backfills.
//!
//! | format | by extension | read | written |
//! |--------|--------------|------|---------|
//! | CSV, with a header line | `.csv`, `.csv.gz` | [`FileSource`] | long form |
//! | JSON, one object a line | `.jsonl`, `.ndjson`, `.json`, each also `.gz` | [`FileSource`] | the message |
//! | Apache Parquet | `.parquet` | [`FileSource`] | long form |
//! | Apache Parquet, one row a series | `.parquet` | [`read_listed_series`], whole | |
//!
//! # What a row has to be
//! Columns are matched by name and cast to the table's types. An empty CSV
//! field, `NaN`, `NA` and `null` in a column that is not text are *missing*. A
//! row that has the wrong number of fields, holds a value that is no value of
//! its column, or lacks a value where the table says `NOT NULL` becomes a
//! [`BadRecord`](tidecast_stream::BadRecord) with its line and the reason, and
//! the rest goes on. Times are RFC 3339 or ISO 8601, UTC where no zone is
//! given, or whole numbers since the epoch, whose unit (seconds to nanoseconds)
//! is told by their size; see [`time`].
//!
//! Architecture invariant: this crate knows files and Arrow, not SQL and not
//! the engine.

mod bad;
mod conform;
mod error;
mod format;
mod guard;
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
pub use format::FileFormat;
pub use infer::{InferredSchema, UnusableColumn, infer_schema};
pub use listed::{ListedSeries, read_listed_series};
pub use long::LongTable;
pub use sink::{FileSink, JsonLinesWriter, StdoutSink, write_csv, write_parquet};
pub use source::{BATCH_ROWS, FileSource, FileSourceConfig};
