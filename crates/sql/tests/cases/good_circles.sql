-- Equal names on clusters that are said to be different, a chain, and letters of several pipelines in one topic.
CREATE TABLE readings (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts)
  WITH ('connector'='kafka', 'topic'='readings', 'bootstrap.servers'='a:9092', 'late.topic'='letters', 'bad.topic'='letters');
CREATE TABLE mirrored WITH ('connector'='kafka', 'topic'='readings', 'bootstrap.servers'='b:9092', 'delivery'='at-least-once');
CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='forecasts', 'bootstrap.servers'='a:9092');
CREATE TABLE again (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts)
  WITH ('connector'='kafka', 'topic'='forecasts', 'bootstrap.servers'='a:9092', 'bad.topic'='letters');
CREATE TABLE last WITH ('connector'='kafka', 'topic'='last', 'bootstrap.servers'='a:9092');
CREATE VIEW load AS SELECT site, window_end AS t, avg(kw) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
CREATE VIEW load_again AS SELECT site, window_end AS t, avg(kw) AS kw
  FROM TUMBLE(TABLE again, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
CREATE PIPELINE mirror AS INSERT INTO mirrored SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE PIPELINE first AS INSERT INTO forecasts SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 2);
CREATE PIPELINE second AS INSERT INTO last SELECT * FROM forecast(TABLE load_again, series => 'site', time => 't', target => 'kw', horizon => 2);
