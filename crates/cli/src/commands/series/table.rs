//! A file's columns by the part they play, and its rows read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidecast_files::{FileFormat, FileSource, FileSourceConfig, InferredSchema, infer_schema};
use tidecast_stream::{BadRecord, Source, SourceEvent};

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
}

/// The rows of a file that are none of its table.
#[derive(Debug, Default)]
pub(in crate::commands) struct BadRows {
    pub(in crate::commands) count: usize,
    pub(in crate::commands) first: Vec<BadRecord>,
}

/// Places of bad rows that are named.
const PLACES_NAMED: usize = 3;

impl InputTable {
    /// Finds the columns in the file.
    ///
    /// # Errors
    /// If one is missing, of another type, or named twice.
    pub(in crate::commands) fn open(columns: InputColumns<'_>) -> anyhow::Result<Self> {
        let path = columns.path;
        let format = FileFormat::of_path(path)?;
        let InferredSchema { schema, .. } = infer_schema(path)?;
        let time = column(&schema, columns.time, path)?;
        // One cell that is neither makes a column look like text; its row is bad,
        // not the column. Whether anything else is in it shows when it is read.
        let is_text = |field: &Field| field.data_type() == &DataType::Utf8;
        if !matches!(time.data_type(), DataType::Timestamp(..)) && !is_text(time) {
            bail!(
                "column `{}` of `{}` does not hold times ({}); expected RFC 3339 text, dates, or epoch numbers",
                columns.time,
                path.display(),
                time.data_type()
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
                let field = column(&schema, name, path)?;
                if !field.data_type().is_numeric() && !is_text(field) {
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
            column(&schema, name, path)?;
            // What a series is called is text, whatever it looks like: `007` is not 7.
            add(&mut fields, Field::new(name, DataType::Utf8, true))?;
        }
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            format,
            targets: columns.targets.len(),
            covariates: columns.past_covariates.len() + columns.future_covariates.len(),
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
            batch_rows: tidecast_files::BATCH_ROWS,
            timestamp_unit: None,
        })?;
        let mut bad = BadRows::default();
        loop {
            match source.poll(Duration::ZERO)? {
                SourceEvent::Assigned(partitions) => {
                    for (partition, _) in partitions {
                        source.start(&partition, None)?;
                    }
                }
                SourceEvent::Batch(batch) => {
                    rows.append(&batch.rows)?;
                    bad.count += batch.bad.len();
                    let room = PLACES_NAMED.saturating_sub(bad.first.len());
                    bad.first.extend(batch.bad.into_iter().take(room));
                }
                SourceEvent::Finished => break,
                _ => {}
            }
        }
        if !rows.has_a_value() {
            let first_bad = bad
                .first
                .first()
                .map(|bad| format!("; the first row that cannot be used: {}", bad.error))
                .unwrap_or_default();
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

fn column<'a>(schema: &'a Schema, name: &str, path: &Path) -> anyhow::Result<&'a Field> {
    if let Ok(field) = schema.field_with_name(name) {
        return Ok(field);
    }
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let nearest = names.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let hint = nearest
        .filter(|known| strsim::jaro_winkler(known, name) > 0.8)
        .map(|known| format!("; did you mean `{known}`?"))
        .unwrap_or_default();
    bail!("no column `{name}` in `{}`{hint} (columns: {})", path.display(), names.join(", "));
}
