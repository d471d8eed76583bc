CREATE TABLE s (site VARCHAR, kw DOUBLE, ts TIMESTAMP, seen TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='s');
CREATE TABLE f WITH ('connector'='stdout');
CREATE VIEW no_window AS SELECT site, ts AS t, max(kw) AS kw FROM s GROUP BY site, ts;
CREATE VIEW no_group AS SELECT site, window_start AS t, kw FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE);
CREATE VIEW twice AS SELECT site, t, max(kw) AS kw FROM (
  SELECT site, window_start AS t, kw, max(kw) AS k FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start, kw) GROUP BY site, t;
CREATE VIEW below AS SELECT site, window_start AS t, max(kw) AS kw FROM TUMBLE(TABLE (SELECT site, ts, max(kw) AS kw FROM s GROUP BY site, ts), DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start;
CREATE VIEW not_by_window AS SELECT site, max(window_start) AS t, max(kw) AS kw FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site;
CREATE VIEW other_time AS SELECT site, window_start AS t, max(kw) AS kw FROM TUMBLE(TABLE s, DESCRIPTOR(seen), INTERVAL '1' MINUTE) GROUP BY site, window_start;
CREATE VIEW moved_time AS SELECT site, window_start AS t, max(kw) AS kw FROM TUMBLE(TABLE (SELECT site, kw, ts + INTERVAL '1' HOUR AS ts FROM s), DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start;
CREATE PIPELINE p1 AS INSERT INTO f SELECT * FROM forecast(TABLE no_window, series => 'site', time => 't', target => 'kw', horizon => 1);
CREATE PIPELINE p2 AS INSERT INTO f SELECT * FROM forecast(TABLE no_group, series => 'site', time => 't', target => 'kw', horizon => 1);
CREATE PIPELINE p3 AS INSERT INTO f SELECT * FROM forecast(TABLE twice, series => 'site', time => 't', target => 'kw', horizon => 1);
CREATE PIPELINE p4 AS INSERT INTO f SELECT * FROM forecast(TABLE below, series => 'site', time => 't', target => 'kw', horizon => 1);
CREATE PIPELINE p5 AS INSERT INTO f SELECT * FROM forecast(TABLE not_by_window, series => 'site', time => 't', target => 'kw', horizon => 1);
CREATE PIPELINE p6 AS INSERT INTO f SELECT * FROM forecast(TABLE other_time, series => 'site', time => 't', target => 'kw', horizon => 1);
CREATE PIPELINE p7 AS INSERT INTO f SELECT * FROM forecast(TABLE moved_time, series => 'site', time => 't', target => 'kw', horizon => 1);
