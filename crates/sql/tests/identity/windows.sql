-- Windows of a length and of a calendar; what a source says of times.
CREATE TABLE sales (shop VARCHAR, amount REAL, ts TIMESTAMP(3) NOT NULL, WATERMARK FOR ts AS ts)
WITH ('connector'='kafka', 'topic'='sales', 'timestamp.unit'='ms', 'max.future'='none', 'max.past'='7d');
CREATE TABLE out WITH ('connector'='stdout');

CREATE VIEW quarters_of_an_hour AS SELECT shop, window_start AS t, sum(amount) AS amount
  FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '15' MINUTE, INTERVAL '5' MINUTE) GROUP BY shop, window_start, window_end;
CREATE PIPELINE quarters_of_an_hour AS INSERT INTO out
  SELECT * FROM forecast(TABLE quarters_of_an_hour, series => 'shop', time => 't', target => 'amount', horizon => 1);

CREATE VIEW days AS SELECT shop, window_start AS t, sum(amount) AS amount
  FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '6' HOUR, timezone => 'america/new_york')
  GROUP BY shop, window_start, window_end;
CREATE PIPELINE days AS INSERT INTO out
  SELECT * FROM forecast(TABLE days, series => 'shop', time => 't', target => 'amount', horizon => 1);

CREATE VIEW business AS SELECT shop, window_start AS t, sum(amount) AS amount
  FROM TUMBLE(DATA => TABLE sales, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' DAY, CALENDAR => 'business')
  GROUP BY shop, window_start, window_end;
CREATE PIPELINE business AS INSERT INTO out
  SELECT * FROM forecast(TABLE business, series => 'shop', time => 't', target => 'amount', horizon => 1);

CREATE VIEW months AS SELECT shop, window_start AS t, sum(amount) AS amount
  FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' MONTH, INTERVAL '-1' DAY, timezone => 'Europe/Berlin')
  GROUP BY shop, window_start, window_end;
CREATE PIPELINE months AS INSERT INTO out
  SELECT * FROM forecast(TABLE months, series => 'shop', time => 't', target => 'amount', horizon => 1);

CREATE VIEW quarters AS SELECT shop, window_start AS t, sum(amount) AS amount
  FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '1' QUARTER, INTERVAL '1 month 14 days') GROUP BY shop, window_start, window_end;
CREATE PIPELINE quarters AS INSERT INTO out
  SELECT * FROM forecast(TABLE quarters, series => 'shop', time => 't', target => 'amount', horizon => 1);
