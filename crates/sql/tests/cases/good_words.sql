-- Words of SQL that are read as columns, and in quotes all are.
CREATE TABLE readings ("user" VARCHAR, "table" VARCHAR, "interval" DOUBLE, value DOUBLE, "group" VARCHAR, order INT, end INT, timestamp TIMESTAMP(3),
  desc VARCHAR, date DATE, key VARCHAR, WATERMARK FOR timestamp AS timestamp - INTERVAL '10' SECOND)
  WITH ('connector'='kafka', 'topic'='readings');
CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='forecasts');
CREATE VIEW load AS SELECT "user", "table", group, desc, key, window_end AS time, avg(value) AS value, max("interval") AS "interval", sum(order + end) AS offset
  FROM TUMBLE(TABLE readings, DESCRIPTOR(timestamp), INTERVAL '1' MINUTE)
  WHERE end IS NOT NULL AND date > DATE '2020-01-01' GROUP BY "user", "table", group, desc, key, window_end;
CREATE PIPELINE p AS INSERT INTO forecasts
  SELECT * FROM forecast(TABLE load, series => ['user', 'table', 'group', 'desc', 'key'], time => 'time', target => ['value', 'interval', 'offset'], horizon => 2);
