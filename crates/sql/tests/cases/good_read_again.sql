-- The state of stddev would round, so its windows are read again.
CREATE TABLE readings (site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP NOT NULL,
                       WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
WITH ('connector'='kafka', 'topic'='readings', 'format'='json', 'scan.startup.mode'='earliest-offset',
      'idle.timeout'='30s', 'late.topic'='readings.late', 'bad.topic'='readings.dlq');
CREATE MODEL tiny WITH ('provider'='moirai-moe', 'path'='builtin:tiny', 'device'='auto');
CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='forecasts', 'format'='json', 'layout'='nested', 'delivery'='exactly-once');
CREATE VIEW load_1m AS SELECT site, window_end AS t, stddev(kw) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start, window_end;
CREATE PIPELINE load_forecast AS INSERT INTO forecasts
  SELECT * FROM forecast(TABLE load_1m, model => 'tiny', series => 'site', time => 't', target => 'kw',
                         horizon => 96, context => 512, quantiles => [0.1, 0.5, 0.9]);
