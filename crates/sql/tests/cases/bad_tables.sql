CREATE TABLE no_watermark (a INT, at TIMESTAMP) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE two_watermarks (ts TIMESTAMP, WATERMARK FOR ts, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE unknown_time (ts TIMESTAMP, WATERMARK FOR tss) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE text_time (ts VARCHAR, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE types (a JSON, b ARRAY<INT>, c TIMESTAMP WITH TIME ZONE, d DECIMAL(50, 2), e TIMESTAMP(4), f NONSENSE,
  a INT, window_start TIMESTAMP, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE no_connector (ts TIMESTAMP, WATERMARK FOR ts) WITH ('topic'='t');
CREATE TABLE odd_connector (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafak', 'topic'='t');
CREATE TABLE from_stdout (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='stdout');
CREATE TABLE no_topic (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka');
CREATE TABLE options (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'Topic'='t',
  'idel.timeout'='1s', 'colour'='blue', 'format'='canal-json', 'value.format'='json', 'topic'='u');
CREATE TABLE values_ (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t',
  'format'='jsonn', 'timestamp.unit'='m', 'scan.startup.mode'='earliest', 'idle.timeout'='30', 'max.future'='0s', 'late.topic'='', 'bad.topic'='t');
CREATE TABLE later (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'scan.startup.mode'='timestamp',
  'idle.timeout'='1 fortnight');
CREATE TABLE properties (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'properties.enable.auto.commit'='true',
  'bootstrap.servers'='a:9092', 'properties.bootstrap.servers'='b:9092');
CREATE TABLE file_options (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='filesystem', 'path'='history.log', 'topic'='t');
CREATE TABLE no_path (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='filesystem', 'format'='orc');
CREATE TABLE sink WITH ('connector'='kafka', 'topic'='f', 'delivery'='exactly_once', 'layout'='long', 'idle.timeout'='1s');
CREATE TABLE sink_late WITH ('connector'='kafka', 'topic'='f', 'delivery'='none');
CREATE TABLE stdout WITH ('connector'='stdout', 'path'='x');
CREATE TABLE conditions_1 (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS CASE WHEN kwh IS NOT NULL THEN ts END) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE conditions_2 (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS CASE WHEN random() > 0.5 THEN ts END) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE conditions_3 (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS CASE WHEN kw THEN ts END) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE conditions_4 (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS CASE WHEN max(kw) > 1 THEN ts END) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE conditions_5 (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS CASE WHEN kw > (SELECT 1) THEN ts END) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE conditions_6 (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS CASE WHEN abss(kw) > 1 THEN ts END) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE conditions_7 (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts AS CASE WHEN kw LIKE ts THEN ts END) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE packed WITH ('connector'='filesystem', 'path'='out/forecasts.csv.gz');
CREATE TABLE m (site VARCHAR METADATA FROM 'keys', kw DOUBLE METADATA FROM 'headers.', n DOUBLE METADATA FROM 'offset', at VARCHAR METADATA FROM 'timestamp', topic INT METADATA, ts TIMESTAMP, WATERMARK FOR ts)
WITH ('connector'='kafka', 'topic'='m', 'format'='raw');
CREATE TABLE m_of_file (site VARCHAR METADATA FROM 'key', ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='filesystem', 'path'='m.csv');
CREATE TABLE two_values (kw DOUBLE, n DOUBLE, ts TIMESTAMP METADATA FROM 'timestamp', WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='m', 'format'='raw');
CREATE TABLE from_when (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='m', 'scan.startup.mode'='timestamp');
CREATE TABLE from_then (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='m', 'scan.startup.mode'='timestamp', 'scan.startup.timestamp'='yesterday');
CREATE TABLE from_both (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='m', 'scan.startup.mode'='timestamp', 'scan.startup.timestamp'='2026-11-01T00:00:00Z', 'scan.startup.timestamp-millis'='7');
CREATE TABLE from_neither (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='m', 'scan.startup.timestamp-millis'='7');
