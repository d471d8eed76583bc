//! What a record of the forecast topic is.

use tidecast_formats::json::decode_forecast;
use tidecast_kafka::tools::Record;
use tidecast_stream::ForecastMessage;

use super::filter::SeriesFilter;

/// Whose forecasts are read, and of which series.
#[derive(Debug)]
pub struct Reading {
    /// The pipeline's name. Several may share a topic.
    pub pipeline: String,
    /// The series that were asked for.
    pub filter: SeriesFilter,
}

/// What a record turned out to be.
#[derive(Debug)]
pub enum Received {
    /// A forecast that was asked for, and its JSON as it is.
    Forecast(Box<ForecastMessage>, String),
    /// One of a series that was not asked for.
    OtherSeries,
    /// One of another pipeline, with its name.
    OtherPipeline(String),
    /// None: where it is, and why.
    NoForecast(String),
}

impl Reading {
    /// Says what `record` is.
    pub fn sort(&self, record: Record) -> Received {
        let message = match record.payload {
            None => Err("it has no value".to_owned()),
            Some(payload) => read(payload),
        };
        let (message, json) = match message {
            Ok(read) => read,
            Err(reason) => {
                let (partition, offset) = (record.partition, record.offset);
                let place = format!("partition {partition}, offset {offset}: {reason}");
                return Received::NoForecast(place);
            }
        };
        if *message.pipeline != *self.pipeline {
            return Received::OtherPipeline(message.pipeline.to_string());
        }
        match self.filter.passes(&message.series) {
            true => Received::Forecast(Box::new(message), json),
            false => Received::OtherSeries,
        }
    }
}

fn read(payload: Vec<u8>) -> Result<(ForecastMessage, String), String> {
    let json = String::from_utf8(payload).ok().filter(|text| text.trim_start().starts_with('{'));
    let json =
        json.ok_or("it is no JSON object; forecasts in other formats cannot be shown yet")?;
    match decode_forecast(json.as_bytes()) {
        Ok(message) => Ok((message, json)),
        Err(error) => Err(format!("its JSON is no forecast: {error}")),
    }
}
