CREATE TABLE history (id BIGINT, y DOUBLE, ts TIMESTAMP(0), WATERMARK FOR ts AS ts - INTERVAL '0' SECOND)
WITH ('connector'='filesystem', 'path'='history.csv.gz');
CREATE TABLE to_kafka WITH ('connector'='kafka', 'topic'='forecasts');
CREATE TABLE to_file WITH ('connector'='filesystem', 'path'='out', 'format'='parquet');
CREATE VIEW daily AS SELECT id, window_start AS day, sum(y) AS y
  FROM TUMBLE(TABLE history, DESCRIPTOR(ts), INTERVAL '1' DAY) GROUP BY id, window_start;
-- A file has no offsets, so the default delivery into Kafka is at-least-once here.
CREATE PIPELINE backfill AS INSERT INTO to_kafka
  SELECT * FROM forecast(TABLE daily, series => 'id', time => 'day', target => 'y', horizon => 7, context => 8);
CREATE PIPELINE batch AS INSERT INTO to_file
  SELECT * FROM forecast(TABLE daily, series => 'id', time => 'day', target => 'y', horizon => 7, refresh => 'at_end');
