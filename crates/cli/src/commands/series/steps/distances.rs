//! The distance of two steps: robust to gaps, to rows that are a little late, and to a
//! few rows in between.

use tidecast_stream::EventTime;

/// What the distances of neighbours say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Distance {
    /// Most are exactly this, or a multiple of it.
    Exact(i64),
    /// Most are about this, or a multiple of it.
    Jittered(i64),
    /// They have none in common: events. This is a length people count in, near their
    /// median.
    Irregular(i64),
}

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Lengths that people count in.
const USUAL: [i64; 32] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    250_000,
    500_000,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    20 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    7 * DAY,
];

/// A distance is one of the step's if it is at least this share of all.
const LEAST_SHARE: f64 = 0.1;
/// So many of the distances must be multiples of the step.
const MOST: f64 = 0.85;
/// Half of the distances must be at most so many steps: all events of which the minute is
/// noted are whole minutes apart.
const SPARSE: i64 = 4;

/// Returns what the distances of `times`, which ascend, say; `None` if there is no
/// distance.
pub(in crate::commands) fn distance(times: &[EventTime]) -> Option<Distance> {
    let mut distances: Vec<i64> = times
        .iter()
        .zip(times.iter().skip(1))
        .map(|(earlier, later)| later.as_micros().saturating_sub(earlier.as_micros()))
        .filter(|distance| *distance > 0)
        .collect();
    distances.sort_unstable();
    let median = *distances.get(distances.len().saturating_sub(1) / 2)?;
    let is_dense = |step: &Distance| match *step {
        Distance::Exact(micros) | Distance::Jittered(micros) | Distance::Irregular(micros) => {
            micros >= median / SPARSE
        }
    };
    let found = clusters(&distances)
        .into_iter()
        .filter_map(|cluster| step_of(cluster, &distances))
        .find(is_dense);
    Some(found.unwrap_or_else(|| Distance::Irregular(usual_near(median))))
}

/// Returns runs of distances that differ little from their neighbours, the shortest
/// first, those of a few only left out.
fn clusters(distances: &[i64]) -> Vec<&[i64]> {
    let is_near = |a: &i64, b: &i64| *b as f64 <= *a as f64 * 1.12 + 1.0;
    let least = (distances.len() as f64 * LEAST_SHARE).max(1.0);
    distances.chunk_by(is_near).filter(|cluster| cluster.len() as f64 >= least).collect()
}

/// Returns the step that a cluster stands for, if most distances are multiples of it.
fn step_of(cluster: &[i64], distances: &[i64]) -> Option<Distance> {
    let (frequent, count) = most_frequent(cluster)?;
    // As many as there would be by rounding alone are no sign of a step.
    let step = match count * 2 >= cluster.len() {
        true => Distance::Exact(frequent),
        false => Distance::Jittered(usual_or_mean(cluster)?),
    };
    let (micros, tolerance) = match step {
        Distance::Exact(micros) => (micros, 0.02),
        Distance::Jittered(micros) | Distance::Irregular(micros) => (micros, 0.3),
    };
    let is_multiple = |distance: &&i64| {
        let steps = **distance as f64 / micros as f64;
        steps >= 0.5 && (steps - steps.round()).abs() <= tolerance
    };
    let multiples = distances.iter().filter(is_multiple).count();
    (multiples as f64 >= distances.len() as f64 * MOST).then_some(step)
}

/// Returns the most frequent value of a sorted list, the smallest of equally frequent
/// ones, and how often it is there.
fn most_frequent(sorted: &[i64]) -> Option<(i64, usize)> {
    sorted.chunk_by(|a, b| a == b).filter_map(|run| Some((*run.first()?, run.len()))).fold(
        None,
        |best: Option<(i64, usize)>, run| match best {
            Some(best) if best.1 >= run.1 => Some(best),
            _ => Some(run),
        },
    )
}

/// Returns the usual length that a cluster's mean is next to, or the mean in whole
/// milliseconds. A cluster as wide as a step, as random events make, has none.
fn usual_or_mean(cluster: &[i64]) -> Option<i64> {
    let (first, last) = (*cluster.first()?, *cluster.last()?);
    let middle = |share: usize| cluster.get(cluster.len() * share / 10).copied();
    let (low, high) = (middle(1)?, middle(9)?);
    if high as f64 > low as f64 * 1.9 {
        return None;
    }
    let inner: Vec<i64> = cluster.iter().copied().filter(|d| (low..=high).contains(d)).collect();
    let mean = inner.iter().map(|d| *d as f64).sum::<f64>() / inner.len().max(1) as f64;
    let usual = USUAL.iter().copied().find(|usual| (mean / *usual as f64 - 1.0).abs() < 0.04);
    let spread = ((last - first) as f64 / mean).max(0.001);
    let rounded = match spread {
        _ if mean >= 10.0 * SECOND as f64 => (mean / SECOND as f64).round() as i64 * SECOND,
        _ => (mean / 1_000.0).round() as i64 * 1_000,
    };
    usual.or(Some(rounded.max(1_000)))
}

/// Returns the usual length nearest to `micros`.
fn usual_near(micros: i64) -> i64 {
    let apart = |usual: &i64| (*usual as f64 / micros as f64).ln().abs();
    USUAL.iter().copied().min_by(|a, b| apart(a).total_cmp(&apart(b))).unwrap_or(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hours: &[f64]) -> Option<Distance> {
        let time = |hour: &f64| EventTime::from_micros((hour * HOUR as f64) as i64);
        distance(&hours.iter().map(time).collect::<Vec<_>>())
    }

    #[test]
    fn gaps_and_rows_in_between_do_not_change_the_step() {
        let with_gaps = [0.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 13.0, 15.0, 16.0, 18.0];
        assert_eq!(of(&with_gaps), Some(Distance::Exact(HOUR)));
        let mut rows: Vec<f64> = (0..100).map(f64::from).collect();
        rows.insert(51, 50.5);
        assert_eq!(of(&rows), Some(Distance::Exact(HOUR)));
        assert_eq!(of(&[0.0, 2.0]), Some(Distance::Exact(2 * HOUR)));
        assert_eq!(of(&[3.0, 3.0]), None);
    }

    #[test]
    fn an_odd_but_exact_step_is_taken_as_it_is() {
        let times: Vec<_> = (0..50).map(|k| EventTime::from_micros(k * 59 * SECOND)).collect();
        assert_eq!(distance(&times), Some(Distance::Exact(59 * SECOND)));
    }

    #[test]
    fn random_events_have_no_step_but_a_length_people_count_in() {
        let mut state = 42_u64;
        let mut at = 0.0;
        let times: Vec<f64> = (0..500)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
                at += -(1.0 - uniform).ln() * 3.0;
                at
            })
            .collect();
        let is_usual =
            |found| matches!(found, Some(Distance::Irregular(micros)) if USUAL.contains(&micros));
        assert!(is_usual(of(&times)), "{:?}", of(&times));
        // To the minute, too.
        let minutes: Vec<f64> = times.iter().map(|hour| (hour * 60.0).round() / 60.0).collect();
        assert!(is_usual(of(&minutes)), "{:?}", of(&minutes));
    }
}
