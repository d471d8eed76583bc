//! Forecasts into files and to standard output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use tidecast_formats::json::encode_forecast;
use tidecast_stream::{
    EventTime, FileFormat, ForecastMessage, ForecastSchema, Sink, SinkError, Transaction,
};

use crate::error::FileError;
use crate::long::LongTable;

/// Writes messages as JSON lines, one message a line, whole transactions at a
/// time.
#[derive(Debug)]
pub struct JsonLinesWriter<W> {
    writer: W,
    target: String,
}

/// The sink of `'connector'='stdout'`: JSON lines on standard output.
pub type StdoutSink = JsonLinesWriter<Stdout>;

impl StdoutSink {
    /// Returns the sink on standard output.
    pub fn stdout() -> Self {
        Self::new(io::stdout(), "standard output")
    }
}

impl<W: Write> JsonLinesWriter<W> {
    /// Returns a writer on `writer`, which errors call `target`.
    pub fn new(writer: W, target: impl Into<String>) -> Self {
        Self { writer, target: target.into() }
    }

    /// Writes `messages` and flushes.
    ///
    /// # Errors
    /// If the target cannot be written.
    pub fn write(&mut self, messages: &[ForecastMessage]) -> Result<(), FileError> {
        self.try_write(messages)
            .map_err(|source| FileError::Write { target: self.target.clone(), source })
    }

    fn try_write(&mut self, messages: &[ForecastMessage]) -> io::Result<()> {
        let mut lines = Vec::new();
        for message in messages {
            encode_forecast(message, &mut lines)?;
            lines.push(b'\n');
        }
        self.writer.write_all(&lines)?;
        self.writer.flush()
    }
}

impl<W: Write + Send> Sink for JsonLinesWriter<W> {
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError> {
        report_left_out(&transaction, &self.target);
        Ok(self.write(&transaction.forecasts)?)
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(self.write(&[])?)
    }
}

/// A file of forecasts. [`create`](FileSink::create) replaces it: for a bounded
/// source, which is read anew by the next run. [`append`](FileSink::append) goes
/// on with it: for a source whose offsets are committed, and which will not send
/// the same again.
///
/// JSON lines grow as forecasts are made. CSV and Parquet, in the
/// [long form](LongTable), are written beside the target and take its name when
/// the sink is closed, so that nobody reads half a file.
#[derive(Debug)]
pub struct FileSink(Kind);

#[derive(Debug)]
enum Kind {
    Lines(JsonLinesWriter<BufWriter<File>>),
    Long(Box<LongFile>),
}

impl FileSink {
    /// Returns a sink that writes forecasts of this schema as `format` to `path`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(
        path: &Path,
        format: FileFormat,
        schema: &ForecastSchema,
    ) -> Result<Self, FileError> {
        let target = path.display().to_string();
        let failed = |source| FileError::Write { target: target.clone(), source };
        if format == FileFormat::JsonLines {
            let file = BufWriter::new(File::create(path).map_err(failed)?);
            return Ok(Self(Kind::Lines(JsonLinesWriter::new(file, target))));
        }
        Ok(Self(Kind::Long(Box::new(LongFile::create(path, format, schema)?))))
    }

    /// Returns a sink that adds JSON lines to `path`, which need not exist. A last
    /// line that was cut short is taken off: its transaction was not completed
    /// and will come again.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn append(path: &Path) -> Result<Self, FileError> {
        let target = path.display().to_string();
        let file = open_behind_last_line(path)
            .map_err(|source| FileError::Write { target: target.clone(), source })?;
        Ok(Self(Kind::Lines(JsonLinesWriter::new(BufWriter::new(file), target))))
    }
}

fn open_behind_last_line(path: &Path) -> io::Result<File> {
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut chunk = [0_u8; 8192];
    while end > 0 {
        let start = end.saturating_sub(chunk.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        // At most the chunk's length, so the cast is exact.
        let part = chunk.get_mut(..(end - start) as usize).unwrap_or_default();
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
            end = start + newline as u64 + 1;
            break;
        }
        end = start;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(file)
}

impl Sink for FileSink {
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError> {
        match &mut self.0 {
            Kind::Lines(lines) => lines.publish(transaction),
            Kind::Long(long) => {
                report_left_out(&transaction, &long.target.display().to_string());
                Ok(long.write(&transaction.forecasts)?)
            }
        }
    }

    fn close(&mut self) -> Result<(), SinkError> {
        match &mut self.0 {
            Kind::Lines(lines) => lines.close(),
            Kind::Long(long) => Ok(long.finish()?),
        }
    }
}

/// Files hold forecasts only; what else came is said, not lost in silence.
fn report_left_out(transaction: &Transaction, target: &str) {
    if transaction.late.is_empty() && transaction.bad.is_empty() {
        return;
    }
    tracing::warn!(
        target_file = target,
        late_rows = transaction.late.len(),
        bad_records = transaction.bad.len(),
        first_error = transaction.bad.first().map(|bad| bad.error.as_str()),
        "records left out of the forecasts"
    );
}

/// A file in the long form under way.
#[derive(Debug)]
struct LongFile {
    target: PathBuf,
    /// Where it is written until it is whole; `None` when it has its name.
    part: Option<PathBuf>,
    table: LongTable,
    /// Taken out when the file is whole.
    writer: Option<LongWriter<File>>,
}

impl LongFile {
    fn create(path: &Path, format: FileFormat, schema: &ForecastSchema) -> Result<Self, FileError> {
        let target = path.display().to_string();
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(name);
        let file = File::create(&part)
            .map_err(|source| FileError::Write { target: target.clone(), source })?;
        let table = LongTable::new(schema);
        // From here on a failure takes the unfinished file away.
        let mut long = Self { target: path.to_owned(), part: Some(part), table, writer: None };
        long.writer = Some(LongWriter::new(file, format, &long.table, &target)?);
        Ok(long)
    }

    fn write(&mut self, messages: &[ForecastMessage]) -> Result<(), FileError> {
        let target = self.target.display().to_string();
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(&self.table.rows(messages, &target)?, &target)
    }

    fn finish(&mut self) -> Result<(), FileError> {
        let target = self.target.display().to_string();
        if let Some(writer) = self.writer.take() {
            writer.finish(&target)?;
        }
        if let Some(part) = self.part.take() {
            fs::rename(&part, &self.target)
                .map_err(|source| FileError::Write { target, source })?;
        }
        Ok(())
    }
}

impl Drop for LongFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part
            && let Err(error) = fs::remove_file(part)
        {
            tracing::debug!(file = %part.display(), %error, "unfinished file stays");
        }
    }
}

