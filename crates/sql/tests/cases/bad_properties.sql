CREATE TABLE s (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='s',
  'properties.sasl.password'='hush',
  'properties.sasl.password.file'='/run/secrets/kafka',
  'properties.enable.auto.commit'='true');
CREATE TABLE f WITH ('connector'='kafka', 'topic'='f');
CREATE VIEW v AS SELECT window_end AS t, max(kw) AS kw FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_end;
CREATE PIPELINE p AS INSERT INTO f SELECT * FROM forecast(TABLE v, time => 't', target => 'kw', horizon => 3);
