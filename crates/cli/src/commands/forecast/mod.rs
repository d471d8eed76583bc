//! `forecast`: the series of a file, without Kafka.

mod groups;
mod script;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tidecast_engine::{ConnectError, Connection, Connectors, Engine, EngineConfig, MODELS, Status};
use tidecast_sql::{PipelinePlan, parse_scripts};
use tidecast_stream::memory::MemorySink;
use tidecast_stream::{
    Blame, ForecastMessage, ForecastStatus, SourceError, Transaction, printable,
};

use crate::arguments::{ForecastArguments, OutputFormat};
use crate::commands::series::plan::{SaidSteps, SeriesPlan};
use crate::commands::series::read_rows;
use crate::commands::series::rows::FileRows;
use crate::commands::series::said::{NAMED, share_left_out};
use crate::commands::series::table::{InputColumns, InputTable};
use crate::commands::{configuration, counted, start_logging};
use crate::output;
use crate::plot::Histories;
use crate::print::note;

use self::groups::{LeftOut, rows_of};
use self::script::script;
use self::source::{GroupRows, GroupSource};

/// Runs `tidecast forecast`.
///
/// # Errors
/// If the file or an argument is wrong, the model cannot be loaded, or no series has a
/// forecast.
pub fn run(arguments: &ForecastArguments, log: Option<&str>) -> anyhow::Result<()> {
    let config = configuration(&arguments.config)?;
    // The result is on the terminal; only warnings belong beside it.
    start_logging(&config, Some(log.unwrap_or("warn")))?;
    let format = output_format(arguments)?;
    if arguments.with_samples && format != OutputFormat::Jsonl {
        bail!("--with-samples: a table has no room for sample paths, expected --format jsonl");
    }
    if let Some(plot) = &arguments.plot {
        crate::plot::check_path(plot)?;
    }

    let table = InputTable::open(InputColumns {
        path: &arguments.input,
        time: &arguments.time,
        targets: &arguments.target,
        past_covariates: &arguments.past_covariates,
        future_covariates: &arguments.future_covariates,
        series: &arguments.series,
        timestamp_unit: arguments.timestamp_unit,
    })?;
    let said = SaidSteps { period: arguments.step, zone: arguments.time_zone };
    let path = &arguments.input;
    let (rows, plan) = read_rows(&table, path, said, &arguments.series, arguments.strict)?;
    let rows = Arc::new(rows);

    let mut left_out = LeftOut::default();
    let mut sources = BTreeMap::new();
    let mut plans = Vec::new();
    for (index, group) in plan.groups.iter().enumerate() {
        let name = format!("input{index}");
        let text = script(arguments, &name, &group.steps.grid);
        tracing::debug!(sql = %text, "the flags as SQL");
        let mut planned =
            parse_scripts(&[("the arguments of `tidecast forecast`".to_owned(), text)], &MODELS)
                .map_err(|errors| anyhow::anyhow!("{errors}"))?;
        // Of sums this command says itself what it finds.
        planned.iter_mut().for_each(|plan| plan.forecast.unfilled_sums.clear());
        plans.extend(planned);
        let of_group = rows_of(&rows, &plan, group, arguments, &mut left_out);
        sources.insert(name, Arc::new(of_group));
    }
    left_out.note(arguments);
    // The groups differ in their steps alone.
    let schema = plans.first().map(PipelinePlan::forecast_schema).unwrap_or_default();
    let transactions = forecast(plans, config.engine(), sources)?;
    let messages = messages_of(transactions);
    report(&messages, &rows, &arguments.series, &left_out);

    output::write(&schema, &messages, format, arguments.output.as_deref())?;
    if let Some(plot) = &arguments.plot
        && messages.iter().any(|message| message.status == ForecastStatus::Ok)
    {
        let histories = histories(&rows, &plan, &table, &arguments.series);
        crate::plot::draw_forecasts(&messages, &histories, arguments.plot_series, plot)?;
        note(format_args!("drawn to {}", plot.display()));
    }
    if let Some(text) = share_left_out(&rows) {
        note(format_args!("{text}"));
    }
    if !messages.iter().any(|message| message.status == ForecastStatus::Ok) {
        bail!("no series has a forecast");
    }
    Ok(())
}

/// Runs the pipelines to the end of their rows.
fn forecast(
    plans: Vec<PipelinePlan>,
    config: EngineConfig,
    sources: BTreeMap<String, Arc<GroupRows>>,
) -> anyhow::Result<Vec<Transaction>> {
    let sink = MemorySink::default();
    let connectors = Arc::new(InMemory { sources, sink: sink.clone() });
    let progress = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?)
        .with_message("forecasting");
    progress.enable_steady_tick(Duration::from_millis(100));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let endings = runtime.block_on(async {
        // A second attempt at a file meets what the first one met.
        let mut config = config;
        config.pipeline.restart_max = 0;
        let engine = Engine::start(plans, config, connectors);
        tokio::select! {
            _endings = engine.ended() => {}
            () = crate::shutdown::requested() => engine.kill(),
        }
        engine.shutdown().await
    });
    progress.finish_and_clear();
    for (_, status) in endings {
        if let Status::Failed { reason } = status {
            bail!("{reason}");
        }
    }
    Ok(sink.take())
}

