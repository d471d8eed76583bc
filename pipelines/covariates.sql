-- Electricity load of some sites, forecast a day ahead with the weather.
--
--   tidecast check   pipelines/covariates.sql     says whether it is right
--   tidecast explain pipelines/covariates.sql     says what it will do, every setting
--   tidecast run     pipelines/covariates.sql     runs it
--
-- Two kinds of records come in one topic, keyed by site. What was measured:
--
--   {"site": "A", "load_kw": 812.5, "price": 61.2, "temperature": 8.4, "ts": "2026-11-22T10:00:00Z"}
--
-- and what the weather service says of hours to come, whenever it says so:
--
--   {"site": "A", "temperature": 7.9, "ts": "2026-11-23T04:00:00Z"}
CREATE TABLE site_records (
  site        VARCHAR NOT NULL,
  load_kw     DOUBLE,
  price       DOUBLE,
  temperature DOUBLE,
  ts          TIMESTAMP NOT NULL,
  -- The watermark says how far time has come, and what was measured tells that.
  -- Rows of hours to come must not: each would close the hours before it. So the
  -- watermark has a condition, and rows for which it is not true leave it alone.
  WATERMARK FOR ts AS CASE WHEN load_kw IS NOT NULL THEN ts - INTERVAL '10' SECOND END
) WITH (
  'connector'  = 'kafka',
  'topic'      = 'site_records',
  'format'     = 'json',
  -- Times far ahead are mistakes, unless one waits for them: the weather comes
  -- two days ahead.
  'max.future' = '3 days',
  'late.topic' = 'site_records.late',
  'bad.topic'  = 'site_records.bad'
);

CREATE TABLE site_forecasts WITH ('connector' = 'kafka', 'topic' = 'site_forecasts', 'format' = 'json');

CREATE MODEL with_weather WITH ('provider' = 'moirai-moe', 'path' = 'builtin:tiny');

-- One row for each site and hour, hours to come included: these stay open until
-- measurements come to them. Of an hour for which the weather service changed its
-- mind, the mean is taken; what comes in the order of its coming can also be
-- asked for: last_value(temperature).
CREATE VIEW hourly AS
SELECT site, window_start AS hour,
       avg(load_kw) AS load_kw, avg(price) AS price, avg(temperature) AS temperature
FROM TUMBLE(TABLE site_records, DESCRIPTOR(ts), INTERVAL '1' HOUR)
GROUP BY site, window_start, window_end;

-- Whenever an hour closes, its next 24 hours. The message has one entry in
-- `variates` for each target; target => ['load_kw', 'price'] would forecast both.
CREATE PIPELINE site_forecast AS
INSERT INTO site_forecasts
SELECT * FROM forecast(
  TABLE hourly,
  model             => 'with_weather',
  series            => 'site',
  time              => 'hour',
  target            => 'load_kw',
  past_covariates   => 'price',          -- known up to the origin
  future_covariates => 'temperature',    -- known ahead, as far as rows have come
  horizon           => 24,
  context           => 512,
  quantiles         => [0.1, 0.5, 0.9]
);
