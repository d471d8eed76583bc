//! A forecast as a chart needs it.

use tidecast_stream::{EventTime, ForecastMessage, VariateForecast};

/// What was forecast for one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepForecast {
    /// The median.
    pub median: f64,
    /// The band's lower end; the median where there is no band.
    pub lower: f64,
    /// The band's upper end; the median where there is no band.
    pub upper: f64,
}

/// The forecast of one target, step by step: median and band.
#[derive(Debug, Clone, PartialEq)]
pub struct Fan {
    /// Time of the newest value it knew.
    pub origin: EventTime,
    /// How much of what happens the band is to hold, such as 0.8; `None` where the levels
    /// make no band.
    pub share: Option<f64>,
    /// Its steps, step 1 first.
    pub steps: Vec<StepForecast>,
    /// The time of each.
    times: Vec<EventTime>,
}

impl Fan {
    /// Returns the forecast of `variate`, which is one of `message`'s. The median is the
    /// quantile 0.5, or the mean takes its place; the band lies between the quantiles 0.1 and
    /// 0.9, or the outermost on either side of 0.5. `None` if it has no values, one of
    /// them is out of range, or the message does not say when its steps are.
    pub fn of(message: &ForecastMessage, variate: &VariateForecast) -> Option<Self> {
        let median = variate.quantile(0.5).unwrap_or_else(|| variate.mean());
        let (share, lower, upper) = match band(variate) {
            Some((share, lower, upper)) => (Some(share), lower, upper),
            None => (None, median, median),
        };
        let steps: Vec<StepForecast> = median
            .iter()
            .zip(lower)
            .zip(upper)
            .map(|((&median, &lower), &upper)| StepForecast { median, lower, upper })
            .collect();
        let is_finite = |step: &StepForecast| {
            step.median.is_finite() && step.lower.is_finite() && step.upper.is_finite()
        };
        if steps.is_empty() || !steps.iter().all(is_finite) {
            return None;
        }
        let times = (1..=steps.len()).map(|step| message.time_of(step));
        let times = times.collect::<Option<Vec<_>>>()?;
        Some(Self { origin: message.origin, share, steps, times })
    }

    /// Returns the steps with their times.
    pub fn timed(&self) -> impl Iterator<Item = (EventTime, StepForecast)> + '_ {
        self.times.iter().copied().zip(self.steps.iter().copied())
    }
}

fn band(variate: &VariateForecast) -> Option<(f64, &[f64], &[f64])> {
    if let (Some(lower), Some(upper)) = (variate.quantile(0.1), variate.quantile(0.9)) {
        return Some((0.8, lower, upper));
    }
    let (low, lower) = variate.quantiles().next().filter(|(level, _)| *level < 0.5)?;
    let (high, upper) = variate.quantiles().last().filter(|(level, _)| *level > 0.5)?;
    Some((high - low, lower, upper))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidecast_stream::{
        ContextSummary, ForecastId, ForecastStatus, ModelRef, Period, SeriesKey,
    };

    use super::*;

    fn fan(levels: &[f64], step: Period, times: &[EventTime]) -> Option<Fan> {
        let at = |level: f64| [level, 10.0 * level];
        let quantiles: Vec<[f64; 2]> = levels.iter().map(|level| at(*level)).collect();
        let variate = VariateForecast::new("kw", levels, &[7.0, 8.0], quantiles).unwrap();
        let message = ForecastMessage {
            id: ForecastId([0; 16]),
            pipeline: "load".into(),
            series: SeriesKey::default(),
            origin: EventTime::from_micros(100),
            revision: 0,
            step,
            times: times.to_vec(),
            model: Arc::new(ModelRef { name: "m".to_owned(), version: "1".to_owned() }),
            status: ForecastStatus::Ok,
            reason: None,
            context: ContextSummary { steps: 1, observed: 1 },
            variates: Vec::new(),
            is_backfill: false,
        };
        Fan::of(&message, &variate)
    }

    #[test]
    fn the_band_is_that_of_the_levels_there_are() {
        let of = |levels: &[f64]| {
            let fan = fan(levels, Period::Fixed(10), &[]).unwrap();
            let StepForecast { median, lower, upper } = fan.steps[0];
            (fan.share, lower, median, upper)
        };
        assert_eq!(of(&[0.05, 0.1, 0.5, 0.9]), (Some(0.8), 0.1, 0.5, 0.9));
        assert_eq!(of(&[0.25, 0.75]), (Some(0.5), 0.25, 7.0, 0.75), "the mean for the median");
        assert_eq!(of(&[0.5, 0.9]), (None, 0.5, 0.5, 0.5), "one side is no band");
        assert_eq!(of(&[]), (None, 7.0, 7.0, 7.0));
        assert_eq!(fan(&[f64::NAN], Period::Fixed(10), &[]).map(|fan| fan.share), Some(None));
    }

    #[test]
    fn steps_of_a_calendar_have_the_times_that_the_message_says() {
        let [may, june] = [200, 300].map(EventTime::from_micros);
        let months = fan(&[0.5], Period::Months(1), &[may, june]).unwrap();
        assert_eq!(months.timed().map(|(time, _)| time).collect::<Vec<_>>(), [may, june]);
        assert_eq!(fan(&[0.5], Period::Months(1), &[may]), None, "a step without a time");
    }
}
