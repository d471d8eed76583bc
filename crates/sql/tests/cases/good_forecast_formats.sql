-- How forecasts are written to a topic.
CREATE TABLE readings (site VARCHAR, kw DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='readings');
CREATE VIEW load AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE TABLE rows WITH ('connector'='kafka', 'topic'='f1', 'layout'='long');
CREATE TABLE plain WITH ('connector'='kafka', 'topic'='f2', 'format'='avro');
CREATE TABLE registered WITH ('connector'='kafka', 'topic'='f3', 'format'='avro-confluent', 'layout'='long', 'schema.registry.url'='https://registry:8081',
  'schema.registry.basic.auth.user.info'='me:hush', 'schema.registry.auto.register.schemas'='false');
CREATE TABLE messages WITH ('connector'='kafka', 'topic'='f4', 'format'='protobuf', 'layout'='nested');
CREATE TABLE registered_messages WITH ('connector'='kafka', 'topic'='f5', 'format'='protobuf-confluent');
CREATE PIPELINE p1 AS INSERT INTO rows SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p2 AS INSERT INTO plain SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 3, output => 'samples');
CREATE PIPELINE p3 AS INSERT INTO registered SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p4 AS INSERT INTO messages SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p5 AS INSERT INTO registered_messages SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 3);
