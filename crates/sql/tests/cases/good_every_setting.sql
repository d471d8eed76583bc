CREATE TABLE readings (
  "Site" VARCHAR(20) NOT NULL, phase SMALLINT NOT NULL, kw DECIMAL(10, 3), on_line BOOLEAN, day DATE,
  big BIGINT, small TINYINT, real_number REAL, note TEXT, ts TIMESTAMP(3) NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '1 minute 30 seconds')
WITH ('connector'='kafka', 'topic'='readings', 'format'='json', 'bootstrap.servers'='a:9092,b:9092',
      'group.id'='mine', 'scan.startup.mode'='latest-offset', 'lost.records'='fail', 'idle.timeout'='none', 'max.future'='none', 'timestamp.unit'='ms',
      'properties.fetch.max.bytes'='1000000', 'properties.sasl.password'='do not print');
CREATE MODEL big WITH ('provider'='moirai-moe', 'path'='hf://Salesforce/moirai-moe-1.0-R-small', 'revision'='v1', 'token'='hf_x', 'license.accept'='cc-by-nc-4.0', 'device'='cuda:1', 'rollout'='exact', 'patch.size'='32');
CREATE TABLE forecasts WITH ('connector'='kafka', 'topic'='forecasts', 'properties.bootstrap.servers'='b:9092, a:9092',
  'properties.compression.type'='zstd', 'properties.ssl.key.password.file'='/run/secrets/key');
CREATE VIEW load AS
  SELECT r."Site" AS site, r.phase, r.window_end AS t, sum(r.kw) FILTER (WHERE r.on_line) AS kw
  FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '15' MINUTE, INTERVAL '5' MINUTE) AS r
  WHERE r.kw > 0
  GROUP BY r."Site", r.phase, r.window_start, r.window_end
  HAVING count(*) > 1;
CREATE PIPELINE every_setting WITH ('commit.interval'='500ms') AS INSERT INTO forecasts
  SELECT * FROM forecast(TABLE load, model => 'big', series => ['site', 'phase'], time => 't', target => ['kw'],
    horizon => INTERVAL '6' HOUR, context => INTERVAL '7' DAY, min_context => 4, samples => 200, lower => -2.5, upper => 1000, integer => false,
    quantiles => [0.05, 0.5, 0.95], refresh => 'every 4 steps');
