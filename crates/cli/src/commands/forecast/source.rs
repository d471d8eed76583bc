//! The rows of a group of series as a source: what the SQL of `forecast` reads.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidecast_files::BATCH_ROWS;
use tidecast_stream::{
    Blame, Offset, OffsetRange, Partition, Source, SourceBatch, SourceError, SourceEvent,
};

use crate::commands::series::rows::FileRows;

/// Name of the column with the time of a row's step.
pub(super) const TIME: &str = "t";

/// Returns the name of the column with that value.
pub(super) fn value_name(index: usize) -> String {
    format!("v{index}")
}

/// Returns the name of that series column.
pub(super) fn series_name(index: usize) -> String {
    format!("s{index}")
}

/// A group's rows, in order of time.
#[derive(Debug)]
pub(super) struct GroupRows {
    pub(super) rows: Arc<FileRows>,
    /// The time of a row's step, in microseconds, and the row; ascending.
    pub(super) order: Vec<(i64, usize)>,
    pub(super) series_columns: usize,
}

impl GroupRows {
    /// Returns the columns: the time, the values, the series.
    pub(super) fn schema(&self) -> SchemaRef {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut fields = vec![Field::new(TIME, instant, false)];
        let values = 0..self.rows.values.len();
        fields.extend(values.map(|index| Field::new(value_name(index), DataType::Float64, true)));
        let series = 0..self.series_columns;
        fields.extend(series.map(|index| Field::new(series_name(index), DataType::Utf8, true)));
        Arc::new(Schema::new(fields))
    }

    fn batch(&self, from: usize, until: usize) -> Result<RecordBatch, arrow::error::ArrowError> {
        let order = self.order.get(from..until).unwrap_or_default();
        let times = order.iter().map(|(time, _)| *time);
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(TimestampMicrosecondArray::from_iter_values(times))];
        for values in &self.rows.values {
            let value = |(_, row): &(i64, usize)| values.get(*row).copied().filter(|v| !v.is_nan());
            columns.push(Arc::new(order.iter().map(value).collect::<Float64Array>()));
        }
        for index in 0..self.series_columns {
            let text = |(_, row): &(i64, usize)| {
                let series = *self.rows.series.get(*row)?;
                self.rows.keys.get(series as usize)?.get(index)?.as_deref()
            };
            columns.push(Arc::new(order.iter().map(text).collect::<StringArray>()));
        }
        RecordBatch::try_new(self.schema(), columns)
    }
}

/// Plays a group's rows once. Offsets are places in their order.
#[derive(Debug)]
pub(super) struct GroupSource {
    rows: Arc<GroupRows>,
    partition: Partition,
    announced: bool,
    next: Option<usize>,
    is_held: bool,
}

impl GroupSource {
    pub(super) fn new(rows: Arc<GroupRows>) -> Self {
        Self {
            rows,
            partition: Partition::new("file", 0),
            announced: false,
            next: None,
            is_held: false,
        }
    }
}

impl Source for GroupSource {
    fn poll(&mut self, _wait: Duration) -> Result<SourceEvent, SourceError> {
        if self.is_held {
            return Ok(SourceEvent::Idle);
        }
        if !self.announced {
            self.announced = true;
            return Ok(SourceEvent::Assigned(vec![(self.partition.clone(), None)]));
        }
        let Some(from) = self.next.filter(|next| *next < self.rows.order.len()) else {
            return Ok(match self.next {
                Some(_) => SourceEvent::Finished,
                None => SourceEvent::Idle,
            });
        };
        let until = (from + BATCH_ROWS).min(self.rows.order.len());
        self.next = Some(until);
        let failed =
            |message: String| SourceError { message, blame: Blame::Internal, retriable: false };
        let rows = self.rows.batch(from, until).map_err(|error| failed(error.to_string()))?;
        let offset = |index: usize| Offset(i64::try_from(index).unwrap_or(i64::MAX));
        let range = OffsetRange::new(offset(from), offset(until))
            .ok_or_else(|| failed("rows are numbered backwards".to_owned()))?;
        Ok(SourceEvent::Batch(SourceBatch {
            partition: self.partition.clone(),
            range,
            offsets: (range.start().0..range.end().0).collect::<Int64Array>(),
            timestamps: Int64Array::new_null(until - from),
            payload_bytes: rows.get_array_memory_size(),
            rows,
            bad: Vec::new(),
        }))
    }

    fn start(&mut self, _partition: &Partition, from: Option<Offset>) -> Result<(), SourceError> {
        self.next = Some(from.map_or(0, |offset| usize::try_from(offset.0).unwrap_or(0)));
        Ok(())
    }

    fn release(&mut self, _partitions: &[Partition]) -> Result<(), SourceError> {
        Ok(())
    }

    fn hold(&mut self, _partition: &Partition, is_held: bool) -> Result<(), SourceError> {
        self.is_held = is_held;
        Ok(())
    }
}
