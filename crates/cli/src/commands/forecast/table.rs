//! A file's series in memory: to find the step, and to draw the history.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tidecast_files::{FileFormat, FileSource, FileSourceConfig, InferredSchema, infer_schema};
use tidecast_stream::{BadRecord, EventTime, Source, SourceEvent};

/// Which columns of a file are meant.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct InputColumns<'a> {
    pub(in crate::commands) path: &'a Path,
    pub(in crate::commands) time: &'a str,
    pub(in crate::commands) target: &'a str,
    pub(in crate::commands) series: &'a [String],
}

/// The columns a forecast needs, with the types the table declares.
#[derive(Debug)]
pub(in crate::commands) struct InputTable {
    /// Time, target, then the series columns.
    pub(in crate::commands) schema: SchemaRef,
    pub(in crate::commands) format: FileFormat,
}

/// A row that has a time.
#[derive(Debug)]
pub(in crate::commands) struct InputRow {
    /// The values of the series columns, as text.
    pub(in crate::commands) series: Vec<String>,
    pub(in crate::commands) time: EventTime,
    /// `None` if the cell is empty.
    pub(in crate::commands) value: Option<f64>,
}

/// The rows of a file that are none of its table.
#[derive(Debug, Default)]
pub(in crate::commands) struct BadRows {
    pub(in crate::commands) count: usize,
    pub(in crate::commands) first: Option<BadRecord>,
}

/// Each series' values by time, under its label.
pub(super) type Histories = BTreeMap<String, Vec<(EventTime, f64)>>;

impl InputTable {
    /// Finds the columns in the file.
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
        let target = column(&schema, columns.target, path)?;
        if !target.data_type().is_numeric() && !is_text(target) {
            bail!(
                "column `{}` of `{}` is not numeric ({}); --target names the column to forecast",
                columns.target,
                path.display(),
                target.data_type()
            );
        }
        let mut fields = vec![
            Field::new(time.name(), DataType::Timestamp(TimeUnit::Microsecond, None), false),
            Field::new(target.name(), DataType::Float64, true),
        ];
        for name in columns.series {
            if fields.iter().any(|field| field.name() == name) {
                bail!("column `{name}` is named twice; --series, --time and --target must differ");
            }
            let series = column(&schema, name, path)?;
            fields.push(Field::new(name, series.data_type().clone(), true));
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)), format })
    }

    /// Reads all series, each sorted by time; rows without a value are left out.
    ///
    /// # Errors
    /// If the file cannot be read, or no row of it can be used.
    pub(super) fn histories(&self, path: &Path) -> anyhow::Result<Histories> {
        let mut histories = Histories::new();
        self.for_each_row(path, |row| {
            if let Some(value) = row.value.filter(|value| value.is_finite()) {
                histories.entry(row.series.join("/")).or_default().push((row.time, value));
            }
        })?;
        for history in histories.values_mut() {
            history.sort_by_key(|(time, _)| *time);
        }
        Ok(histories)
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
            is_empty &= !row.value.is_some_and(f64::is_finite);
            take(row);
        };
        let mut source = FileSource::open(FileSourceConfig {
            path: path.to_owned(),
            format: self.format,
            schema: Arc::clone(&self.schema),
            batch_rows: tidecast_files::BATCH_ROWS,
        })?;
        loop {
            match source.poll(Duration::ZERO)? {
                SourceEvent::Assigned(partitions) => {
                    for (partition, _) in partitions {
                        source.start(&partition, None)?;
                    }
                }
                SourceEvent::Batch(batch) => {
                    rows_of(&batch.rows, &mut take)?;
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
            bail!(
                "no row of `{}` has both a time in `{}` (--time) and a number in `{}` (--target){first_bad}",
                path.display(),
                self.schema.field(0).name(),
                self.schema.field(1).name(),
            );
        }
        Ok(bad)
    }
}

/// Hands over the rows that have a time; the columns are those of the schema.
fn rows_of(
    rows: &arrow::array::RecordBatch,
    take: &mut impl FnMut(InputRow),
) -> anyhow::Result<()> {
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let values = cast(rows.column(1), &DataType::Float64).context("target column")?;
    let values = values.as_primitive::<Float64Type>();
    let options = FormatOptions::default();
    let series = rows
        .columns()
        .iter()
        .skip(2)
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()
        .context("series columns")?;
    for row in (0..rows.num_rows()).filter(|&row| times.is_valid(row)) {
        take(InputRow {
            series: series.iter().map(|column| column.value(row).to_string()).collect(),
            time: EventTime::from_micros(times.value(row)),
            value: values.is_valid(row).then(|| values.value(row)),
        });
    }
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
