//! Which steps a series has: found in the times of its rows.
//!
//! People's rows are a minute apart each up to nine seconds late, on the first of every
//! month, at six in the morning, on Mondays, at midnight in Berlin, with gaps. What is
//! found is a grid ([`TimeGrid`]) and where in each of its cells the rows lie.

mod dates;
mod distances;

use tidecast_stream::grid::Tz;
use tidecast_stream::{EventTime, Period, TimeGrid};

use self::dates::date_steps;
pub(in crate::commands) use self::distances::{Distance, distance};

const DAY_MICROS: i64 = 86_400_000_000;

/// The steps of a series, and how its rows lie in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::commands) struct Steps {
    /// Its cells are the steps, and their first instants the times of steps.
    pub(in crate::commands) grid: TimeGrid,
    /// How much earlier than the time of a step its rows may come, in microseconds:
    /// rows that lie around a time belong to that time.
    pub(in crate::commands) early_micros: i64,
}

impl Steps {
    fn at(grid: TimeGrid) -> Self {
        Self { grid, early_micros: 0 }
    }

    /// Returns the time of the step that a row belongs to.
    pub(in crate::commands) fn time_of(&self, time: EventTime) -> Option<EventTime> {
        self.grid.floor(time.plus_micros(self.early_micros))
    }
}

/// Returns the steps of a series whose rows come at `times`, which ascend; `None` if it
/// has not two different ones. `zone` is the one that was said.
pub(in crate::commands) fn infer(times: &[EventTime], zone: Option<Tz>) -> Option<Steps> {
    let (first, last) = (times.first()?, times.last()?);
    if first == last {
        return None;
    }
    if let Some(grid) = date_steps(times, zone) {
        return Some(Steps::at(grid));
    }
    let micros = match distance(times)? {
        Distance::Exact(micros) | Distance::Jittered(micros) | Distance::Irregular(micros) => {
            micros
        }
    };
    Some(aligned(Period::Fixed(micros), times, zone))
}

/// Returns steps of a length that was said, laid so that the rows of a step lie
/// together: where there is one row a step it keeps its place, where there are many
/// steps begin at full hours, at midnight, on Mondays and on the first of a month.
pub(in crate::commands) fn aligned(period: Period, times: &[EventTime], zone: Option<Tz>) -> Steps {
    let zone_or_utc = zone.unwrap_or(Tz::UTC);
    if let Some(grid) = date_steps(times, zone)
        && grid_period_is(&grid, period)
    {
        return Steps::at(grid);
    }
    let micros = match TimeGrid::new(period, 0, zone_or_utc).fixed_micros() {
        Some(micros) => micros,
        // Weeks of a zone begin on Mondays, 1970-01-01 was a Thursday.
        None => {
            let monday = match period {
                Period::Days(days) if days % 7 == 0 => 4 * DAY_MICROS,
                _ => 0,
            };
            return Steps::at(TimeGrid::new(period, monday, zone_or_utc));
        }
    };
    let plain = if micros % (7 * DAY_MICROS) == 0 { 4 * DAY_MICROS } else { 0 };
    let Some(cluster) = Cluster::of(times, micros) else {
        return Steps::at(TimeGrid::new(period, plain, zone_or_utc));
    };
    let (label, early_micros) = cluster.label(micros);
    Steps { grid: TimeGrid::new(Period::Fixed(micros), label, Tz::UTC), early_micros }
}

/// Whether a grid of dates has the length that was said, however that was said.
fn grid_period_is(grid: &TimeGrid, period: Period) -> bool {
    let found = grid.period();
    found == period
        || matches!((found, period), (Period::Months(found), Period::Months(said)) if found == said)
        || matches!(
            (found, TimeGrid::new(period, 0, Tz::UTC).fixed_micros()),
            (Period::Fixed(found), Some(said)) if found == said
        )
        || matches!(
            (found, period),
            (Period::Days(days), Period::Fixed(said)) if i64::from(days) * DAY_MICROS == said
        )
}

/// Where in the steps the rows lie: all in one part of each, no larger than half.
struct Cluster {
    /// Of the earliest of them, from the beginning of a step of 1970's grid.
    from: i64,
    /// How far apart they are.
    spread: i64,
}

