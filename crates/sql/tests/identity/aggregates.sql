-- Aggregates, and what a pipeline makes of them.
CREATE TABLE readings (site VARCHAR NOT NULL, kind VARCHAR, kw DOUBLE, n BIGINT, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS CASE WHEN kw IS NOT NULL AND n > 1 + 1 THEN ts - INTERVAL '10' SECOND END)
WITH ('connector'='kafka', 'topic'='readings');
CREATE TABLE out WITH ('connector'='stdout');

CREATE VIEW counted AS SELECT site, kind, window_end AS t, count(*) AS seen, count(kw) AS known, count(DISTINCT kind) AS kinds
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, kind, window_start, window_end;
CREATE PIPELINE counted AS INSERT INTO out
  SELECT * FROM forecast(TABLE counted, series => ['site', 'kind'], time => 't', target => ['seen', 'known'],
    past_covariates => 'kinds', horizon => 1, context => 64);

CREATE VIEW ordered AS SELECT site, window_end AS t, first_value(kw ORDER BY n DESC, ts) AS kw,
    last_value(n ORDER BY ts NULLS FIRST) IGNORE NULLS AS n, string_agg(kind, ',' ORDER BY kind) AS kinds
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start, window_end;
CREATE PIPELINE ordered AS INSERT INTO out
  SELECT * FROM forecast(TABLE ordered, series => 'site', time => 't', target => 'kw', future_covariates => 'n', horizon => 1);

CREATE VIEW filtered AS SELECT site, window_end AS t, sum(n) FILTER (WHERE kind = 'a' AND kw < 5) AS n,
    avg(DISTINCT kw) AS kw, approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY kw) AS high, stddev(kw) AS spread
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start, window_end;
CREATE PIPELINE filtered AS INSERT INTO out
  SELECT * FROM forecast(TABLE filtered, series => 'site', time => 't', target => ['n', 'kw'],
    past_covariates => ['high', 'spread'], horizon => 1, fill => 'zero');

CREATE VIEW everything AS SELECT window_end AS t, avg(kw) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_end;
CREATE PIPELINE everything AS INSERT INTO out
  SELECT * FROM forecast(TABLE everything, time => 't', target => 'kw', horizon => 1);
