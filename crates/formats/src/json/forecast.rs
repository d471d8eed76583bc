//! Forecasts as JSON, the nested layout: one object for a series and origin.
//!
//! What is written is what subscribers read, field by field and in this order; it is
//! described in `docs/forecast-message.schema.json`. Nothing else in the house makes or
//! reads a forecast's JSON.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use tidecast_stream::{
    AggregateFunction, AggregateValues, ContextSummary, Domain, EventTime, ForecastId,
    ForecastMessage, ForecastStatus, HorizonAggregate, ModelRef, Period, SeriesKey,
    VariateForecast,
};

/// Writes `message` as one JSON object without a line's end. JSON has no infinities: a
/// value that is not finite is null. The revision has no field: it is in the id.
///
/// # Errors
/// If `writer` fails; a `Vec<u8>` never does.
pub fn encode_forecast(
    message: &ForecastMessage,
    writer: impl io::Write,
) -> serde_json::Result<()> {
    serde_json::to_writer(writer, &Written::of(message))
}

/// Reads a forecast as [`encode_forecast`] writes it. What JSON does not say is lost: the
/// revision is 0, a value that is null is NaN, and business days are a calendar's days.
/// Fields of later versions are passed over.
///
/// # Errors
/// If it is no JSON object, a field is missing, or one has no value of its kind.
pub fn decode_forecast(payload: &[u8]) -> serde_json::Result<ForecastMessage> {
    serde_json::from_slice::<Read>(payload)?.message()
}

/// A message's fields in the order in which they are written. Nothing is copied and no
/// [`serde_json::Value`] is made: numbers go from the message to the bytes.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(serialize_with = "shown")]
    forecast_id: ForecastId,
    pipeline: &'a str,
    series: &'a SeriesKey,
    origin: EventTime,
    step: String,
    step_ms: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    times: &'a [EventTime],
    model: WrittenModel<'a>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    context: WrittenContext,
    variates: WrittenVariates<'a>,
    is_backfill: bool,
}

#[derive(Serialize)]
struct WrittenModel<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct WrittenContext {
    steps: usize,
    observed: usize,
}

struct WrittenVariates<'a>(&'a [VariateForecast]);

struct WrittenVariate<'a>(&'a VariateForecast);

/// The values that a forecast was held to; what bounds nothing is left out.
#[derive(Serialize, Deserialize)]
struct WrittenDomain {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lower: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upper: Option<f64>,
    #[serde(default)]
    integer: bool,
}

impl WrittenDomain {
    fn of(Domain { lower, upper, integer }: Domain) -> Self {
        Self { lower, upper, integer }
    }
}

struct WrittenQuantiles<'a>(&'a VariateForecast);

struct WrittenAggregates<'a>(&'a VariateForecast);

struct WrittenAggregate<'a> {
    levels: &'a [f64],
    values: &'a AggregateValues,
    horizon: usize,
}

/// Values by level.
struct ByLevels<'a> {
    levels: &'a [f64],
    values: &'a [Vec<f64>],
}

impl<'a> Written<'a> {
    fn of(message: &'a ForecastMessage) -> Self {
        let ModelRef { name, version } = message.model.as_ref();
        let ContextSummary { steps, observed } = message.context;
        Self {
            forecast_id: message.id,
            pipeline: &message.pipeline,
            series: &message.series,
            origin: message.origin,
            step: message.step.iso8601(),
            step_ms: message.step.fixed_micros().map(|micros| micros / 1_000),
            times: &message.times,
            model: WrittenModel { name, version },
            status: message.status.as_str(),
            reason: message.reason.as_deref(),
            context: WrittenContext { steps, observed },
            variates: WrittenVariates(&message.variates),
            is_backfill: message.is_backfill,
        }
    }
}

impl Serialize for WrittenVariates<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(WrittenVariate))
    }
}

impl Serialize for WrittenVariate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(variate) = self;
        let is_held = !variate.domain.is_any();
        let [aggregates, samples] = [variate.aggregates.is_empty(), variate.samples.is_empty()];
        let told = [variate.reason.is_some(), is_held, !aggregates, !samples];
        let fields = 3 + told.into_iter().filter(|is_told| *is_told).count();
        let mut written = serializer.serialize_struct("VariateForecast", fields)?;
        written.serialize_field("name", &*variate.name)?;
        written.serialize_field("mean", variate.mean())?;
        written.serialize_field("quantiles", &WrittenQuantiles(variate))?;
        if !aggregates {
            written.serialize_field("aggregates", &WrittenAggregates(variate))?;
        }
        if !samples {
            written.serialize_field("samples", &variate.samples)?;
        }
        if is_held {
            written.serialize_field("domain", &WrittenDomain::of(variate.domain))?;
        }
        if let Some(reason) = &variate.reason {
            written.serialize_field("reason", reason)?;
        }
        written.end()
    }
}

impl Serialize for WrittenQuantiles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = serializer.serialize_map(Some(self.0.levels().len()))?;
        for (level, values) in self.0.quantiles() {
            written.serialize_entry(&format_args!("{level}"), values)?;
        }
        written.end()
    }
}

impl Serialize for WrittenAggregates<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(variate) = self;
        let (levels, horizon) = (variate.levels(), variate.steps());
        let written = |values| WrittenAggregate { levels, values, horizon };
        serializer.collect_seq(variate.aggregates.iter().map(written))
    }
}

