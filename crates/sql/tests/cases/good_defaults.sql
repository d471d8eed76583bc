/* As little as possible, and no statement after what it refers to:
   the order of statements means nothing. */
CREATE PIPELINE p AS INSERT INTO f SELECT * FROM forecast(TABLE v, time => 't', target => 'n', horizon => 3);
CREATE VIEW v AS SELECT window_start AS t, count(*) AS n
  FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1 hour') GROUP BY window_start;
CREATE TABLE f WITH ('connector'='stdout');
CREATE TABLE s (ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='s')
