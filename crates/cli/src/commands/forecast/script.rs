//! The SQL that the flags of `tidecast forecast` stand for.
//!
//! Going through SQL keeps one way of saying what a pipeline is: what a flag
//! cannot express, a file run with `tidecast run` can.

use std::fmt::Write;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};

use crate::arguments::ForecastArguments;

/// Returns the pipeline for these arguments.
pub(super) fn script(
    arguments: &ForecastArguments,
    schema: &Schema,
    step: Duration,
    format: &str,
) -> String {
    let time = identifier(&arguments.time);
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| {
            let null = if field.is_nullable() { "" } else { " NOT NULL" };
            format!("{} {}{null}", identifier(field.name()), sql_type(field.data_type()))
        })
        .collect();
    let series: Vec<String> = arguments.series.iter().map(|name| identifier(name)).collect();
    let leading: String = series.iter().fold(String::new(), |mut text, name| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{name}, ");
        text
    });
    let aggregated = |names: &[String], aggregate: &str| -> Vec<String> {
        let column = |name: &String| format!("{aggregate}({0}) AS {0}", identifier(name));
        names.iter().map(column).collect()
    };
    let mut values = aggregated(&arguments.target, &arguments.aggregate);
    values.extend(aggregated(&arguments.past_covariates, "avg"));
    values.extend(aggregated(&arguments.future_covariates, "avg"));
    let covariates: String = [
        ("past_covariates", &arguments.past_covariates),
        ("future_covariates", &arguments.future_covariates),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(role, names)| format!(" {role} => {},", literals(names)))
    .collect();
    let (provider, path) = match arguments.model.as_str() {
        "seasonal-naive" => ("seasonal-naive", String::new()),
        path => ("moirai-moe", format!(", 'path'={}", literal(path))),
    };
    let licence = arguments.accept_license.as_ref();
    let licence = licence.map(|name| format!(", 'license.accept'={}", literal(name)));
    let season = arguments.season.map(|season| format!(", 'season'='{season}'"));
    // A file may be sorted by series rather than by time, so no row of it is
    // late: every window stays open until its end.
    format!(
        "CREATE TABLE input ({columns}, WATERMARK FOR {time} AS {time} - INTERVAL '36500' DAY)\n\
         WITH ('connector'='filesystem', 'path'={input}, 'format'='{format}');\n\
         CREATE MODEL model WITH ('provider'='{provider}', 'device'={device}{path}{licence}{season});\n\
         CREATE TABLE forecasts WITH ('connector'='stdout');\n\
         CREATE VIEW steps AS SELECT {leading}window_start AS {time}, {values}\n\
         FROM TUMBLE(TABLE input, DESCRIPTOR({time}), INTERVAL '{seconds}' SECOND)\n\
         GROUP BY {leading}window_start, window_end;\n\
         CREATE PIPELINE forecast AS INSERT INTO forecasts SELECT * FROM forecast(TABLE steps,\n  \
           model => 'model', series => {names}, time => {time_name}, target => {targets},{covariates}\n  \
           horizon => {horizon}, context => {context}, samples => {samples}, min_context => 1,\n  \
           quantiles => [{quantiles}], refresh => 'at_end');\n",
        columns = columns.join(", "),
        input = literal(&arguments.input.display().to_string()),
        device = literal(&arguments.device),
        licence = licence.unwrap_or_default(),
        season = season.unwrap_or_default(),
        values = values.join(", "),
        seconds = step.as_secs_f64(),
        names = literals(&arguments.series),
        time_name = literal(&arguments.time),
        targets = literals(&arguments.target),
        horizon = arguments.horizon,
        context = arguments.context,
        samples = arguments.samples,
        quantiles = levels(&arguments.quantiles).join(", "),
    )
}

fn levels(quantiles: &[f64]) -> Vec<String> {
    quantiles.iter().map(f64::to_string).collect()
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn literals(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    format!("[{}]", names.join(", "))
}

fn sql_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Boolean => "BOOLEAN",
        data_type if data_type.is_integer() => "BIGINT",
        data_type if data_type.is_numeric() => "DOUBLE",
        _ => "VARCHAR",
    }
}
