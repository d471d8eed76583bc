-- Windows of a calendar.
CREATE TABLE sales (shop VARCHAR NOT NULL, amount DOUBLE, ts TIMESTAMP NOT NULL,
                    WATERMARK FOR ts AS ts - INTERVAL '1' DAY)
WITH ('connector'='kafka', 'topic'='sales', 'max.past'='none');
CREATE TABLE out WITH ('connector'='stdout');
CREATE MODEL naive WITH ('provider'='seasonal-naive', 'season'='12');
CREATE VIEW monthly AS SELECT shop, window_start AS t, sum(amount) AS amount, count(*) AS sales
FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' MONTH, timezone => 'Europe/Berlin')
GROUP BY shop, window_start, window_end;
CREATE PIPELINE months AS INSERT INTO out
SELECT * FROM forecast(TABLE monthly, model => 'naive', series => 'shop', time => 't', target => ['amount', 'sales'],
                       horizon => INTERVAL '1' YEAR, context => 36, fill => 'zero');
CREATE VIEW quarterly AS SELECT shop, window_start AS t, sum(amount) AS amount
FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' QUARTER, INTERVAL '1 month 14 days')
GROUP BY shop, window_start, window_end;
CREATE PIPELINE quarters AS INSERT INTO out
SELECT * FROM forecast(TABLE quarterly, model => 'naive', series => 'shop', time => 't', target => 'amount', horizon => 4);
CREATE VIEW daily AS SELECT shop, window_end AS t, count(*) AS sales
FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '6' HOUR, timezone => 'america/new_york')
GROUP BY shop, window_start, window_end;
CREATE PIPELINE days AS INSERT INTO out
SELECT * FROM forecast(TABLE daily, model => 'naive', series => 'shop', time => 't', target => 'sales', horizon => INTERVAL '7' DAY);
CREATE VIEW workdays AS SELECT shop, window_end AS t, avg(amount) AS amount
FROM TUMBLE(DATA => TABLE sales, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' DAY, CALENDAR => 'business')
GROUP BY shop, window_start, window_end;
CREATE PIPELINE business AS INSERT INTO out
SELECT * FROM forecast(TABLE workdays, model => 'naive', series => 'shop', time => 't', target => 'amount', horizon => 5);
