//! Event time: reading it, its bound, and the window it lies in.

use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use tidecast_stream::EventTime;

use super::output::RejectedRow;
use super::query::QueryPlan;

/// Event time and window of the rows of a batch.
#[derive(Debug)]
pub(crate) struct Times {
    /// Event time in microseconds; meaningless where the row is rejected.
    pub(crate) micros: Vec<i64>,
    /// First instant of the row's window, likewise.
    pub(crate) starts: Vec<i64>,
    /// Rows whose time cannot be used, in order.
    pub(crate) rejected: Vec<RejectedRow>,
}

/// Reads the event times of a batch; `records` are the records' own timestamps
/// in milliseconds.
pub(crate) fn read(plan: &QueryPlan, column: &ArrayRef, records: &Int64Array) -> Times {
    let rows = column.len();
    let mut times = Times {
        micros: Vec::with_capacity(rows),
        starts: Vec::with_capacity(rows),
        rejected: Vec::new(),
    };
    let read = reader(column);
    for row in 0..rows {
        let record = (row < records.len() && records.is_valid(row)).then(|| records.value(row));
        let usable = if column.is_null(row) {
            Err(format!(
                "event time `{}` is null; every record needs one, because it decides the window",
                plan.source.event_time
            ))
        } else {
            read(row)
                .and_then(|micros| Some((micros, window_start(plan, micros)?)))
                .ok_or_else(|| {
                    format!(
                        "event time `{}` is out of range; it must be within some 290 000 years \
                         of 1970",
                        plan.source.event_time
                    )
                })
                .and_then(|(micros, start)| {
                    not_ahead(plan.source.max_future_micros, micros, record)?;
                    Ok((micros, start))
                })
        };
        let (micros, start) = usable.unwrap_or_else(|reason| {
            times.rejected.push(RejectedRow { row, reason });
            (0, 0)
        });
        times.micros.push(micros);
        times.starts.push(start);
    }
    times
}

/// Returns a function from a row to microseconds, rounded down, or `None` where
/// that overflows.
fn reader(column: &ArrayRef) -> Box<dyn Fn(usize) -> Option<i64> + '_> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            let values = column.as_primitive::<TimestampSecondType>();
            Box::new(|row| values.value(row).checked_mul(1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let values = column.as_primitive::<TimestampMillisecondType>();
            Box::new(|row| values.value(row).checked_mul(1_000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            Box::new(|row| Some(values.value(row)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = column.as_primitive::<TimestampNanosecondType>();
            Box::new(|row| Some(values.value(row).div_euclid(1_000)))
        }
        // The query was compiled for a timestamp and the batch was checked.
        _ => Box::new(|_| None),
    }
}

/// Returns the first instant of the window `micros` lies in, or `None` where the
/// window does not fit into 64 bits. `i64::MIN` means "no watermark", hence the
/// room below.
fn window_start(plan: &QueryPlan, micros: i64) -> Option<i64> {
    let into = micros.checked_sub(plan.offset_micros)?.rem_euclid(plan.size_micros);
    let start = micros.checked_sub(into)?;
    start.checked_sub(plan.size_micros)?;
    start.checked_add(plan.size_micros)?;
    Some(start)
}

/// A single clock that runs ahead would otherwise close every window.
fn not_ahead(bound: Option<i64>, micros: i64, record_millis: Option<i64>) -> Result<(), String> {
    let (Some(bound), Some(record)) = (bound, record_millis) else {
        return Ok(());
    };
    let record = EventTime::from_millis(record);
    let ahead = micros.saturating_sub(record.as_micros());
    if ahead <= bound {
        return Ok(());
    }
    let (ahead, bound) = (span(ahead), span(bound));
    Err(format!(
        "event time {} lies {ahead} ahead of the record's timestamp {record}; `max.future` allows \
         {bound}",
        EventTime::from_micros(micros)
    ))
}

fn span(micros: i64) -> String {
    humantime::format_duration(Duration::from_micros(micros.unsigned_abs())).to_string()
}
