//! Rows at any times into series of adjacent steps, as a pipeline's window view makes
//! them.

use anyhow::bail;
use tidecast_stream::Period;

use super::StepAggregate;
use super::rows::FileRows;
use super::steps::Steps;

/// Steps of one series. More are a mistaken step or a mistaken time, and would
/// fill the memory with gaps.
const MOST_STEPS: i64 = 100_000_000;

/// Aggregates the rows `own` of a series, which are in order of time, per step; a step
/// without a value is NaN. The series reaches from its first row to its last. Rows of a
/// step are added up in the order in which they come.
///
/// # Errors
/// If that were too many steps.
pub(super) fn regular(
    name: &str,
    rows: &FileRows,
    own: &[usize],
    steps: Steps,
    aggregate: StepAggregate,
) -> anyhow::Result<Vec<f64>> {
    let number = |row: &usize| Some(steps.grid.number(steps.time_of(rows.time(*row))?));
    let numbers: Vec<Option<i64>> = own.iter().map(number).collect();
    let found = || numbers.iter().flatten().copied();
    let (Some(first), Some(last)) = (found().min(), found().max()) else {
        return Ok(Vec::new());
    };
    let count = last.saturating_sub(first).saturating_add(1);
    if count > MOST_STEPS {
        bail!(
            "series `{name}` would have {count} steps of {} for {} rows: is --step too short, or a time wrong?",
            steps.grid,
            own.len()
        );
    }
    let mut sums = vec![(0.0_f64, 0_u64); usize::try_from(count).unwrap_or(0)];
    for (row, number) in own.iter().zip(&numbers) {
        let value = rows.values.first().and_then(|column| column.get(*row)).copied();
        let index = number.and_then(|number| usize::try_from(number - first).ok());
        if let (Some(value), Some((sum, count))) =
            (value.filter(|value| !value.is_nan()), index.and_then(|index| sums.get_mut(index)))
        {
            *sum += value;
            *count += 1;
        }
    }
    let value = |&(sum, count): &(f64, u64)| match (count, aggregate) {
        (count, StepAggregate::Count) => count as f64,
        (0, _) => f64::NAN,
        (_, StepAggregate::Avg) => sum / count as f64,
        (_, StepAggregate::Sum) => sum,
    };
    Ok(sums.iter().map(value).collect())
}

/// Returns the season people mean when they say none, and its name: a day for
/// steps of a minute and more, an hour for shorter ones, a week for days, a year for
/// months. `None` where none of these fits.
pub(in crate::commands) fn usual_season(step: Period) -> Option<(usize, &'static str)> {
    const MINUTE: i64 = 60_000_000;
    const DAY: i64 = 24 * 60 * MINUTE;
    let micros = match step {
        Period::BusinessDays => return Some((5, "a week")),
        Period::Months(count) => {
            let steps = 12_usize.checked_div(count as usize)?;
            return (12 % count == 0 && steps > 1).then_some((steps, "a year"));
        }
        step => step.typical_micros(),
    };
    let (season, name) = match micros {
        0 => return None,
        _ if micros < MINUTE => (60 * MINUTE, "an hour"),
        _ if micros < DAY => (DAY, "a day"),
        _ => (7 * DAY, "a week"),
    };
    let steps = usize::try_from(season / micros).ok()?;
    (season % micros == 0 && steps > 1).then_some((steps, name))
}

#[cfg(test)]
mod tests {
    use tidecast_stream::TimeGrid;
    use tidecast_stream::grid::Tz;

    use super::*;

    fn hourly(rows: &[(i64, f64)], aggregate: StepAggregate) -> anyhow::Result<Vec<f64>> {
        let mut read = FileRows::default();
        read.times = rows.iter().map(|(minutes, _)| minutes.saturating_mul(60_000_000)).collect();
        read.values = vec![rows.iter().map(|(_, value)| *value).collect()];
        let mut own: Vec<usize> = (0..rows.len()).collect();
        own.sort_by_key(|row| read.times[*row]);
        let grid = TimeGrid::new(Period::Fixed(3_600_000_000), 0, Tz::UTC);
        regular("a", &read, &own, Steps { grid, early_micros: 0 }, aggregate)
    }

    #[test]
    fn rows_of_a_step_become_one_value_and_gaps_are_missing() {
        // Out of order; an empty cell begins and ends the series.
        let nan = f64::NAN;
        let rows = [(190, 5.0), (70, 1.0), (-1, nan), (119, 2.0), (300, nan)];
        let values = hourly(&rows, StepAggregate::Avg).expect("few steps");
        assert_eq!(values.len(), 7);
        let observed: Vec<_> =
            values.iter().enumerate().filter(|(_, value)| !value.is_nan()).collect();
        assert_eq!(observed, [(2, &1.5), (4, &5.0)]);
        assert_eq!(hourly(&rows, StepAggregate::Sum).expect("few steps")[2], 3.0);
        assert_eq!(
            hourly(&rows, StepAggregate::Count).expect("few steps"),
            [0.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0]
        );
        assert!(hourly(&[], StepAggregate::Avg).expect("no steps").is_empty());
        let large = [(0, 123_456_789.0), (60, 1e300)];
        assert_eq!(hourly(&large, StepAggregate::Avg).expect("few"), [123_456_789.0, 1e300]);
    }

    #[test]
    fn a_time_far_off_is_refused_rather_than_filled() {
        let rows = [(0, 1.0), (150_000_000_000, 1.0)];
        let error = hourly(&rows, StepAggregate::Avg).expect_err("refused");
        assert!(error.to_string().contains("series `a`"), "{error}");
        assert!(error.to_string().contains("--step"), "{error}");
    }

    #[test]
    fn the_usual_season_is_what_people_mean() {
        for (step, expected) in [
            ("1s", Some(3600)),
            ("1m", Some(1440)),
            ("15m", Some(96)),
            ("1h", Some(24)),
            ("5h", None),
            ("1d", Some(7)),
            ("7d", None),
            ("1 business day", Some(5)),
            ("1 month", Some(12)),
            ("1 quarter", Some(4)),
            ("5 months", None),
            ("1 year", None),
        ] {
            let period: Period = step.parse().expect("a period");
            assert_eq!(usual_season(period).map(|(steps, _)| steps), expected, "{step}");
        }
    }
}
