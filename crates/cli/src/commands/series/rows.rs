//! The rows of a file in memory.

use std::collections::HashMap;

use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use tidecast_files::BadSummary;
use tidecast_stream::{EventTime, SeriesKey};

/// The rows of a file that have a time, column by column, in the order of the file.
#[derive(Debug, Default)]
pub(in crate::commands) struct FileRows {
    targets: usize,
    /// By row.
    pub(in crate::commands) times: Vec<i64>,
    /// By row: which series.
    pub(in crate::commands) series: Vec<u32>,
    /// Targets, then covariates, each by row; NaN where a cell is empty.
    pub(in crate::commands) values: Vec<Vec<f64>>,
    /// By series, in order of first appearance: what the series columns say.
    pub(in crate::commands) keys: Vec<Vec<Option<String>>>,
    known: HashMap<Vec<Option<String>>, u32>,
    /// What is none of the rows.
    pub(in crate::commands) bad: BadSummary,
    /// How the file is written, where that is not as one would expect.
    pub(in crate::commands) dialect: Option<String>,
}

impl FileRows {
    pub(super) fn new(targets: usize, values: usize) -> Self {
        Self { targets, values: vec![Vec::new(); values], ..Self::default() }
    }

    /// Takes in rows whose columns are time, values and series.
    pub(super) fn append(&mut self, rows: &RecordBatch) -> anyhow::Result<()> {
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let has_time = |row: &usize| times.is_valid(*row);
        let columns = rows.columns().get(1..).unwrap_or_default();
        let (numbers, names) = columns.split_at(self.values.len().min(columns.len()));
        for (values, column) in self.values.iter_mut().zip(numbers) {
            let column = cast(column, &DataType::Float64).context("target columns")?;
            let column = column.as_primitive::<Float64Type>();
            let value = |row| match column.is_valid(row) && column.value(row).is_finite() {
                true => column.value(row),
                false => f64::NAN,
            };
            values.extend((0..rows.num_rows()).filter(has_time).map(value));
        }
        let names = names
            .iter()
            .map(|column| Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()));
        let names =
            names.collect::<anyhow::Result<Vec<StringArray>>>().context("series columns")?;
        let mut last: Option<(usize, u32)> = None;
        for row in (0..rows.num_rows()).filter(has_time) {
            // Neighbours are often of one series.
            let same =
                |other: usize| names.iter().all(|column| text(column, row) == text(column, other));
            let series = match last {
                Some((other, series)) if same(other) => series,
                _ => self.series_of(&names, row),
            };
            last = Some((row, series));
            self.times.push(times.value(row));
            self.series.push(series);
        }
        Ok(())
    }

    fn series_of(&mut self, names: &[StringArray], row: usize) -> u32 {
        let key: Vec<Option<String>> =
            names.iter().map(|column| text(column, row).map(str::to_owned)).collect();
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        *self.known.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            next
        })
    }

    /// Returns how many rows there are.
    pub(in crate::commands) fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether a target was observed in a row.
    pub(in crate::commands) fn is_observed(&self, row: usize) -> bool {
        let mut targets = self.values.iter().take(self.targets);
        targets.any(|column| column.get(row).is_some_and(|value| !value.is_nan()))
    }

    pub(super) fn has_a_value(&self) -> bool {
        self.values.iter().take(self.targets).any(|column| column.iter().any(|v| !v.is_nan()))
    }

    /// Returns what the messages call a series; `names` are those of the columns.
    pub(in crate::commands) fn key_of(&self, series: usize, names: &[String]) -> SeriesKey {
        let values = self.keys.get(series).map(Vec::as_slice).unwrap_or_default();
        let values = values.iter().map(|value| match value {
            Some(text) => serde_json::Value::from(text.as_str()),
            None => serde_json::Value::Null,
        });
        SeriesKey::new(names.iter().map(String::as_str).zip(values))
    }

    /// Returns the rows of each series, in order of time and, at one time, of the file.
    pub(in crate::commands) fn by_series(&self) -> Vec<Vec<usize>> {
        let mut rows = vec![Vec::new(); self.keys.len()];
        for (row, series) in self.series.iter().enumerate() {
            if let Some(of_series) = rows.get_mut(*series as usize) {
                of_series.push(row);
            }
        }
        let time = |row: &usize| self.times.get(*row).copied().unwrap_or(i64::MIN);
        for of_series in &mut rows {
            if !of_series.is_sorted_by_key(time) {
                of_series.sort_by_key(time);
            }
        }
        rows
    }

    /// Returns the time of a row.
    pub(in crate::commands) fn time(&self, row: usize) -> EventTime {
        EventTime::from_micros(self.times.get(row).copied().unwrap_or(i64::MIN))
    }
}

fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}
