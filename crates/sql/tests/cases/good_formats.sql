-- What the value of a record is, and where in it columns stand.
CREATE TABLE nested (kw DOUBLE, site VARCHAR NOT NULL, ts TIMESTAMP(3) NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)
WITH ('connector'='kafka', 'topic'='gateways', 'fields.kw'='$.payload.values[''kW net'']', 'fields.site'='device.id');
CREATE TABLE changes (kw DOUBLE, site VARCHAR, ts TIMESTAMP(3), WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='db.meters.readings', 'format'='debezium-json', 'tombstones'='skip', 'timestamp.unit'='us');
CREATE TABLE lines (site VARCHAR, kw DOUBLE, ts TIMESTAMP(3) METADATA FROM 'timestamp', WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='lines', 'format'='csv', 'csv.field-delimiter'='\t', 'csv.quote-character'='''');
CREATE TABLE registered (site VARCHAR, kw DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='avro', 'format'='avro-confluent', 'schema.registry.url'='https://registry:8081', 'schema.registry.basic.auth.user.info'='me:hush',
  'fields.kw'='$.readings[*].values.kw');
CREATE TABLE read_by (site VARCHAR, kw DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='avro', 'format'='avro-apicurio', 'apicurio.registry.use-id'='contentId', 'avro.schema'='readings.avsc');
CREATE TABLE alone (site VARCHAR, kw DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='avro', 'format'='avro', 'avro.schema'='{"type":"record","name":"R","fields":[{"name":"kw","type":"double"}]}');
CREATE TABLE history (site VARCHAR, kw DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts)
WITH ('connector'='filesystem', 'path'='history.jsonl', 'fields.kw'='$.values.kw');
CREATE TABLE messages (site VARCHAR, kw DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='avro', 'format'='protobuf', 'protobuf.schema'='readings.proto', 'protobuf.message'='Reading');
CREATE TABLE f WITH ('connector'='stdout');
CREATE VIEW v1 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE nested, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE VIEW v2 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE changes, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE VIEW v3 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE lines, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE VIEW v4 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE registered, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE VIEW v5 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE read_by, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE VIEW v6 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE alone, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE VIEW v7 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE history, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE PIPELINE p1 AS INSERT INTO f SELECT * FROM forecast(TABLE v1, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p2 AS INSERT INTO f SELECT * FROM forecast(TABLE v2, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p3 AS INSERT INTO f SELECT * FROM forecast(TABLE v3, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p4 AS INSERT INTO f SELECT * FROM forecast(TABLE v4, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p5 AS INSERT INTO f SELECT * FROM forecast(TABLE v5, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p6 AS INSERT INTO f SELECT * FROM forecast(TABLE v6, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE p7 AS INSERT INTO f SELECT * FROM forecast(TABLE v7, series => 'site', time => 't', target => 'kw', horizon => 3);
CREATE VIEW v8 AS SELECT site, window_start AS t, avg(kw) AS kw FROM TUMBLE(TABLE messages, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_start;
CREATE PIPELINE p8 AS INSERT INTO f SELECT * FROM forecast(TABLE v8, series => 'site', time => 't', target => 'kw', horizon => 3);
