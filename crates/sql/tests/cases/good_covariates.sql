-- Several targets, and covariates of both kinds.
CREATE TABLE plant (site VARCHAR NOT NULL, kw DOUBLE, price DOUBLE, load DOUBLE, temperature DOUBLE, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS CASE WHEN kw IS NOT NULL OR price > 0 THEN ts - INTERVAL '10' SECOND ELSE NULL END)
WITH ('connector'='kafka', 'topic'='plant', 'max.future'='2 days');
CREATE TABLE history (site VARCHAR NOT NULL, kw DOUBLE, temperature DOUBLE, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
WITH ('connector'='filesystem', 'path'='history.csv');
CREATE TABLE f WITH ('connector'='stdout');
CREATE VIEW hourly AS SELECT site, window_start AS t, avg(kw) AS kw, avg(price) AS price, max(load) AS load, avg(temperature) AS temperature
  FROM TUMBLE(TABLE plant, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE VIEW hourly_history AS SELECT site, window_start AS t, avg(kw) AS kw, avg(temperature) AS temperature
  FROM TUMBLE(TABLE history, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE PIPELINE both AS INSERT INTO f
  SELECT * FROM forecast(TABLE hourly, series => 'site', time => 't', target => ['kw', 'price'],
    past_covariates => 'load', future_covariates => ['temperature'], horizon => 36,
    aggregate => ['sum', 'max:12'], output => ['quantiles', 'samples']);
CREATE PIPELINE of_a_file AS INSERT INTO f
  SELECT * FROM forecast(TABLE hourly_history, series => 'site', time => 't', target => 'kw',
    future_covariates => 'temperature', horizon => 36, refresh => 'at_end');