/// Rows that were read already, by the source table's name, and memory as the sink.
struct InMemory {
    sources: BTreeMap<String, Arc<GroupRows>>,
    sink: MemorySink,
}

impl Connectors for InMemory {
    fn connect(
        &self,
        plan: &PipelinePlan,
        _config: &EngineConfig,
    ) -> Result<Connection, ConnectError> {
        let rows = self.sources.get(&plan.source.name).ok_or_else(|| SourceError {
            message: format!("no rows for `{}`", plan.source.name),
            blame: Blame::Internal,
            retriable: false,
        })?;
        let source = Box::new(GroupSource::new(Arc::clone(rows)));
        Ok(Connection { source, sink: Box::new(self.sink.clone()) })
    }
}

/// Gathers the messages; says on the side what could not be used.
fn messages_of(transactions: Vec<Transaction>) -> Vec<ForecastMessage> {
    let mut messages = Vec::new();
    let mut bad = Vec::new();
    for transaction in transactions {
        messages.extend(transaction.forecasts);
        bad.extend(transaction.bad);
    }
    if let Some(first) = bad.first() {
        note(format_args!(
            "warning: {} could not be used; the first: {}",
            counted(bad.len(), "row", "rows"),
            printable(&first.error)
        ));
    }
    messages.sort_by_cached_key(|message| message.series.to_string());
    messages
}

/// Says of each series without a forecast why it has none.
fn report(messages: &[ForecastMessage], rows: &FileRows, names: &[String], left_out: &LeftOut) {
    let mut without: Vec<(String, String)> = Vec::new();
    let mut told = BTreeSet::new();
    for message in messages {
        told.insert(message.series.to_string());
        if message.status != ForecastStatus::Ok {
            let reason = message.reason.clone().unwrap_or_else(|| "no reason given".to_owned());
            without.push((message.series.label(), reason));
        }
        for variate in &message.variates {
            if let Some(reason) = &variate.reason {
                note(format_args!(
                    "warning: no forecast of `{}`{}: {reason}",
                    printable(&variate.name),
                    match message.series.label() {
                        label if label.is_empty() => String::new(),
                        label => format!(" in series {label}"),
                    }
                ));
            }
        }
    }
    for series in 0..rows.keys.len() {
        let key = rows.key_of(series, names);
        if !told.contains(&key.to_string()) {
            let reason = match left_out.without_whole_step.contains(&series) {
                true => "the file has a part only of each of its steps; give a shorter --step",
                false => "no row of it has both a time and a value",
            };
            without.push((key.label(), reason.to_owned()));
        }
    }
    for (label, reason) in without.iter().take(NAMED) {
        let of = if label.is_empty() { String::new() } else { format!(" for {label}") };
        note(format_args!("warning: no forecast{of}: {reason}"));
    }
    if without.len() > NAMED {
        note(format_args!(
            "warning: {} of {} series have no forecast; the output has a line with the reason for \
             each",
            without.len(),
            rows.keys.len()
        ));
    }
}

/// Returns what is observed of each target of each series, for the picture.
fn histories(
    rows: &FileRows,
    plan: &SeriesPlan,
    table: &InputTable,
    names: &[String],
) -> BTreeMap<String, Histories> {
    let mut by_target = BTreeMap::<String, Histories>::new();
    for (target, values) in table.target_names().zip(&rows.values) {
        let histories = by_target.entry(target.clone()).or_default();
        for (series, own) in plan.rows.iter().enumerate() {
            let value = |row: &usize| {
                let value = values.get(*row).copied().filter(|value| !value.is_nan())?;
                Some((rows.time(*row), value))
            };
            let key = rows.key_of(series, names).to_string();
            histories.insert(key, own.iter().filter_map(value).collect());
        }
    }
    by_target
}

fn output_format(arguments: &ForecastArguments) -> anyhow::Result<OutputFormat> {
    let by_name = match arguments.output.as_ref().and_then(|path| path.extension()) {
        Some(extension) if arguments.format == OutputFormat::Table => {
            match extension.to_string_lossy().as_ref() {
                "csv" => OutputFormat::Csv,
                "jsonl" | "json" => OutputFormat::Jsonl,
                "parquet" => OutputFormat::Parquet,
                "txt" => OutputFormat::Table,
                other => bail!(
                    "--output ends in `.{other}`; expected .csv, .jsonl, .parquet or .txt, or give --format"
                ),
            }
        }
        _ => arguments.format,
    };
    if by_name == OutputFormat::Parquet && arguments.output.is_none() {
        bail!("Parquet is not for the terminal; give --output FILE");
    }
    Ok(by_name)
}
