//! Rows at any times into series of equidistant steps, as a pipeline's window
//! view makes them.

use std::time::Duration;

use anyhow::bail;
use tidecast_stream::EventTime;

use super::StepAggregate;

/// Steps of one series. More are a mistaken step or a mistaken time, and would
/// fill the memory with gaps.
const MOST_STEPS: i64 = 100_000_000;

/// Aggregates rows per step; a step without a value is NaN. Steps begin at
/// multiples of their length since 1970, as tumbling windows do, and the series
/// reaches from its first row to its last. Rows of a step are added up in the
/// order in which they come.
///
/// # Errors
/// If that were too many steps.
pub(super) fn regular(
    name: &str,
    rows: &[(EventTime, Option<f64>)],
    step: Duration,
    aggregate: StepAggregate,
) -> anyhow::Result<Vec<f64>> {
    let step_micros = i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1);
    let number = |time: EventTime| time.as_micros().div_euclid(step_micros);
    let numbers = || rows.iter().map(|(time, _)| number(*time));
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
        return Ok(Vec::new());
    };
    let steps = last.saturating_sub(first).saturating_add(1);
    if steps > MOST_STEPS {
        bail!(
            "series `{name}` would have {steps} steps of {} for {} rows: is --step too short, or a time wrong?",
            humantime::format_duration(step),
            rows.len()
        );
    }
    let mut sums = vec![(0.0_f64, 0_u64); usize::try_from(steps).unwrap_or(0)];
    for (time, value) in rows {
        let index = usize::try_from(number(*time) - first).ok();
        if let (Some(value), Some((sum, count))) =
            (value, index.and_then(|index| sums.get_mut(index)))
        {
            *sum += value;
            *count += 1;
        }
    }
    let value = |&(sum, count): &(f64, u64)| {
        let value = match (count, aggregate) {
            (0, _) => f64::NAN,
            (_, StepAggregate::Avg) => sum / count as f64,
            (_, StepAggregate::Sum) => sum,
        };
        // What is beyond f64 is missing, as in a context.
        if value.is_finite() { value } else { f64::NAN }
    };
    Ok(sums.iter().map(value).collect())
}

/// Returns the season people mean when they say none, and its name: a day for
/// steps of a minute and more, an hour for shorter ones, a week for days. `None`
/// where neither fits.
pub(in crate::commands) fn usual_season(step: Duration) -> Option<(usize, &'static str)> {
    const MINUTE: u128 = 60_000_000;
    let micros = step.as_micros();
    let (season, name) = match micros {
        0 => return None,
        _ if micros < MINUTE => (60 * MINUTE, "an hour"),
        _ if micros < 24 * 60 * MINUTE => (24 * 60 * MINUTE, "a day"),
        _ => (7 * 24 * 60 * MINUTE, "a week"),
    };
    let steps = usize::try_from(season / micros).ok()?;
    (season % micros == 0 && steps > 1).then_some((steps, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(minutes: i64) -> EventTime {
        EventTime::from_millis(minutes * 60_000)
    }

    fn hourly(rows: &[(i64, Option<f64>)], aggregate: StepAggregate) -> Vec<f64> {
        let rows: Vec<_> = rows.iter().map(|(minutes, value)| (at(*minutes), *value)).collect();
        regular("a", &rows, HOUR, aggregate).expect("few steps")
    }

    #[test]
    fn rows_of_a_step_become_one_value_and_gaps_are_missing() {
        // Out of order; an empty cell begins and ends the series.
        let rows = [(190, Some(5.0)), (70, Some(1.0)), (-1, None), (119, Some(2.0)), (300, None)];
        let values = hourly(&rows, StepAggregate::Avg);
        assert_eq!(values.len(), 7);
        let observed: Vec<_> =
            values.iter().enumerate().filter(|(_, value)| !value.is_nan()).collect();
        assert_eq!(observed, [(2, &1.5), (4, &5.0)]);
        assert_eq!(hourly(&rows, StepAggregate::Sum)[2], 3.0);
        assert!(hourly(&[], StepAggregate::Avg).is_empty());
        assert!(hourly(&[(0, Some(1e300))], StepAggregate::Avg)[0].is_nan());
    }

    #[test]
    fn a_time_far_off_is_refused_rather_than_filled() {
        let rows = [(at(0), Some(1.0)), (EventTime::from_micros(i64::MAX), Some(1.0))];
        let error = regular("a", &rows, HOUR, StepAggregate::Avg).expect_err("refused");
        assert!(error.to_string().contains("series `a`"), "{error}");
        assert!(error.to_string().contains("--step"), "{error}");
    }

    #[test]
    fn the_usual_season_is_what_people_mean() {
        let season = |text: &str| {
            let step = humantime::parse_duration(text).expect("a duration");
            usual_season(step).map(|(steps, _)| steps)
        };
        for (step, expected) in [
            ("1s", Some(3600)),
            ("1m", Some(1440)),
            ("15m", Some(96)),
            ("1h", Some(24)),
            ("5h", None),
            ("1d", Some(7)),
            ("7d", None),
            ("0s", None),
        ] {
            assert_eq!(season(step), expected, "{step}");
        }
    }
}
