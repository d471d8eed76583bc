-- A mean for each site and minute. A forecast is what Tidecast adds to a closed window; the
-- cheapest repeats the window's value, so that the message says what the window held.
CREATE TABLE readings (
  site VARCHAR NOT NULL, kw DOUBLE, ts TIMESTAMP(3) NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'kafka', 'topic' = '{source}', 'format' = 'json', 'group.id' = '{group}',
        'scan.startup.mode' = 'earliest-offset');
CREATE TABLE minutes_out WITH ('connector' = 'kafka', 'topic' = '{sink}', 'delivery' = 'exactly-once');
CREATE MODEL last_value WITH ('provider' = 'seasonal-naive', 'season' = '1');
CREATE VIEW minutes AS
SELECT site, window_end AS t, avg(kw) AS kw
FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
GROUP BY site, window_start, window_end;
CREATE PIPELINE streams AS INSERT INTO minutes_out
SELECT * FROM forecast(TABLE minutes, model => 'last_value', series => 'site', time => 't', target => 'kw',
                       horizon => 1, context => 1, min_context => 1, quantiles => [0.5]);
