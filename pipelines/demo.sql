-- The pipeline that `tidecast demo` runs: hourly electricity demand of six
-- regions of the United States, and for each the next 24 hours.
--
--   tidecast check   pipelines/demo.sql     says whether it is right
--   tidecast explain pipelines/demo.sql     says what it will do, every setting
--   tidecast demo                           runs it against a broker of its own
--   tidecast run     pipelines/demo.sql     runs it against yours
--
-- A script is a list of statements; their order means nothing.

-- 1. Where records come from: a table with columns is a source.
--
-- A record is one JSON object: {"region": "CAL", "demand_mw": 43172, "ts": "2024-08-01T00:00:00Z"}
--
-- WATERMARK FOR names the column that is the event time, and how much later
-- than newer ones a record may come. Time is what the records say, not what the
-- clock says: replaying a month in a minute gives the same forecasts. The demo's
-- records come in order, so nothing is waited for; sensors want some seconds.
CREATE TABLE grid_demand (
  region    VARCHAR NOT NULL,
  demand_mw DOUBLE,
  ts        TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '0' SECOND
) WITH (
  'connector'         = 'kafka',
  'topic'             = 'grid_demand',
  'format'            = 'json',
  'scan.startup.mode' = 'earliest-offset',
  -- After half a minute of silence the last open hour is taken to be complete.
  'idle.timeout'      = '30s',
  -- Nothing is lost silently: rows that come after their hour was closed, and
  -- records that cannot be read, each go to a topic of their own.
  'late.topic'        = 'grid_demand.late',
  'bad.topic'         = 'grid_demand.bad'
);

-- 2. Where forecasts go: a table without columns is a sink.
--
-- One message for each region and hour, with the region as its key.
-- 'exactly-once', the default, puts forecasts and offsets into one transaction;
-- the broker inside `tidecast demo` has no real transactions. Against your own
-- Kafka leave the line out.
CREATE TABLE grid_demand_forecasts WITH (
  'connector' = 'kafka',
  'topic'     = 'grid_demand_forecasts',
  'format'    = 'json',
  'layout'    = 'nested',
  'delivery'  = 'at-least-once'
);

-- 3. The model: the one that comes with the program, on the GPU if there is one.
CREATE MODEL tiny WITH ('provider' = 'moirai-moe', 'path' = 'builtin:tiny', 'device' = 'auto');

-- 4. A regular series out of records: one row for each region and hour.
--
-- Any scalar expression, WHERE and aggregate function of DataFusion may stand
-- here. An hour without records is a missing step; the model is told so, and
-- nothing is made up for it. The step's time is the hour's start, as in the data.
CREATE VIEW hourly_demand AS
SELECT region, window_start AS hour, avg(demand_mw) AS demand_mw
FROM TUMBLE(TABLE grid_demand, DESCRIPTOR(ts), INTERVAL '1' HOUR)
GROUP BY region, window_start, window_end;

-- 5. The pipeline: whenever an hour of a region closes, its next 24 hours.
CREATE PIPELINE grid_demand_forecast AS
INSERT INTO grid_demand_forecasts
SELECT * FROM forecast(
  TABLE hourly_demand,
  model     => 'tiny',
  series    => 'region',
  time      => 'hour',
  target    => 'demand_mw',
  horizon   => 24,                -- steps, or INTERVAL '1' DAY
  context   => 512,               -- how much of the past the model sees: three weeks
  min_context => 336,             -- but none before it has seen two
  quantiles => [0.1, 0.5, 0.9]    -- the 80 % band and the median
);
