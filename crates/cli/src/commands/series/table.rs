//! A file's columns by the part they play, and its rows read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidecast_files::{
    BadSummary, FileFormat, FileSource, FileSourceConfig, format_of, infer_schema,
};
use tidecast_stream::{EpochUnit, Source, SourceEvent};

use super::rows::FileRows;

/// Which columns of a file are meant.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct InputColumns<'a> {
    pub(in crate::commands) path: &'a Path,
    pub(in crate::commands) time: &'a str,
    pub(in crate::commands) targets: &'a [String],
    pub(in crate::commands) past_covariates: &'a [String],
    pub(in crate::commands) future_covariates: &'a [String],
    pub(in crate::commands) series: &'a [String],
    /// What numbers in the column of times count.
    pub(in crate::commands) timestamp_unit: Option<EpochUnit>,
}

impl<'a> InputColumns<'a> {
    /// Returns a single target without covariates, where the flags said all of it.
    ///
    /// # Errors
    /// If the time or the target was not said.
    pub(in crate::commands) fn univariate(
        path: &'a Path,
        time: Option<&'a String>,
        target: Option<&'a String>,
        series: &'a [String],
    ) -> anyhow::Result<Self> {
        Ok(Self {
            path,
            time: time.context("--time is missing: the column with the time")?,
            targets: std::slice::from_ref(
                target.context("--target is missing: the column with the values")?,
            ),
            past_covariates: &[],
            future_covariates: &[],
            series,
            timestamp_unit: None,
        })
    }
}

/// The columns a forecast needs, with the types the table declares.
#[derive(Debug)]
pub(in crate::commands) struct InputTable {
    /// Time, targets, covariates, then the series columns.
    pub(in crate::commands) schema: SchemaRef,
    pub(in crate::commands) format: FileFormat,
    targets: usize,
    covariates: usize,
    timestamp_unit: Option<EpochUnit>,
}

impl InputTable {
    /// Finds the columns in the file.
    ///
    /// # Errors
    /// If one is missing, of another type, or named twice.
    pub(in crate::commands) fn open(columns: InputColumns<'_>) -> anyhow::Result<Self> {
        let path = columns.path;
        let format = format_of(path)?;
        let found = infer_schema(path)?;
        let time = found.column(path, columns.time)?;
        // One cell that is neither makes a column look like text; its row is bad,
        // not the column. Whether anything else is in it shows when it is read, and which
        // numbers are times (1999, 20240801, seconds since 1970) the reader knows.
        let is_text = |field: &Field| field.data_type() == &DataType::Utf8;
        let held = match time.data_type() {
            DataType::Timestamp(..) => None,
            DataType::Null => Some("it is empty in every row looked at".to_owned()),
            number if number.is_numeric() => None,
            _ if is_text(time) => None,
            other => Some(format!("it holds {other}")),
        };
        if let Some(held) = held {
            bail!(
                "column `{}` of `{}` does not hold times: {held}; expected RFC 3339 text, dates, or epoch numbers",
                columns.time,
                path.display(),
            );
        }
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut fields = vec![Field::new(time.name(), instant, false)];
        let roles = [
            (columns.targets, "--target names the column to forecast"),
            (columns.past_covariates, "--past-covariates names columns of numbers"),
            (columns.future_covariates, "--future-covariates names columns of numbers"),
        ];
        for (names, meaning) in roles {
            for name in names {
                let field = found.column(path, name)?;
                let may_be = found.may_be_numeric(name);
                if !may_be && !field.data_type().is_numeric() && !is_text(field) {
                    bail!(
                        "column `{name}` of `{}` is not numeric ({}); {meaning}",
                        path.display(),
                        field.data_type()
                    );
                }
                add(&mut fields, Field::new(name, DataType::Float64, true))?;
            }
        }
        for name in columns.series {
            // What a series is called is text, whatever it looks like: `007` is not 7.
            add(&mut fields, found.as_text(path, name)?)?;
        }
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            format,
            targets: columns.targets.len(),
            covariates: columns.past_covariates.len() + columns.future_covariates.len(),
            timestamp_unit: columns.timestamp_unit,
        })
    }

    /// Reads all rows that have a time, in the order of the file.
    ///
    /// # Errors
    /// If the file cannot be read, or no row of it has a number.
    pub(in crate::commands) fn read(&self, path: &Path) -> anyhow::Result<FileRows> {
        let mut rows = FileRows::new(self.targets, self.targets + self.covariates);
        let mut source = FileSource::open(FileSourceConfig {
            path: path.to_owned(),
            format: self.format,
            schema: Arc::clone(&self.schema),
            fields: Vec::new(),
            batch_rows: tidecast_files::BATCH_ROWS,
            timestamp_unit: self.timestamp_unit,
        })?;
        let mut bad = BadSummary::default();
        let mut first_bad = String::new();
        loop {
            match source.poll(Duration::ZERO)? {
                SourceEvent::Assigned(partitions) => {
                    for (partition, _) in partitions {
                        source.start(&partition, None)?;
                    }
                }
                SourceEvent::Batch(batch) => {
                    rows.append(&batch.rows)?;
                    bad.add_batch(batch.rows.num_rows(), &batch.bad);
                    if let (true, Some(bad)) = (first_bad.is_empty(), batch.bad.first()) {
                        first_bad = format!("; the first row that cannot be used: {}", bad.error);
                    }
                }
                SourceEvent::Finished => break,
                _ => {}
            }
        }
        if !rows.has_a_value() {
            let targets: Vec<String> =
                self.target_names().map(|name| format!("`{name}`")).collect();
            bail!(
                "no row of `{}` has both a time in `{}` (--time) and a number in {} (--target){first_bad}",
                path.display(),
                self.schema.field(0).name(),
                targets.join(" or "),
            );
        }
        rows.bad = bad;
        rows.dialect = source.dialect().map(str::to_owned);
        Ok(rows)
    }

    pub(in crate::commands) fn target_names(&self) -> impl Iterator<Item = &String> {
        self.schema.fields().iter().skip(1).take(self.targets).map(|field| field.name())
    }
}

/// Adds a column that no other flag may name.
fn add(fields: &mut Vec<Field>, field: Field) -> anyhow::Result<()> {
    if fields.iter().any(|known| known.name() == field.name()) {
        bail!(
            "column `{}` is named twice; --time, --target, --past-covariates, --future-covariates \
             and --series must differ",
            field.name()
        );
    }
    fields.push(field);
    Ok(())
}
