-- What stands in WHERE, SELECT and HAVING, over views and queries in FROM.
CREATE TABLE readings (site VARCHAR NOT NULL, "Kind ""x""" VARCHAR, kw DOUBLE, n INT, price DECIMAL(10, 2),
  is_on BOOLEAN, day DATE, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
WITH ('connector'='kafka', 'topic'='readings');
CREATE TABLE out WITH ('connector'='stdout');

CREATE VIEW precedence AS SELECT site, window_end AS t, sum((kw + n) * 2 - kw / 4 % 3) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
  WHERE kw > 1 AND (n = 3 OR NOT is_on) AND -n <> 7 GROUP BY site, window_start, window_end;
CREATE PIPELINE precedence AS INSERT INTO out
  SELECT * FROM forecast(TABLE precedence, series => 'site', time => 't', target => 'kw', horizon => 1);

CREATE VIEW conditions AS SELECT r.site, r.window_start AS t, max(r.kw) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) AS r
  WHERE r.n BETWEEN 1 AND 9 AND r."Kind ""x""" IN ('a', 'it''s', 'tab	"quoted" \') AND r.site NOT LIKE 'x\_%' ESCAPE '\'
    AND r.site ILIKE '%hall%' AND r.n NOT IN (5, 6) AND r.kw IS NOT NULL AND r.is_on IS NOT FALSE
    AND r.site SIMILAR TO '[a-z]+' AND r.site ~ '^[a-z]' AND (r.kw IS DISTINCT FROM 4)
    AND r.price >= 1.50 AND r.day < DATE '2030-01-01' AND r.ts >= '2020-01-01T00:00:00'
  GROUP BY r.site, r.window_start, r.window_end;
CREATE PIPELINE conditions AS INSERT INTO out
  SELECT * FROM forecast(TABLE conditions, series => 'site', time => 't', target => 'kw', horizon => 1);

CREATE VIEW computed AS
  SELECT upper(site) AS place, kw * CASE WHEN n > 0 THEN 1 ELSE -1 END AS signed, 1 / n AS never_asked_for,
    CASE "Kind ""x""" WHEN 'a' THEN 1 WHEN 'b' THEN 2 END AS rank, ts, ts AS same FROM readings WHERE n IS NOT NULL;
CREATE VIEW over_views AS SELECT place, t, kw + 1 AS kw, rank FROM
  (SELECT place, window_end AS t, avg(signed) / 2 AS kw, max(rank) AS rank
   FROM TUMBLE(TABLE computed, DESCRIPTOR(ts), INTERVAL '1' MINUTE) WHERE signed < 100
   GROUP BY place, window_start, window_end HAVING count(*) > 3 AND avg(signed) > 0) WHERE kw < 50;
CREATE PIPELINE over_views AS INSERT INTO out
  SELECT * FROM forecast(TABLE over_views, series => 'place', time => 't', target => 'kw', horizon => 1);

CREATE VIEW functions AS
  SELECT coalesce(nullif(trim(site), ''), 'none') AS site, window_end AS t,
    avg(round(power(abs(kw), 2), 1)) AS kw, sum(TRY_CAST("Kind ""x""" AS DOUBLE)) AS s,
    sum(CAST(kw AS BIGINT)) AS whole, max(date_part('hour', ts)) AS hour, max(ts + INTERVAL '90' MINUTE) AS later,
    max(array_length([n, 2])) AS lengths
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
  GROUP BY coalesce(nullif(trim(site), ''), 'none'), window_start, window_end;
CREATE PIPELINE functions AS INSERT INTO out
  SELECT * FROM forecast(TABLE functions, series => 'site', time => 't', target => 'kw', horizon => 1);
