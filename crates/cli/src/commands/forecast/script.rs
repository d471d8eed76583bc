//! The SQL that the flags of `tidecast forecast` stand for.
//!
//! Going through SQL keeps one way of saying what a pipeline is: what a flag
//! cannot express, a file run with `tidecast run` can. Columns of the file have names of
//! ours in the source table, so that no name of theirs can be one of SQL's.

use std::fmt::Write;

use tidecast_stream::grid::Tz;
use tidecast_stream::{DomainRule, MonthDay, Period, TimeGrid};

use super::source::{TIME, series_name, value_name};
use crate::arguments::ForecastArguments;
use crate::commands::series::Fill;

const DAY_MICROS: i64 = 86_400_000_000;

/// Name of the pipeline, whatever the file and its steps: the sample paths of a series
/// follow from it.
const PIPELINE: &str = "forecast";

/// Returns the pipeline for these arguments over the source table `table`, in windows
/// that are the cells of `steps`.
pub(super) fn script(arguments: &ForecastArguments, table: &str, steps: &TimeGrid) -> String {
    let targets = &arguments.target;
    let (past, future) = (&arguments.past_covariates, &arguments.future_covariates);
    let values = targets.len() + past.len() + future.len();
    let series = &arguments.series;
    let mut columns = vec![format!("{TIME} TIMESTAMP NOT NULL")];
    columns.extend((0..values).map(|index| format!("{} DOUBLE", value_name(index))));
    columns.extend((0..series.len()).map(|index| format!("{} VARCHAR", series_name(index))));

    let names = targets.iter().chain(past).chain(future);
    let aggregated = names.enumerate().map(|(index, name)| {
        let aggregate = if index < targets.len() { arguments.aggregate.as_str() } else { "avg" };
        format!("{aggregate}({}) AS {}", value_name(index), identifier(name))
    });
    let keys = series.iter().enumerate();
    let keys = keys.map(|(index, name)| format!("{} AS {}", series_name(index), identifier(name)));
    let time = format!("window_start AS {}", identifier(&arguments.time));
    let selected: Vec<String> = keys.chain([time]).chain(aggregated).collect();
    let grouped: String = (0..series.len()).fold(String::new(), |mut text, index| {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "{}, ", series_name(index));
        text
    });
    let covariates: String = [("past_covariates", past), ("future_covariates", future)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(role, names)| format!(" {role} => {},", literals(names)))
        .collect();
    let fill = match arguments.fill {
        None => "",
        Some(Fill::Null) => " fill => 'null',",
        Some(Fill::Zero) => " fill => 'zero',",
    };
    format!(
        "CREATE TABLE {table} ({columns}, WATERMARK FOR {TIME} AS {TIME})\n\
         WITH ('connector'='filesystem', 'path'={input}, 'format'='csv');\n\
         {model};\n\
         CREATE TABLE forecasts WITH ('connector'='stdout');\n\
         CREATE VIEW steps AS SELECT {selected}\n\
         FROM TUMBLE(TABLE {table}, DESCRIPTOR({TIME}), {windows})\n\
         GROUP BY {grouped}window_start, window_end;\n\
         CREATE PIPELINE {PIPELINE} AS INSERT INTO forecasts SELECT * FROM forecast(TABLE steps,\n  \
           model => 'model', series => {names}, time => {time_name}, target => {targets},{covariates}{fill}{domain}\n  \
           horizon => {horizon}, context => {context}, {samples}{joint}min_context => 1,\n  \
           quantiles => [{quantiles}], refresh => 'at_end');\n",
        columns = columns.join(", "),
        input = literal(&arguments.input.display().to_string()),
        model = model(arguments),
        selected = selected.join(", "),
        windows = windows(steps),
        names = literals(series),
        time_name = literal(&arguments.time),
        targets = literals(targets),
        horizon = arguments.horizon,
        context = arguments.context,
        domain = domain(arguments),
        joint = joint(arguments),
        samples =
            arguments.samples.map(|count| format!("samples => {count}, ")).unwrap_or_default(),
        quantiles = levels(&arguments.quantiles).join(", "),
    )
}

/// What is told of several steps together.
fn joint(arguments: &ForecastArguments) -> String {
    let names: Vec<String> = arguments.horizon_aggregates.iter().map(ToString::to_string).collect();
    let aggregates = (!names.is_empty()).then(|| format!("aggregate => {}, ", literals(&names)));
    let samples = arguments.with_samples.then_some("output => 'samples', ");
    format!("{}{}", aggregates.unwrap_or_default(), samples.unwrap_or_default())
}

fn domain(arguments: &ForecastArguments) -> String {
    let DomainRule { lower, upper, integer, non_negative } = arguments.domain.rule();
    let said = [
        non_negative.map(|said| format!(" non_negative => {said},")),
        integer.map(|said| format!(" integer => {said},")),
        lower.map(|bound| format!(" lower => {bound:?},")),
        upper.map(|bound| format!(" upper => {bound:?},")),
    ];
    said.into_iter().flatten().collect()
}

fn model(arguments: &ForecastArguments) -> String {
    let (provider, path) = match arguments.model.as_str() {
        "seasonal-naive" => ("seasonal-naive", String::new()),
        path => ("moirai-moe", format!(", 'path'={}", literal(path))),
    };
    let licence = arguments.accept_license.as_ref();
    let licence = licence.map(|name| format!(", 'license.accept'={}", literal(name)));
    let season = arguments.season.map(|season| format!(", 'season'='{season}'"));
    format!(
        "CREATE MODEL model WITH ('provider'='{provider}', 'device'={}{path}{}{})",
        literal(&arguments.device),
        licence.unwrap_or_default(),
        season.unwrap_or_default()
    )
}

/// Returns what TUMBLE is told of its windows: size, offset, time zone and calendar.
fn windows(steps: &TimeGrid) -> String {
    let size = match steps.period() {
        Period::Fixed(micros) => format!("{micros} us"),
        Period::Days(days) => format!("{days} days"),
        Period::BusinessDays => "1 day".to_owned(),
        Period::Months(months) => format!("{months} months"),
    };
    let mut text = format!("INTERVAL '{size}'");
    // Writing to a string cannot fail.
    let mut say = |name: &str, value: &str| {
        let _infallible = write!(text, ", {name} => {value}");
    };
    let (months, days) = match (steps.period(), steps.month_anchor()) {
        (Period::Months(_), (phase, MonthDay::FromFirst(day))) => (phase, i64::from(day) - 1),
        (Period::Months(_), (phase, MonthDay::FromLast(before))) => (phase, -1 - i64::from(before)),
        _ => (0, 0),
    };
    let micros = days * DAY_MICROS + steps.offset_micros();
    if months > 0 || micros != 0 {
        say("offset", &format!("INTERVAL '{months} months {micros} us'"));
    }
    if steps.zone() != Tz::UTC {
        say("timezone", &literal(steps.zone().name()));
    }
    if steps.period() == Period::BusinessDays {
        say("calendar", "'business'");
    }
    text
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
