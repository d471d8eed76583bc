//! `forecast`: the series of a file, without Kafka.

mod script;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tidecast_engine::{
    ConnectError, Connection, Connectors, Engine, EngineConfig, SqlConnectors, Status,
};
use tidecast_sql::{PipelinePlan, parse_scripts};
use tidecast_stream::memory::MemorySink;
use tidecast_stream::{ForecastMessage, ForecastStatus, Transaction};

use crate::arguments::{ForecastArguments, OutputFormat};
use crate::commands::{configuration, start_logging};
use crate::output;
use crate::plot::Histories;
use crate::print::note;

use crate::commands::series::table::{InputColumns, InputTable, infer_step};

/// Runs `tidecast forecast`.
///
/// # Errors
/// If the file or an argument is wrong, or the model cannot be loaded.
pub fn run(arguments: &ForecastArguments, log: Option<&str>) -> anyhow::Result<()> {
    let config = configuration(&arguments.config)?;
    // The result is on the terminal; only warnings belong beside it.
    start_logging(&config, Some(log.unwrap_or("warn")))?;
    let format = output_format(arguments)?;
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
    })?;
    let observed = table.observed(&arguments.input)?;
    let histories = observed.histories.values().flat_map(Histories::values);
    let times = histories.map(|history| history.iter().map(|(time, _)| *time));
    let step = match arguments.step {
        Some(step) => step,
        None => infer_step(times).with_context(|| {
            format!(
                "the step cannot be found: no series of `{}` has rows at two times; give --step",
                arguments.input.display()
            )
        })?,
    };
    note(format_args!(
        "{} series, {} rows, step {}",
        observed.series.len(),
        observed.rows,
        humantime::format_duration(step)
    ));

    let text = script::script(arguments, &table.schema, step, format_name(&table));
    tracing::debug!(sql = %text, "the flags as SQL");
    let plans = parse_scripts(&[("the arguments of `tidecast forecast`".to_owned(), text)])
        .map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let transactions = forecast(plans, config.engine())?;
    let messages = messages_of(transactions);

    output::write(&messages, format, arguments.output.as_deref())?;
    if let Some(plot) = &arguments.plot {
        crate::plot::draw_forecasts(&messages, &observed.histories, arguments.plot_series, plot)?;
        note(format_args!("drawn to {}", plot.display()));
    }
    Ok(())
}

/// Runs the pipeline to the end of its file.
fn forecast(plans: Vec<PipelinePlan>, config: EngineConfig) -> anyhow::Result<Vec<Transaction>> {
    let sink = MemorySink::default();
    let connectors = Arc::new(IntoMemory(sink.clone()));
    let progress = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?)
        .with_message("forecasting");
    progress.enable_steady_tick(Duration::from_millis(100));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let endings = runtime.block_on(async {
        // A second attempt at a file meets what the first one met.
        let mut config = config;
        config.restart.max_restarts = 0;
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

/// The SQL's source, and memory instead of its sink.
struct IntoMemory(MemorySink);

impl Connectors for IntoMemory {
    fn connect(
        &self,
        plan: &PipelinePlan,
        config: &EngineConfig,
    ) -> Result<Connection, ConnectError> {
        let Connection { source, .. } = SqlConnectors.connect(plan, config)?;
        Ok(Connection { source, sink: Box::new(self.0.clone()) })
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
        let count = bad.len();
        let rows = if count == 1 { "row" } else { "rows" };
        note(format_args!(
            "warning: {count} {rows} could not be used; the first at {}: {}",
            first.position, first.error
        ));
    }
    for message in messages.iter().filter(|message| message.status != ForecastStatus::Ok) {
        note(format_args!(
            "warning: no forecast for {}: {}",
            message.series,
            message.reason.as_deref().unwrap_or("no reason given")
        ));
    }
    messages.sort_by_cached_key(|message| message.series.to_string());
    messages
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

fn format_name(table: &InputTable) -> &'static str {
    match table.format {
        tidecast_files::FileFormat::Csv => "csv",
        tidecast_files::FileFormat::JsonLines => "json",
        tidecast_files::FileFormat::Parquet => "parquet",
    }
}
