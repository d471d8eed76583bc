-- What is known ahead, and rows that do not move the watermark.
CREATE TABLE readings (site VARCHAR NOT NULL, kind VARCHAR, kw DOUBLE, n BIGINT, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS CASE WHEN kw IS NOT NULL THEN ts - INTERVAL '10' SECOND END)
WITH ('connector'='kafka', 'topic'='readings', 'format'='json');
CREATE MODEL naive WITH ('provider'='seasonal-naive');
CREATE TABLE forecasts WITH ('connector'='stdout');
CREATE VIEW minutes AS SELECT site, window_end AS t, max(kw) AS kw, max(n) AS n
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
  GROUP BY site, window_start, window_end;
CREATE PIPELINE load AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
  model => 'naive', series => 'site', time => 't', target => 'kw', future_covariates => 'n',
  horizon => 2, context => 5, min_context => 1, samples => 10, quantiles => [0.5]);
