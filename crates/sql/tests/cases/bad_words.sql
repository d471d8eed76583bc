-- Words of SQL that are not read as columns, though tables have such columns.
CREATE TABLE readings (user VARCHAR, session_user VARCHAR, "current_date" DATE, table VARCHAR, interval DOUBLE, from VARCHAR, all DOUBLE,
  exists DOUBLE, trim DOUBLE, null DOUBLE, true BOOLEAN, localtime VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE times_1 (user TIMESTAMP, WATERMARK FOR user AS user - INTERVAL '10' SECOND) WITH ('connector'='kafka', 'topic'='t');
CREATE TABLE times_2 (table TIMESTAMP, WATERMARK FOR table AS table - INTERVAL '10' SECOND) WITH ('connector'='kafka', 'topic'='t');
CREATE VIEW v1 AS SELECT user, session_user, localtime, kw FROM readings;
CREATE VIEW v2 AS SELECT current_date, kw FROM readings;
CREATE VIEW v3 AS SELECT table, kw FROM readings;
CREATE VIEW v4 AS SELECT kw FROM readings WHERE table = 'a';
CREATE VIEW v5 AS SELECT avg(table + 1) AS kw FROM readings;
CREATE VIEW v6 AS SELECT CAST(table AS DOUBLE) AS kw FROM readings;
CREATE VIEW v7 AS SELECT interval, kw FROM readings;
CREATE VIEW v8 AS SELECT kw FROM readings WHERE interval IS NOT NULL;
CREATE VIEW v9 AS SELECT from, kw FROM readings;
CREATE VIEW v10 AS SELECT avg(all) AS kw FROM readings;
CREATE VIEW v11 AS SELECT avg(exists) AS kw, sum(trim) AS t FROM readings;
CREATE VIEW v12 AS SELECT null, true, kw FROM readings;
CREATE VIEW v13 AS SELECT kw FROM readings WHERE upper(user) = 'A';