impl Serialize for WrittenAggregate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let AggregateValues { aggregate, mean, quantiles } = self.values;
        let mut written = serializer.serialize_struct("AggregateValues", 4)?;
        written.serialize_field("function", &aggregate.function)?;
        written.serialize_field("steps", &aggregate.steps_of(self.horizon))?;
        written.serialize_field("mean", mean)?;
        let by_levels = ByLevels { levels: self.levels, values: quantiles };
        written.serialize_field("quantiles", &by_levels)?;
        written.end()
    }
}

impl Serialize for ByLevels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = serializer.serialize_map(Some(self.levels.len()))?;
        for (level, values) in self.levels.iter().zip(self.values) {
            written.serialize_entry(&format_args!("{level}"), values)?;
        }
        written.end()
    }
}

fn shown<S: Serializer>(id: &ForecastId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// A message's fields as they are read.
#[derive(Deserialize)]
struct Read {
    #[serde(deserialize_with = "parsed")]
    forecast_id: ForecastId,
    pipeline: String,
    series: SeriesKey,
    origin: EventTime,
    #[serde(deserialize_with = "parsed")]
    step: Period,
    step_ms: Option<i64>,
    #[serde(default)]
    times: Vec<EventTime>,
    model: ReadModel,
    #[serde(deserialize_with = "parsed")]
    status: ForecastStatus,
    reason: Option<String>,
    context: ReadContext,
    variates: Vec<ReadVariate>,
    is_backfill: bool,
}

#[derive(Deserialize)]
struct ReadModel {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct ReadContext {
    steps: usize,
    observed: usize,
}

#[derive(Deserialize)]
struct ReadVariate {
    name: String,
    mean: Vec<Option<f64>>,
    quantiles: ReadQuantiles,
    reason: Option<String>,
    #[serde(default)]
    domain: Option<WrittenDomain>,
    #[serde(default)]
    aggregates: Vec<ReadAggregate>,
    #[serde(default)]
    samples: Vec<Vec<Option<f64>>>,
}

#[derive(Deserialize)]
struct ReadAggregate {
    function: AggregateFunction,
    steps: NonZeroUsize,
    mean: Vec<Option<f64>>,
    quantiles: ReadQuantiles,
}

/// Levels and values in the order in which they are written.
struct ReadQuantiles(Vec<(f64, Vec<f64>)>);

impl Read {
    fn message(self) -> serde_json::Result<ForecastMessage> {
        let step = self.step()?;
        let variates = self.variates.into_iter().map(ReadVariate::variate);
        Ok(ForecastMessage {
            id: self.forecast_id,
            pipeline: self.pipeline.into(),
            series: self.series,
            origin: self.origin,
            revision: 0,
            step,
            times: self.times,
            model: Arc::new(ModelRef { name: self.model.name, version: self.model.version }),
            status: self.status,
            reason: self.reason,
            context: ContextSummary { steps: self.context.steps, observed: self.context.observed },
            variates: variates.collect::<Result<_, _>>()?,
            is_backfill: self.is_backfill,
        })
    }

    /// The duration's text is exact, but `P1D` may be 24 hours or a day of a time zone;
    /// the milliseconds say which.
    fn step(&self) -> serde_json::Result<Period> {
        let Some(millis) = self.step_ms else { return Ok(self.step) };
        let exact = self.step.typical_micros();
        let micros = if exact / 1_000 == millis { exact } else { millis.saturating_mul(1_000) };
        if micros <= 0 {
            let what = format!("`step_ms` is `{millis}`, expected a distance above zero");
            return Err(serde_json::Error::custom(what));
        }
        Ok(Period::Fixed(micros))
    }
}

impl ReadVariate {
    fn variate(self) -> serde_json::Result<VariateForecast> {
        let (levels, quantiles): (Vec<f64>, Vec<Vec<f64>>) = self.quantiles.0.into_iter().unzip();
        let mean = numbers(self.mean);
        let mut variate = VariateForecast::new(self.name, levels, &mean, quantiles)
            .map_err(serde_json::Error::custom)?;
        variate.reason = self.reason;
        let aggregate = |read: ReadAggregate| AggregateValues {
            aggregate: HorizonAggregate { function: read.function, steps: Some(read.steps) },
            mean: numbers(read.mean),
            quantiles: read.quantiles.0.into_iter().map(|(_, values)| values).collect(),
        };
        variate.aggregates = self.aggregates.into_iter().map(aggregate).collect();
        variate.samples = self.samples.into_iter().map(numbers).collect();
        if let Some(WrittenDomain { lower, upper, integer }) = self.domain {
            variate.domain = Domain { lower, upper, integer };
        }
        Ok(variate)
    }
}

impl<'de> Deserialize<'de> for ReadQuantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByLevel)
    }
}

struct ByLevel;

impl<'de> Visitor<'de> for ByLevel {
    type Value = ReadQuantiles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lists of numbers by quantile level")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadQuantiles, A::Error> {
        let mut quantiles = Vec::with_capacity(map.size_hint().unwrap_or(0));
        while let Some((level, values)) = map.next_entry::<String, Vec<Option<f64>>>()? {
            let number = level.parse::<f64>().ok().filter(|level| *level > 0.0 && *level < 1.0);
            let number = number.ok_or_else(|| {
                A::Error::custom(format!(
                    "`{level}` is no quantile level, expected one above 0 and below 1"
                ))
            })?;
            quantiles.push((number, numbers(values)));
        }
        Ok(ReadQuantiles(quantiles))
    }
}

fn numbers(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests;
