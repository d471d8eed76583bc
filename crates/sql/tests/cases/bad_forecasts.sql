CREATE TABLE s (site VARCHAR, phase INT, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='s');
CREATE TABLE f WITH ('connector'='stdout');
CREATE VIEW v AS SELECT site, phase, window_start, window_end AS t, max(kw) AS kw, max(site) AS last_site, kw_class
  FROM (SELECT *, CASE WHEN kw > 1 THEN 1 ELSE 0 END AS kw_class FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
  GROUP BY site, phase, window_start, window_end, kw_class;
CREATE PIPELINE nothing AS INSERT INTO f SELECT * FROM forecast();
CREATE PIPELINE no_table AS INSERT INTO f SELECT * FROM forecast(horizon => 3);
CREATE PIPELINE required AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class']);
CREATE PIPELINE unknown_argument AS INSERT INTO f SELECT * FROM forecast(TABLE v, serie => 'site', horizn => 3, 12, fill => 'locf', samples => 1, samples => 2);
CREATE PIPELINE columns AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['sight', 'site', 'site'], time => 'tt', target => 'kwh', horizon => 3);
CREATE PIPELINE roles AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['kw', 't'], time => 'site', target => 'last_site', horizon => 3);
CREATE PIPELINE forgotten_key AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase'], time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE two_targets AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => ['kw', 'phase'], horizon => 3);
CREATE PIPELINE key_target AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'phase', horizon => 3);
CREATE PIPELINE numbers AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw',
  horizon => 0, context => -5, samples => 0.5, min_context => 'ten');
CREATE PIPELINE lengths AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw',
  horizon => INTERVAL '90' SECOND, context => INTERVAL '1' YEAR);
CREATE PIPELINE too_much AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw',
  horizon => 1000000, context => INTERVAL '0' SECOND, samples => 1000000, min_context => 5000);
CREATE PIPELINE levels AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3,
  quantiles => [0.1, 1.5]);
CREATE PIPELINE order_of_levels AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3,
  quantiles => [0.9, 0.1, 0.1]);
CREATE PIPELINE one_level AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3,
  quantiles => 0.5);
CREATE PIPELINE refresh_late AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3,
  refresh => 'on_late');
CREATE PIPELINE refresh_odd AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3,
  refresh => 'on close');
CREATE PIPELINE refresh_zero AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3,
  refresh => 'every 0 steps');
CREATE PIPELINE not_text AS INSERT INTO f SELECT * FROM forecast(TABLE v, model => tiny, series => site, time => 3, target => kw, horizon => '3');
CREATE PIPELINE options WITH ('commit.intervall'='1s', 'checkpoint.interval'='1s') AS INSERT INTO f
  SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3);
CREATE PIPELINE projection AS INSERT INTO f SELECT site FROM forecast(TABLE v, horizon => 3);
CREATE PIPELINE filter AS INSERT INTO f SELECT * FROM forecast(TABLE v, horizon => 3) WHERE site = 'A';
CREATE PIPELINE sorted AS INSERT INTO f SELECT * FROM forecast(TABLE v, horizon => 3) ORDER BY site;
CREATE PIPELINE joined AS INSERT INTO f SELECT * FROM forecast(TABLE v, horizon => 3) JOIN v ON true;
CREATE PIPELINE no_forecast AS INSERT INTO f SELECT * FROM v;
CREATE PIPELINE forcast AS INSERT INTO f SELECT * FROM forcast(TABLE v, horizon => 3);
CREATE PIPELINE bigquery AS INSERT INTO f SELECT * FROM AI.FORECAST(TABLE v, horizon => 3);
CREATE PIPELINE in_query AS INSERT INTO f SELECT * FROM forecast((SELECT site, kwh FROM v), horizon => 3);
CREATE PIPELINE covariates AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => ['kw', 'kw'], horizon => 3,
  past_covariates => ['kw', 'last_site', 'site', 'windo_start'], future_covariates => ['window_start', 't']);
CREATE PIPELINE no_column AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => [], horizon => 3, past_covariate => 'kw');
CREATE VIEW w AS SELECT site, window_end AS t, max(kw) AS kw, max(phase) AS phase FROM TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY site, window_end;
CREATE PIPELINE nothing_ahead AS INSERT INTO f SELECT * FROM forecast(TABLE w, series => 'site', time => 't', target => 'kw', horizon => 36, future_covariates => 'phase');
CREATE PIPELINE not_names AS INSERT INTO f SELECT * FROM forecast(TABLE w, series => 'site', time => 't', target => 'kw', horizon => 36, past_covariates => ['phase', 7]);
CREATE PIPELINE domains AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3, non_negative => 'yes', integer => 1, lower => 'none', upper => true);
CREATE PIPELINE no_domain AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3, non_negative => true, upper => -1);
CREATE PIPELINE no_whole_one AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3, integer => true, lower => 1.2, upper => 1.8);
CREATE TABLE sheet WITH ('connector'='filesystem', 'path'='out.csv');
CREATE PIPELINE no_aggregates AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3, aggregate => ['median', 'sum:0', 'max:4', 'min', 'min'], output => 'paths');
CREATE PIPELINE no_texts AS INSERT INTO f SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3, aggregate => 24, output => [1]);
CREATE PIPELINE no_room AS INSERT INTO sheet SELECT * FROM forecast(TABLE v, series => ['site', 'phase', 'kw_class'], time => 't', target => 'kw', horizon => 3, aggregate => 'sum', output => 'samples');
