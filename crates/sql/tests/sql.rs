//! Scripts and what becomes of them, right and wrong.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;
use tidecast_sql::{
    Delivery, FileFormat, PipelinePlan, SinkConnector, SourceConnector, SqlErrors, explain,
    parse_scripts,
};

use self::models::MODELS;

#[path = "support/models.rs"]
mod models;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn plan(name: &str, text: &str) -> Result<Vec<PipelinePlan>, SqlErrors> {
    parse_scripts(&[(name.to_owned(), text.to_owned())], &MODELS)
}

/// Every script in `tests/cases`: the plans explained, or the errors, must be
/// what the `.expected` file beside it says. `TIDECAST_BLESS=1` writes these
/// files; read the difference before committing it.
#[test]
fn cases_come_out_as_expected() {
    let bless = std::env::var_os("TIDECAST_BLESS").is_some();
    let mut scripts: Vec<_> = fs::read_dir(here("tests/cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    scripts.sort();
    assert!(scripts.len() > 10, "the cases are missing");
    let mut wrong = Vec::new();
    for path in scripts {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let outcome = plan(&name, &text);
        assert_eq!(outcome.is_ok(), name.starts_with("good_"), "{name}: {outcome:#?}");
        let found = match outcome {
            Ok(plans) => plans.iter().map(explain).collect::<Vec<_>>().join("\n"),
            Err(errors) => format!("{errors}\n"),
        };
        let expected_path = path.with_extension("expected");
        if bless {
            fs::write(&expected_path, &found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{name}: expected\n{expected}\nfound\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `.jsonl.gz` was refused here and read by the connector.
#[test]
fn a_path_tells_the_format_that_the_connector_reads() {
    for (path, format) in [
        ("load.jsonl.gz", FileFormat::JsonLines),
        ("load.tsv", FileFormat::Csv),
        ("load.pq", FileFormat::Parquet),
    ] {
        let script = fs::read_to_string(here("tests/cases/good_covariates.sql")).unwrap();
        assert!(script.contains("'path'='history.csv'"), "the case reads another file");
        let plans = plan("a.sql", &script.replace("history.csv", path)).unwrap();
        let formats: Vec<_> = plans
            .iter()
            .filter_map(|plan| match &plan.source.connector {
                SourceConnector::Filesystem(source) => Some(source.format),
                SourceConnector::Kafka(_) => None,
            })
            .collect();
        assert_eq!(formats, [format], "{path}");
    }
}

#[test]
fn the_demo_is_accepted_and_says_what_the_demo_needs() {
    let path = here("../../pipelines/demo.sql");
    let plans = plan("pipelines/demo.sql", &fs::read_to_string(path).unwrap()).unwrap();
    let [plan] = plans.as_slice() else { panic!("one pipeline, found {plans:?}") };
    let SourceConnector::Kafka(source) = &plan.source.connector else { panic!("not from kafka") };
    assert_eq!(source.topic, "grid_demand");
    assert!(source.late_topic.is_some() && source.bad_topic.is_some());
    let SinkConnector::Kafka(sink) = &plan.sink.connector else { panic!("not to kafka") };
    assert_eq!(sink.topic, "grid_demand_forecasts");
    assert_eq!(sink.delivery, Delivery::AtLeastOnce);
    assert_eq!(plan.forecast.series, ["region"]);
    assert_eq!(plan.forecast.step.fixed_micros(), Some(3_600_000_000));
    assert_eq!(
        (plan.forecast.horizon, plan.forecast.context, plan.forecast.samples),
        (24, 512, None)
    );
    assert_eq!(plan.forecast.quantiles, [0.1, 0.5, 0.9]);
    assert_eq!(plan.model.options.text("path"), Some("builtin:tiny"));
}

const TABLES: &str = "
    CREATE TABLE readings (site VARCHAR, kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts)
      WITH ('connector'='kafka', 'topic'='readings');
    CREATE TABLE forecasts WITH ('connector'='stdout');";

const PIPELINE: &str = "
    CREATE VIEW load AS SELECT site, window_end AS t, avg(kw) AS kw
      FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY site, window_end;
    CREATE PIPELINE p AS INSERT INTO forecasts
      SELECT * FROM forecast(TABLE load, series => 'site', time => 't', target => 'kw', horizon => 2);";

#[test]
fn several_files_are_one_script_in_any_order() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let orders = [
        vec![file("tables.sql", TABLES), file("pipeline.sql", PIPELINE)],
        vec![file("pipeline.sql", PIPELINE), file("tables.sql", TABLES)],
    ];
    for files in orders {
        assert_eq!(parse_scripts(&files, &MODELS).unwrap().len(), 1);
    }
}

#[test]
fn a_secret_shows_neither_in_a_plan_nor_in_its_explanation() {
    let script = format!(
        "{TABLES}{PIPELINE} CREATE MODEL tiny WITH ('provider'='moirai-moe',
           'path'='hf://owner/name', 'token'='hf_1234');"
    );
    let plan = plan("a.sql", &script).unwrap().remove(0);
    assert_eq!(plan.model.options.secret("token").unwrap().reveal(), "hf_1234");
    for shown in [format!("{plan:?}"), explain(&plan)] {
        assert!(shown.contains("hf://owner/name") && !shown.contains("hf_1234"), "{shown}");
    }
}

/// What a sink with columns lays out its table by. A key is JSON: what has no form there
/// is text.
#[test]
fn a_plan_says_what_its_forecasts_look_like() {
    let text = "
        CREATE TABLE readings (site VARCHAR, meter BIGINT, part TINYINT, big BIGINT UNSIGNED,
          height DOUBLE, \"on\" BOOLEAN, price DECIMAL(20, 2), since DATE, kw DOUBLE,
          kvar DOUBLE, ts TIMESTAMP, WATERMARK FOR ts)
          WITH ('connector'='kafka', 'topic'='readings');
        CREATE TABLE forecasts WITH ('connector'='stdout');
        CREATE VIEW load AS SELECT meter, site, part, big, height, \"on\", price, since,
            window_end AS t, avg(kw) AS kw, avg(kvar) AS kvar
          FROM TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
          GROUP BY site, meter, part, big, height, \"on\", price, since, window_end;
        CREATE PIPELINE p AS INSERT INTO forecasts SELECT * FROM forecast(TABLE load,
          series => ['site', 'meter', 'part', 'big', 'height', 'on', 'price', 'since'],
          time => 't', target => ['kw', 'kvar'], horizon => 3, quantiles => [0.1, 0.75]);";
    let plans = plan("types.sql", text).unwrap();
    let [plan] = plans.as_slice() else { panic!("one pipeline, found {plans:?}") };
    let found = plan.forecast_schema();
    let columns: Vec<(&str, &DataType)> =
        found.series.iter().map(|(name, data_type)| (name.as_str(), data_type)).collect();
    assert_eq!(
        columns,
        [
            ("site", &DataType::Utf8),
            ("meter", &DataType::Int64),
            ("part", &DataType::Int64),
            ("big", &DataType::UInt64),
            ("height", &DataType::Float64),
            ("on", &DataType::Boolean),
            ("price", &DataType::Utf8),
            ("since", &DataType::Utf8),
        ]
    );
    assert_eq!(found.targets, ["kw", "kvar"]);
    assert_eq!((found.levels, found.horizon), (vec![0.1, 0.75], 3));
}

#[test]
fn an_error_names_the_file_it_is_in() {
    let files = [
        ("tables.sql".to_owned(), TABLES.replace("site VARCHAR", "place VARCHAR")),
        ("pipeline.sql".to_owned(), PIPELINE.to_owned()),
    ];
    let errors = parse_scripts(&files, &MODELS).unwrap_err().errors;
    let places: Vec<_> =
        errors.iter().map(|error| (error.file.as_str(), error.line, error.column)).collect();
    // Where the view mentions it: its own clause is not told apart.
    assert_eq!(places, [("pipeline.sql", 2, 32)], "{errors:#?}");
}

#[test]
fn a_statement_that_does_not_parse_hides_no_other_error_and_causes_none() {
    let script =
        format!("{TABLES}{PIPELINE}").replace("CREATE TABLE readings", "CREATE TABEL readings");
    let errors = plan("a.sql", &script).unwrap_err().errors;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let script = script.replace("'connector'='stdout'", "'connector'='stdin'");
    let errors = plan("a.sql", &script).unwrap_err().errors;
    assert_eq!(errors.len(), 2, "{errors:#?}");
}

#[test]
fn text_is_utf8_because_the_json_decoder_fills_nothing_else() {
    let plans = plan("a.sql", &format!("{TABLES}{PIPELINE}")).unwrap();
    let utf8 = arrow::datatypes::DataType::Utf8;
    assert_eq!(plans[0].source.schema.field(0).data_type(), &utf8);
    assert_eq!(plans[0].window.output_schema().field(0).data_type(), &utf8);
}

#[test]
fn what_could_exhaust_the_stack_or_the_numbers_is_refused() {
    let deep =
        format!("CREATE VIEW v AS SELECT {}1{} FROM t;", "(".repeat(5_000), ")".repeat(5_000));
    let tables = format!("CREATE VIEW v AS SELECT {} t FROM t;", "TABLE ".repeat(50_000));
    let huge = PIPELINE.replace("INTERVAL '1' MINUTE", "INTERVAL '999999999999999999999' DAY");
    let long = PIPELINE.replace("horizon => 2", "horizon => 99999999999999999999999");
    let byte_order_mark = format!("\u{feff}{PIPELINE}");
    for script in
        [deep, tables, format!("{TABLES}{huge}"), format!("{TABLES}{long}"), byte_order_mark]
    {
        let errors = plan("a.sql", &script).unwrap_err();
        assert!(!errors.errors.is_empty());
    }
    assert!(plan("a.sql", &format!("\u{feff}{TABLES}{PIPELINE}")).is_ok());
}

mod any_text {
    use proptest::prelude::*;

    use super::{PIPELINE, TABLES, plan};

    const WORDS: &[&str] = &[
        "",
        "(",
        ")",
        ",",
        ";",
        "'",
        "*",
        "1",
        "-1",
        "1e400",
        "NULL",
        "''",
        "'kw'",
        "[0.5]",
        "=>",
        "=",
        "INTERVAL '0' SECOND",
        "INTERVAL '-1' DAY",
        "SELECT",
        "TABLE",
        "AS",
        "FROM",
        "GROUP BY",
        "WITH",
        "WATERMARK FOR",
        "site",
        "kw",
        "ts",
        "t",
        "load",
        "readings",
        "\"x\"",
        "a.b.c",
        "avg(kw)",
        "count(DISTINCT kw)",
        "sum(avg(kw))",
        "kw / 0",
        "CAST(kw AS INT)",
        "now()",
        "TUMBLE",
        "forecast",
        "DESCRIPTOR(ts)",
        "(SELECT 1)",
        "CASE WHEN kw > 1 THEN 'a' END",
        "ORDER BY",
        "LIMIT 1",
        "VALUES",
        "ARRAY[1]",
        "{'a': 1}",
        "kw::VARCHAR",
        "x -> x",
        "$1",
        "@v",
        "UNNEST([1])",
    ];

    fn check(script: &str) -> Result<(), TestCaseError> {
        if let Err(errors) = plan("a.sql", script) {
            prop_assert!(!errors.errors.is_empty());
            for error in errors.errors {
                prop_assert!(!error.message.is_empty());
                prop_assert!(error.line <= script.lines().count().max(1), "{}", error);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever is cut out of a script, it is planned or refused, and every
        /// error lies inside the text.
        #[test]
        fn a_script_with_a_hole_is_no_panic(from in 0_usize..700, length in 1_usize..40) {
            let script = format!("{TABLES}{PIPELINE}");
            let end = (from + length).min(script.len());
            let from = from.min(end);
            check(&format!("{}{}", &script[..from], &script[end..]))?;
        }

        /// The same with words put in the place of others.
        #[test]
        fn a_script_with_other_words_is_no_panic(
            changes in proptest::collection::vec((0_usize..200, proptest::sample::select(WORDS)), 1..4)
        ) {
            let script = format!("{TABLES}{PIPELINE}");
            let mut words: Vec<&str> = script.split(' ').filter(|word| !word.is_empty()).collect();
            for (at, word) in changes {
                let at = at % words.len();
                words[at] = word;
            }
            check(&words.join(" "))?;
        }
    }
}
