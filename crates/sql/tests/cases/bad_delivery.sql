CREATE TABLE s (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='s', 'bootstrap.servers'='a:9092');
CREATE TABLE file (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='filesystem', 'path'='x.csv');
CREATE TABLE f WITH ('connector'='kafka', 'topic'='f', 'bootstrap.servers'='b:9092', 'delivery'='exactly-once');
CREATE VIEW v AS SELECT window_end AS t, max(kw) AS kw FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_end;
CREATE VIEW w AS SELECT window_end AS t, max(kw) AS kw FROM TUMBLE(TABLE file, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_end;
CREATE PIPELINE two_clusters AS INSERT INTO f SELECT * FROM forecast(TABLE v, time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE from_file AS INSERT INTO f SELECT * FROM forecast(TABLE w, time => 't', target => 'kw', horizon => 3);
