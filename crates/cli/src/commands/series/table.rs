//! A file's series in memory: to find the step, and to draw the history.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tidecast_files::{FileFormat, FileSource, FileSourceConfig, InferredSchema, infer_schema};
use tidecast_stream::{BadRecord, EventTime, Source, SourceEvent};

use crate::plot::Histories;

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

/// A row that has a time.
#[derive(Debug)]
pub(in crate::commands) struct InputRow {
    /// The values of the series columns, as text.
    pub(in crate::commands) series: Vec<String>,
    pub(in crate::commands) time: EventTime,
    /// By target; `None` if the cell is empty.
    pub(in crate::commands) values: Vec<Option<f64>>,
}

/// The rows of a file that are none of its table.
#[derive(Debug, Default)]
pub(in crate::commands) struct BadRows {
    pub(in crate::commands) count: usize,
    pub(in crate::commands) first: Option<BadRecord>,
}

/// What is observed in a file.
#[derive(Debug, Default)]
pub(in crate::commands) struct Observed {
    /// By target.
    pub(in crate::commands) histories: BTreeMap<String, Histories>,
    /// Labels of the series of which a target was observed.
    pub(in crate::commands) series: BTreeSet<String>,
    /// Rows with a time and at least one target.
    pub(in crate::commands) rows: usize,
}

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
            let series = column(&schema, name, path)?;
            add(&mut fields, Field::new(name, series.data_type().clone(), true))?;
        }
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            format,
            targets: columns.targets.len(),
            covariates: columns.past_covariates.len() + columns.future_covariates.len(),
        })
    }

    /// Reads all series, each sorted by time; what has no value is left out.
    ///
    /// # Errors
    /// If the file cannot be read, or no row of it can be used.
    pub(in crate::commands) fn observed(&self, path: &Path) -> anyhow::Result<Observed> {
        let mut observed = Observed::default();
        self.for_each_row(path, |row| {
            let label = row.series.join("/");
            let mut any = false;
            for (name, value) in self.target_names().zip(&row.values) {
                let Some(value) = value.filter(|value| value.is_finite()) else { continue };
                any = true;
                let histories = observed.histories.entry(name.clone()).or_default();
                histories.entry(label.clone()).or_default().push((row.time, value));
            }
            if any {
                observed.rows += 1;
                observed.series.insert(label);
            }
        })?;
        for history in observed.histories.values_mut().flat_map(Histories::values_mut) {
            history.sort_by_key(|(time, _)| *time);
        }
        Ok(observed)
    }

    /// Reads all rows that have a time, in the order of the file; returns those
    /// that could not be used.
    ///
    /// # Errors
    /// If the file cannot be read, or no row of it has a number.
    pub(in crate::commands) fn for_each_row(
        &self,
        path: &Path,
        mut take: impl FnMut(InputRow),
    ) -> anyhow::Result<BadRows> {
        let mut bad = BadRows::default();
        let mut is_empty = true;
        let mut take = |row: InputRow| {
            is_empty &= !row.values.iter().flatten().any(|value| value.is_finite());
            take(row);
        };
        let mut source = FileSource::open(FileSourceConfig {
            path: path.to_owned(),
            format: self.format,
            schema: Arc::clone(&self.schema),
            batch_rows: tidecast_files::BATCH_ROWS,
            timestamp_unit: None,
        })?;
        loop {
            match source.poll(Duration::ZERO)? {
                SourceEvent::Assigned(partitions) => {
                    for (partition, _) in partitions {
                        source.start(&partition, None)?;
                    }
                }
                SourceEvent::Batch(batch) => {
                    self.rows_of(&batch.rows, &mut take)?;
                    bad.count += batch.bad.len();
                    bad.first = bad.first.or(batch.bad.into_iter().next());
                }
                SourceEvent::Finished => break,
                _ => {}
            }
        }
        if is_empty {
            let first_bad = bad
                .first
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
        Ok(bad)
    }

    fn target_names(&self) -> impl Iterator<Item = &String> {
        self.schema.fields().iter().skip(1).take(self.targets).map(|field| field.name())
    }

    /// Hands over the rows that have a time; the columns are those of the schema.
    fn rows_of(&self, rows: &RecordBatch, take: &mut impl FnMut(InputRow)) -> anyhow::Result<()> {
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let targets = rows
            .columns()
            .iter()
            .skip(1)
            .take(self.targets)
            .map(|column| {
                Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            })
            .collect::<anyhow::Result<Vec<_>>>()
            .context("target columns")?;
        let options = FormatOptions::default();
        let series = rows
            .columns()
            .iter()
            .skip(1 + self.targets + self.covariates)
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()
            .context("series columns")?;
        for row in (0..rows.num_rows()).filter(|&row| times.is_valid(row)) {
            let value = |values: &arrow::array::Float64Array| {
                values.is_valid(row).then(|| values.value(row))
            };
            take(InputRow {
                series: series.iter().map(|column| column.value(row).to_string()).collect(),
                time: EventTime::from_micros(times.value(row)),
                values: targets.iter().map(value).collect(),
            });
        }
        Ok(())
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

/// Finds the distance of two steps: the most frequent distance of neighbours in
/// time, the smaller of two equally frequent ones. The times of each series are
/// in order.
pub(in crate::commands) fn infer_step<S: IntoIterator<Item = EventTime>>(
    series: impl IntoIterator<Item = S>,
) -> Option<Duration> {
    let mut counts = BTreeMap::<i64, usize>::new();
    for times in series {
        let mut earlier = None;
        for later in times {
            let distance = earlier.map_or(0, |earlier: EventTime| {
                later.as_micros().saturating_sub(earlier.as_micros())
            });
            if distance > 0 {
                *counts.entry(distance).or_default() += 1;
            }
            earlier = Some(later);
        }
    }
    let most = counts.values().copied().max()?;
    let step = counts.into_iter().find(|(_, count)| *count == most)?.0;
    u64::try_from(step).ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(hours: &[i64]) -> Vec<EventTime> {
        hours.iter().map(|hour| EventTime::from_millis(hour * 3_600_000)).collect()
    }

    #[test]
    fn the_step_is_the_most_frequent_distance() {
        let series = [times(&[0, 1, 2, 5, 6]), times(&[0, 24])];
        assert_eq!(infer_step(series), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn rows_at_one_time_have_no_step() {
        assert_eq!(infer_step([times(&[3, 3, 3])]), None);
    }
}
