-- Counts and the first value by another order, in windows that begin a quarter past.
CREATE TABLE readings (site VARCHAR NOT NULL, kind VARCHAR, kw DOUBLE, n BIGINT, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts)
WITH ('connector'='kafka', 'topic'='readings', 'format'='json', 'max.future'='none');
CREATE MODEL naive WITH ('provider'='seasonal-naive');
CREATE TABLE forecasts WITH ('connector'='stdout');
CREATE VIEW minutes AS SELECT site, window_start AS t, count(*) AS seen, count(DISTINCT kind) AS kinds,
    first_value(kw ORDER BY n DESC) AS kw, sum(n) FILTER (WHERE kind = 'a') AS total
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '15' SECOND)
  GROUP BY site, window_start, window_end;
CREATE PIPELINE load AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
  model => 'naive', series => 'site', time => 't', target => ['seen', 'kw'],
  past_covariates => ['kinds', 'total'],
  horizon => 2, context => 5, min_context => 1, samples => 10, quantiles => [0.5]);
