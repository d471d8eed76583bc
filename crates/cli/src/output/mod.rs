//! Printing forecasts: a table for people, CSV, JSON lines or Parquet for
//! programs.

mod table;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;

use tidecast_files::{FileError, FileFormat, FileSink, JsonLinesWriter, write_csv};
use tidecast_stream::{ForecastMessage, ForecastSchema, Sink, Transaction};

use crate::arguments::OutputFormat;

pub use table::forecast_table;

/// Writes `messages`, forecasts of this schema, as `format` to the file `output`, or to
/// standard output.
///
/// # Errors
/// If the target cannot be written. A reader that closes the pipe is none.
pub fn write(
    schema: &ForecastSchema,
    messages: &[ForecastMessage],
    format: OutputFormat,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    match output {
        Some(path) => write_file(schema, messages, format, path),
        None => {
            let mut bytes = Vec::new();
            write_to(&mut bytes, schema, messages, format)?;
            match io::stdout().lock().write_all(&bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => written.context("cannot write to standard output"),
            }
        }
    }
}

fn write_file(
    schema: &ForecastSchema,
    messages: &[ForecastMessage],
    format: OutputFormat,
    path: &Path,
) -> anyhow::Result<()> {
    let format = match format {
        OutputFormat::Csv => FileFormat::Csv,
        OutputFormat::Jsonl => FileFormat::JsonLines,
        OutputFormat::Parquet => FileFormat::Parquet,
        OutputFormat::Table => {
            let cannot = || format!("cannot write `{}`", path.display());
            let mut file = File::create(path).with_context(cannot)?;
            return file
                .write_all(forecast_table(schema, messages).as_bytes())
                .with_context(cannot);
        }
    };
    let mut sink = FileSink::create(path, format, schema)?;
    sink.publish(Transaction { forecasts: messages.to_vec(), ..Transaction::default() })?;
    sink.close()?;
    Ok(())
}

/// Writes what goes to a terminal or a pipe.
fn write_to(
    mut writer: impl Write + Send,
    schema: &ForecastSchema,
    messages: &[ForecastMessage],
    format: OutputFormat,
) -> Result<(), FileError> {
    match format {
        OutputFormat::Table => writer
            .write_all(forecast_table(schema, messages).as_bytes())
            .map_err(|source| FileError::Write { target: "standard output".to_owned(), source }),
        OutputFormat::Csv => write_csv(schema, messages, writer),
        OutputFormat::Jsonl => JsonLinesWriter::new(writer, "standard output").write(messages),
        OutputFormat::Parquet => tidecast_files::write_parquet(schema, messages, writer),
    }
}

#[cfg(test)]
mod tests;
