-- Other ways to say the same: RisingWave's, Flink's, subqueries, views over views.
CREATE TABLE s (site STRING, kw FLOAT, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH ('connector'='kafka', 'topic'='s');
CREATE TABLE f WITH ('connector'='stdout', 'format'='json', 'layout'='nested');
CREATE MODEL yesterday WITH ('provider'='seasonal-naive', 'season'='24');
CREATE VIEW upper_sites AS SELECT upper(site) AS site, kw * 1000 AS w, ts FROM s WHERE kw IS NOT NULL;
CREATE VIEW risingwave AS SELECT site, window_start, max(kw) AS kw FROM tumble(s, ts, INTERVAL '1 minute') GROUP BY site, window_start;
CREATE VIEW flink AS SELECT site, window_start, max(kw) AS kw
  FROM TABLE(TUMBLE(DATA => TABLE s, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTES)) GROUP BY site, window_start;
CREATE VIEW over_view AS SELECT site, window_start, max(w) AS kw
  FROM TUMBLE(TABLE upper_sites, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start;
CREATE VIEW over_select AS SELECT site, window_start, max(w) AS kw
  FROM TUMBLE(TABLE (SELECT lower(site) AS site, kw AS w, ts FROM s), DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start;
CREATE VIEW renamed AS SELECT site AS place, window_start AS t, kw / 2 AS half FROM over_view WHERE kw < 100;
CREATE VIEW with_cte AS WITH c AS (SELECT site, kw, ts FROM s WHERE kw > 1)
  SELECT site, window_start, max(kw) AS kw FROM TUMBLE(TABLE c, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_start;
CREATE PIPELINE p1 AS INSERT INTO f SELECT * FROM forecast(TABLE risingwave, series => 'site', time => 'window_start', target => 'kw', horizon => 1);
CREATE PIPELINE p2 AS INSERT INTO f SELECT * FROM forecast(TABLE flink, series => 'site', time => 'window_start', target => 'kw', horizon => 1);
CREATE PIPELINE p3 AS INSERT INTO f SELECT * FROM forecast(over_view, series => 'site', time => 'window_start', target => 'kw', horizon => 1);
CREATE PIPELINE p4 AS INSERT INTO f SELECT * FROM forecast(TABLE over_select, series => 'site', time => 'window_start', target => 'kw', horizon => 1);
CREATE PIPELINE p5 AS INSERT INTO f SELECT * FROM forecast(TABLE renamed, model => 'yesterday', series => 'place', time => 't', target => 'half', horizon => 1, refresh => 'at_end');
CREATE PIPELINE p6 AS INSERT INTO f SELECT * FROM forecast((SELECT site, kw, window_start FROM risingwave), series => 'site', time => 'window_start', target => 'kw', horizon => 1);
CREATE PIPELINE p7 AS INSERT INTO f SELECT * FROM forecast(TABLE with_cte, series => 'site', time => 'window_start', target => 'kw', horizon => 1);
