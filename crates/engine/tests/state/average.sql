-- The everyday pipeline, with what a query can say around an average.
CREATE TABLE readings (site VARCHAR NOT NULL, kind VARCHAR, kw DOUBLE, n BIGINT, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH ('connector'='kafka', 'topic'='readings', 'format'='json');
CREATE MODEL naive WITH ('provider'='seasonal-naive');
CREATE TABLE forecasts WITH ('connector'='stdout');
CREATE VIEW minutes AS SELECT upper(r.site) AS place, window_end AS t, avg(r.kw) * 2 AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) AS r
  WHERE r.kw > 1 AND r.kind IN ('a', 'b') GROUP BY upper(r.site), window_start, window_end
  HAVING count(*) > 0;
CREATE PIPELINE load AS INSERT INTO forecasts SELECT * FROM forecast(TABLE minutes,
  model => 'naive', series => 'place', time => 't', target => 'kw',
  horizon => 2, context => 6, min_context => 1, samples => 10, quantiles => [0.5]);
