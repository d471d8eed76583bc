//! The first and the last step of a series, which the file may cover in part: a sum of
//! half an hour is no hour's sum.

use tidecast_stream::{EventTime, Period};

use super::rows::FileRows;
use super::steps::{Distance, Steps, distance};

/// A step that the rows of a series cover in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct PartlyCovered {
    /// The step's time.
    pub(in crate::commands) step: EventTime,
    /// Where it begins and ends among the rows of the series.
    pub(in crate::commands) rows: (usize, usize),
}

/// Returns the first and last steps of a series that are covered in part: rows of one
/// step come at regular distances, and some are missing at its outer end. Of events,
/// which come as they like, nobody knows.
pub(in crate::commands) fn partly_covered(
    rows: &FileRows,
    own: &[usize],
    steps: Steps,
) -> Vec<PartlyCovered> {
    let times: Vec<EventTime> = own.iter().map(|row| rows.time(*row)).collect();
    let apart = match distance(&times) {
        Some(Distance::Exact(micros) | Distance::Jittered(micros)) => micros,
        _ => return Vec::new(),
    };
    let several = match steps.grid.period() {
        Period::Fixed(micros) => apart * 2 <= micros,
        period => apart * 2 <= period.typical_micros(),
    };
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Vec::new() };
    let (Some(first_step), Some(last_step)) = (steps.time_of(*first), steps.time_of(*last)) else {
        return Vec::new();
    };
    if !several {
        return Vec::new();
    }
    let in_step = |step: EventTime| {
        let from = times.partition_point(|time| steps.time_of(*time) < Some(step));
        (from, times.partition_point(|time| steps.time_of(*time) <= Some(step)))
    };
    // Whether a row stands for the time before or after it, a step that is covered has
    // one within its first distance and one within its last.
    let is_far = |distance: i64| distance as f64 > apart as f64 * 1.3;
    let begin = first_step.plus_micros(-steps.early_micros).as_micros();
    let end = steps.grid.ceil(last_step).plus_micros(-steps.early_micros).as_micros();
    let mut found = Vec::new();
    if is_far(first.as_micros().saturating_sub(begin)) {
        found.push(PartlyCovered { step: first_step, rows: in_step(first_step) });
    }
    let is_told = first_step == last_step && !found.is_empty();
    if is_far(end.saturating_sub(last.as_micros())) && !is_told {
        found.push(PartlyCovered { step: last_step, rows: in_step(last_step) });
    }
    found
}

/// Returns which of the rows of a series are in steps that are covered as a whole, by
/// place, and the steps that are not.
pub(in crate::commands) fn whole_steps(
    rows: &FileRows,
    own: &[usize],
    steps: Steps,
) -> (std::ops::Range<usize>, Vec<PartlyCovered>) {
    let partly = partly_covered(rows, own, steps);
    let mut kept = 0..own.len();
    for part in &partly {
        match part.rows {
            (0, end) => kept.start = kept.start.max(end),
            (begin, _) => kept.end = kept.end.min(begin),
        }
    }
    kept.end = kept.end.max(kept.start);
    (kept, partly)
}

#[cfg(test)]
mod tests {
    use tidecast_stream::TimeGrid;
    use tidecast_stream::grid::Tz;

    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn covered(minutes: impl Iterator<Item = i64>, step: Period) -> Vec<PartlyCovered> {
        let mut rows = FileRows::default();
        rows.times = minutes.map(|minute| minute * MINUTE).collect();
        let own: Vec<usize> = (0..rows.times.len()).collect();
        let grid = TimeGrid::new(step, 0, Tz::UTC);
        partly_covered(&rows, &own, Steps { grid, early_micros: 0 })
    }

    #[test]
    fn a_step_that_is_cut_off_is_found_and_a_whole_one_is_not() {
        let hour = Period::Fixed(60 * MINUTE);
        assert!(covered((0..60).map(|k| k * 10), hour).is_empty());
        assert!(covered((0..60).map(|k| k * 10 + 10), hour).len() < 2);
        let cut = covered((3..62).map(|k| k * 10), hour);
        let steps: Vec<_> = cut.iter().map(|c| (c.step.as_micros() / MINUTE, c.rows)).collect();
        assert_eq!(steps, [(0, (0, 3)), (600, (57, 59))]);
    }

    #[test]
    fn the_shortest_month_is_whole_and_events_are_let_be() {
        let days = |count: i64| (0..count).map(|day| day * 24 * 60);
        assert!(covered(days(31 + 28), Period::Months(1)).is_empty());
        assert_eq!(covered(days(31 + 27), Period::Months(1)).len(), 1);
        let events = [3, 17, 19, 140, 141, 260, 300, 431, 432, 700, 701, 950, 1500];
        assert!(covered(events.into_iter(), Period::Fixed(60 * MINUTE)).is_empty());
    }
}
