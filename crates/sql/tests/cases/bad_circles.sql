CREATE TABLE readings (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts)
  WITH ('connector'='kafka', 'topic'='readings', 'late.topic'='readings.late', 'bad.topic'='readings.bad');
CREATE VIEW load AS SELECT site, window_end AS t, avg(kw) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
-- Into the topic that is read, on what may be one cluster.
CREATE TABLE back WITH ('connector'='kafka', 'topic'='readings');
CREATE PIPELINE back AS INSERT INTO back SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE TABLE perhaps WITH ('connector'='kafka', 'topic'='readings', 'bootstrap.servers'='a:9092');
CREATE PIPELINE perhaps AS INSERT INTO perhaps SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 2);
-- Among late rows and bad records, of the pipeline itself and of others.
CREATE TABLE late WITH ('connector'='kafka', 'topic'='readings.late');
CREATE PIPELINE late AS INSERT INTO late SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE TABLE others (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='others');
CREATE VIEW others_load AS SELECT site, window_end AS t, avg(kw) AS kw
  FROM TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
CREATE TABLE bad WITH ('connector'='kafka', 'topic'='readings.bad');
CREATE PIPELINE bad AS INSERT INTO bad SELECT * FROM forecast(TABLE others_load, series => 'site', time => 't', target => 'kw', horizon => 2);
-- Round in a circle of three.
CREATE TABLE a (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='a', 'bad.topic'='c');
CREATE TABLE b (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='b');
CREATE TABLE c (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='c');
CREATE TABLE to_a WITH ('connector'='kafka', 'topic'='a');
CREATE TABLE to_b WITH ('connector'='kafka', 'topic'='b');
CREATE TABLE beside WITH ('connector'='kafka', 'topic'='beside');
CREATE VIEW from_a AS SELECT site, window_end AS t, avg(kw) AS kw FROM TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
CREATE VIEW from_b AS SELECT site, window_end AS t, avg(kw) AS kw FROM TUMBLE(TABLE b, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
CREATE VIEW from_c AS SELECT site, window_end AS t, avg(kw) AS kw FROM TUMBLE(TABLE c, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
CREATE PIPELINE a_beside AS INSERT INTO beside SELECT * FROM forecast(TABLE from_a, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE PIPELINE c_to_b AS INSERT INTO to_b SELECT * FROM forecast(TABLE from_c, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE PIPELINE b_to_a AS INSERT INTO to_a SELECT * FROM forecast(TABLE from_b, series => 'site', time => 't', target => 'kw', horizon => 2);
-- Files: the records would be replaced.
CREATE TABLE file (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='filesystem', 'path'='data/x.csv');
CREATE TABLE same_file WITH ('connector'='filesystem', 'path'='./data/../data//x.csv');
CREATE VIEW from_file AS SELECT site, window_end AS t, avg(kw) AS kw FROM TUMBLE(TABLE file, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
CREATE PIPELINE over_file AS INSERT INTO same_file SELECT * FROM forecast(TABLE from_file, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE TABLE shared WITH ('connector'='filesystem', 'path'='y.jsonl');
CREATE PIPELINE share_1 AS INSERT INTO shared SELECT * FROM forecast(TABLE from_file, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE PIPELINE share_2 AS INSERT INTO shared SELECT * FROM forecast(TABLE from_file, series => 'site', time => 't', target => 'kw', horizon => 2);