impl Cluster {
    fn of(times: &[EventTime], micros: i64) -> Option<Self> {
        let mut residues: Vec<i64> =
            times.iter().map(|time| time.as_micros().rem_euclid(micros)).collect();
        residues.sort_unstable();
        residues.dedup();
        let (first, last) = (*residues.first()?, *residues.last()?);
        // The widest gap on the circle; the rows begin behind it.
        let around = (first + micros - last, first);
        let (gap, from) = residues
            .iter()
            .zip(residues.iter().skip(1))
            .map(|(earlier, later)| (later - earlier, *later))
            .fold(around, |widest, gap| if gap.0 > widest.0 { gap } else { widest });
        let spread = micros - gap;
        (spread * 2 <= micros).then_some(Self { from, spread })
    }

    /// Returns where a step's time is, and how much earlier its rows may come.
    fn label(&self, micros: i64) -> (i64, i64) {
        // Windows begin at whole milliseconds.
        let from = self.from - self.from % 1_000;
        if self.spread == 0 {
            return (from, 0);
        }
        // A full minute, hour or day among the rows, or just before them, is meant.
        let to_full = (micros - self.from).rem_euclid(micros);
        let just_before = micros - to_full;
        let room = micros - self.spread;
        if to_full <= self.spread {
            return (0, to_full + room / 2);
        }
        if just_before <= micros / 4 && just_before < room / 2 {
            return (0, (room / 2 - just_before).max(0));
        }
        (from, room / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(texts: &[&str]) -> Vec<EventTime> {
        texts.iter().map(|text| text.parse().expect("a time")).collect()
    }

    /// Times every `micros` from 2024-08-01, each moved by `moved(index)`.
    fn every(micros: i64, count: i64, moved: impl Fn(i64) -> i64) -> Vec<EventTime> {
        let first: EventTime = "2024-08-01T00:00:00Z".parse().expect("a time");
        (0..count).map(|k| first.plus_micros(k * micros + moved(k))).collect()
    }

    fn shown(steps: Option<Steps>) -> String {
        steps.map_or("none".to_owned(), |steps| steps.grid.to_string())
    }

    #[test]
    fn rows_that_are_late_or_early_lie_in_the_step_that_is_meant() {
        const SECOND: i64 = 1_000_000;
        let late = infer(&every(60 * SECOND, 200, |k| (k * k * 7_919) % 9_001 * 1_000), None);
        assert_eq!(shown(late), "1m");
        let around = |k: i64| (k * k * 7_919) % 18_001 * 1_000 - 9 * SECOND;
        let around_times = every(60 * SECOND, 200, around);
        let steps = infer(&around_times, None).expect("steps");
        assert_eq!(steps.grid.to_string(), "1m");
        for (index, time) in around_times.iter().enumerate() {
            let meant = every(60 * SECOND, 200, |_| 0)[index];
            assert_eq!(steps.time_of(*time), Some(meant));
        }
    }

    #[test]
    fn a_step_of_the_data_keeps_its_phase() {
        assert_eq!(
            shown(infer(&every(3_600_000_000, 50, |_| 600_000_000), None)),
            "1h, offset 10m"
        );
        let mondays =
            times(&["2024-01-01T00:00:00Z", "2024-01-08T00:00:00Z", "2024-01-15T00:00:00Z"]);
        let steps = infer(&mondays, None).expect("steps");
        assert_eq!(steps.time_of(mondays[1]), Some(mondays[1]));
        assert_eq!(steps.grid.iso8601(), "P1W");
    }

    #[test]
    fn what_is_said_begins_at_full_steps_where_there_are_many_rows() {
        let minutes = every(60_000_000, 500, |_| 7_000_000);
        assert_eq!(shown(Some(aligned(Period::Fixed(3_600_000_000), &minutes, None))), "1h");
        let days = every(DAY_MICROS, 60, |_| 0);
        let weeks = aligned("1w".parse().expect("a period"), &days, None);
        let monday: EventTime = "2024-07-29T00:00:00Z".parse().expect("a time");
        assert_eq!(weeks.time_of(days[0]), Some(monday));
        let months = aligned(Period::Months(1), &days, None);
        assert_eq!(months.grid.to_string(), "1 month");
    }

    #[test]
    fn one_time_has_no_step() {
        assert_eq!(infer(&times(&["2024-01-01T00:00:00Z"; 2]), None), None);
        assert_eq!(infer(&[], None), None);
    }
}
