//! Event time: reading it, its bound, and the window it lies in.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use tidecast_stream::EventTime;
use tidecast_stream::grid::format_micros;

use super::output::RejectedRow;
use super::query::{QueryPlan, SourceTableInfo};

/// Event times that can be meant: what 64-bit nanoseconds around 1970 reach. What lies
/// outside (9999-12-31, say) stands for "not known" and would be the clock of all
/// others.
const POSSIBLE: std::ops::RangeInclusive<i64> = i64::MIN / 1_000..=i64::MAX / 1_000;

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
    let mut windows = Windows { plan, last: None };
    for row in 0..rows {
        let record = (row < records.len() && records.is_valid(row)).then(|| records.value(row));
        let usable = if column.is_null(row) {
            Err(format!(
                "event time `{}` is null; every record needs one, because it decides the window",
                plan.source.event_time
            ))
        } else {
            read(row).ok_or_else(|| out_of_range(plan, None)).and_then(|micros| {
                not_far_off(&plan.source, micros, record)?;
                let start = windows.start_of(micros).filter(|_| POSSIBLE.contains(&micros));
                Ok((micros, start.ok_or_else(|| out_of_range(plan, Some(micros)))?))
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

/// Finds windows; neighbours mostly share theirs.
struct Windows<'a> {
    plan: &'a QueryPlan,
    /// First instant of the last window, and the first one behind it.
    last: Option<(i64, i64)>,
}

impl Windows<'_> {
    /// Returns the first instant of the window `micros` lies in, or `None` where the
    /// window does not fit into 64 bits. `i64::MIN` means "no watermark", hence the
    /// room below.
    fn start_of(&mut self, micros: i64) -> Option<i64> {
        if let Some((start, end)) = self.last
            && (start..end).contains(&micros)
        {
            return Some(start);
        }
        let start = self.plan.grid.floor(EventTime::from_micros(micros))?.as_micros();
        start.checked_sub(self.plan.grid.period().typical_micros())?;
        self.last = Some((start, self.plan.end_of(start)));
        Some(start)
    }
}

fn out_of_range(plan: &QueryPlan, micros: Option<i64>) -> String {
    let column = &plan.source.event_time;
    match micros.map(EventTime::from_micros) {
        Some(time) => format!(
            "event time `{column}` is {time}, which no series reaches (before 1677 or after \
             2262): a placeholder for a time that is not known?"
        ),
        None => format!(
            "event time `{column}` is out of range; it must be within some 290 000 years of 1970"
        ),
    }
}

/// A single clock that runs ahead would otherwise close every window, and a time
/// that is none, or in another unit, would begin a series in 1970.
fn not_far_off(
    source: &SourceTableInfo,
    micros: i64,
    record_millis: Option<i64>,
) -> Result<(), String> {
    let Some(record) = record_millis.map(EventTime::from_millis) else {
        return Ok(());
    };
    let ahead = micros.saturating_sub(record.as_micros());
    let (bound, option, direction) = match ahead {
        0.. => (source.max_future_micros, "max.future", "ahead of"),
        _ => (source.max_past_micros, "max.past", "behind"),
    };
    match bound {
        Some(bound) if ahead.unsigned_abs() > bound.unsigned_abs() => Err(format!(
            "event time {} lies {} {direction} the record's timestamp {record}; `{option}` allows \
             {}{}",
            EventTime::from_micros(micros),
            span(ahead),
            span(bound),
            other_unit(micros, record)
        )),
        _ => Ok(()),
    }
}

/// Says whether a time far off would be near the record's if its number counted in
/// another unit.
fn other_unit(micros: i64, record: EventTime) -> &'static str {
    const MONTH: u128 = 31 * 86_400_000_000;
    let (micros, record) = (i128::from(micros), i128::from(record.as_micros()));
    let near = |other: i128| (other - record).unsigned_abs() < MONTH;
    let is_far = !near(micros);
    let mut factors = [1_000, 1_000_000, 1_000_000_000].into_iter();
    match factors.any(|factor| near(micros * factor) || near(micros / factor)) && is_far {
        true => "; in another unit it would be near: say 'timestamp.unit'",
        false => "",
    }
}

fn span(micros: i64) -> String {
    const YEAR: u64 = 31_556_952_000_000;
    let micros = micros.unsigned_abs();
    match micros / YEAR {
        0 => format_micros(i64::try_from(micros).unwrap_or(i64::MAX)),
        1 => "1 year".to_owned(),
        years => format!("{years} years"),
    }
}