/// Writes batches of the long form.
enum LongWriter<W: Write + Send> {
    Csv(Box<arrow_csv::Writer<BufWriter<W>>>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> std::fmt::Debug for LongWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Csv(_) => "LongWriter::Csv",
            Self::Parquet(_) => "LongWriter::Parquet",
        })
    }
}

impl<W: Write + Send> LongWriter<W> {
    fn new(
        writer: W,
        format: FileFormat,
        table: &LongTable,
        target: &str,
    ) -> Result<Self, FileError> {
        if format != FileFormat::Parquet {
            let mut writer = Self::Csv(Box::new(arrow_csv::Writer::new(BufWriter::new(writer))));
            // The header comes with the first rows; a file without any has one, too.
            writer.write(&RecordBatch::new_empty(Arc::clone(table.schema())), target)?;
            return Ok(writer);
        }
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer = ArrowWriter::try_new(writer, table.schema().clone(), Some(properties))
            .map_err(|error| parquet_failed(error, target))?;
        Ok(Self::Parquet(Box::new(writer)))
    }

    fn write(&mut self, rows: &RecordBatch, target: &str) -> Result<(), FileError> {
        match self {
            Self::Csv(writer) => {
                writer.write(&with_times_as_text(rows)?).map_err(|error| csv_failed(error, target))
            }
            Self::Parquet(writer) => {
                writer.write(rows).map_err(|error| parquet_failed(error, target))
            }
        }
    }

    fn finish(self, target: &str) -> Result<(), FileError> {
        match self {
            Self::Csv(writer) => writer
                .into_inner()
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|mut writer| writer.flush())
                .map_err(|source| FileError::Write { target: target.to_owned(), source }),
            Self::Parquet(writer) => {
                writer.close().map(drop).map_err(|error| parquet_failed(error, target))
            }
        }
    }
}

/// Writes `messages`, forecasts of this schema, as CSV in the [long form](LongTable).
///
/// # Errors
/// If a message is of another schema, or `writer` fails.
pub fn write_csv(
    schema: &ForecastSchema,
    messages: &[ForecastMessage],
    writer: impl Write + Send,
) -> Result<(), FileError> {
    write_long(schema, messages, writer, FileFormat::Csv)
}

/// Writes `messages`, forecasts of this schema, as Parquet in the
/// [long form](LongTable).
///
/// # Errors
/// If a message is of another schema, or `writer` fails.
pub fn write_parquet(
    schema: &ForecastSchema,
    messages: &[ForecastMessage],
    writer: impl Write + Send,
) -> Result<(), FileError> {
    write_long(schema, messages, writer, FileFormat::Parquet)
}

fn write_long(
    schema: &ForecastSchema,
    messages: &[ForecastMessage],
    writer: impl Write + Send,
    format: FileFormat,
) -> Result<(), FileError> {
    let target = "output";
    let table = LongTable::new(schema);
    let mut writer = LongWriter::new(writer, format, &table, target)?;
    writer.write(&table.rows(messages, target)?, target)?;
    writer.finish(target)
}

/// Times as RFC 3339: what CSV writers make of timestamps, every reader
/// understands in its own way.
fn with_times_as_text(rows: &RecordBatch) -> Result<RecordBatch, FileError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        if !matches!(column.data_type(), DataType::Timestamp(..)) {
            fields.push(field.as_ref().clone());
            columns.push(column.clone());
            continue;
        }
        let times = column.as_primitive::<TimestampMicrosecondType>().iter();
        let texts: StringArray = times
            .map(|micros| micros.map(|micros| EventTime::from_micros(micros).to_string()))
            .collect();
        fields.push(Field::new(field.name(), DataType::Utf8, field.is_nullable()));
        columns.push(Arc::new(texts) as ArrayRef);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn parquet_failed(error: ParquetError, target: &str) -> FileError {
    FileError::Write { target: target.to_owned(), source: io::Error::other(error) }
}

fn csv_failed(error: arrow::error::ArrowError, target: &str) -> FileError {
    FileError::Write { target: target.to_owned(), source: io::Error::other(error) }
}
