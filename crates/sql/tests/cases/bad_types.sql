CREATE TABLE nested (site VARCHAR, a STRUCT<kw DOUBLE>, b STRUCT<kw DOUBLE, c STRUCT<d INT>> NOT NULL, c ROW(kw DOUBLE), d ROW<kw DOUBLE>, e ARRAY<DOUBLE>,
  f ARRAY<ARRAY<INT>>, g DOUBLE ARRAY, h DOUBLE[], i MAP<VARCHAR, DOUBLE>, j MAP(VARCHAR, DOUBLE), k MULTISET<INT>, l JSON, m Nested(x INT), n ARRAY(INT),
  ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE elsewhere (a INT64, b FLOAT64, c DATETIME, d DATETIME(3), e TIMESTAMPTZ, f TIMESTAMP_LTZ(3), g UUID, h UNSIGNED, i LONG, j NUMBER(10, 2), k UINT64,
  l BYTES, m TIME, n ENUM('x', 'y'), o DateTime64(3), p Float32, q VARCHAR2(10), r MEDIUMINT, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE open (site VARCHAR, a STRUCT<kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t');
