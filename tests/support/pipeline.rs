//! The pipeline of most tests: minute means of `kw` by `site`.

use super::broker::unique;
use super::topics::Topics;

/// What a test's pipeline looks like.
pub(crate) struct Pipeline {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) model: &'static str,
    pub(crate) delivery: &'static str,
    pub(crate) side_topics: bool,
    pub(crate) idle_timeout: &'static str,
    pub(crate) arguments: &'static str,
}

/// A model whose forecasts anybody can work out.
pub(crate) const SEASONAL_NAIVE: &str = "'provider' = 'seasonal-naive', 'season' = '6'";
/// The context of a pipeline unless the test says otherwise.
pub(crate) const CONTEXT: i64 = 24;
/// The observed steps a series needs.
pub(crate) const MIN_CONTEXT: i64 = 3;
/// Steps that are forecast.
pub(crate) const HORIZON: i64 = 5;

impl Pipeline {
    pub(crate) fn new(delivery: &'static str) -> Self {
        let name = unique("load").replace('-', "_");
        Self {
            group: format!("tidecast-{name}"),
            name,
            model: SEASONAL_NAIVE,
            delivery,
            side_topics: true,
            idle_timeout: "none",
            arguments: "horizon => 5, context => 24, min_context => 3, quantiles => [0.1, 0.5, 0.9]",
        }
    }

    /// Returns the pipeline as SQL. Unless the test says otherwise a window closes
    /// by its records alone; a killed member's partitions are given away after six seconds.
    pub(crate) fn script(&self, topics: &Topics) -> String {
        let Topics { source, forecasts, late, bad, .. } = topics;
        let Self { name, group, model, delivery, side_topics, idle_timeout, arguments } = self;
        let side_topics = match side_topics {
            true => format!("'late.topic' = '{late}', 'bad.topic' = '{bad}',"),
            false => String::new(),
        };
        format!(
            "CREATE TABLE readings (
               site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
               WATERMARK FOR ts AS ts - INTERVAL '0' SECOND
             ) WITH (
               'connector' = 'kafka', 'topic' = '{source}', 'format' = 'json', 'group.id' = '{group}',
               'scan.startup.mode' = 'earliest-offset', 'idle.timeout' = '{idle_timeout}', {side_topics}
               'properties.session.timeout.ms' = '6000', 'properties.heartbeat.interval.ms' = '500'
             );
             CREATE TABLE forecasts WITH (
               'connector' = 'kafka', 'topic' = '{forecasts}', 'format' = 'json', 'delivery' = '{delivery}'
             );
             CREATE MODEL model WITH ({model});
             CREATE VIEW load_1m AS SELECT site, window_start AS t, avg(kw) AS kw
             FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
             GROUP BY site, window_start, window_end;
             CREATE PIPELINE {name} AS INSERT INTO forecasts SELECT * FROM forecast(
               TABLE load_1m, model => 'model', series => 'site', time => 't', target => 'kw',
               {arguments});"
        )
    }
}
