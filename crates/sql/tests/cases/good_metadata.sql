-- Columns from beside a record's value, and values that are no objects.
CREATE TABLE sensors (kw DOUBLE, site VARCHAR NOT NULL METADATA FROM 'key', ts TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL,
  "partition" INT METADATA, gateway VARCHAR METADATA FROM 'headers.Gateway-Id' NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
WITH ('connector'='kafka', 'topic'='sensors', 'format'='raw', 'tombstones'='skip', 'scan.startup.mode'='timestamp', 'scan.startup.timestamp-millis'='1793491200000');
CREATE TABLE f WITH ('connector'='stdout');
CREATE VIEW v AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE sensors, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE PIPELINE p AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE TABLE warm_sensors (kw DOUBLE, site VARCHAR METADATA FROM 'key', ts TIMESTAMP METADATA FROM 'timestamp', WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='sensors', 'format'='raw', 'scan.startup.mode'='warm');
CREATE VIEW w AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE warm_sensors, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE PIPELINE warm AS INSERT INTO f SELECT * FROM forecast(TABLE w, series => 'site', time => 't', target => 'kw', horizon => 3, context => 100);
