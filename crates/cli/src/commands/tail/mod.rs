//! `tail`: a pipeline's forecasts as they come.

pub mod arguments;

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use ratatui::crossterm::event::KeyCode;
use tidecast_engine::sink_config;
use tidecast_kafka::tools::{Isolation, ReadFrom, TopicReader};
use tidecast_sql::PipelinePlan;
use tidecast_stream::{ForecastFormat, printable};

use self::arguments::{TailArguments, TailFrom};
use crate::commands::plan::load_plans;
use crate::commands::{configuration, counted, start_logging};
use crate::print::{line, note};
use crate::screen::{TerminalView, is_quit};
use crate::shutdown;
use crate::tail::{Counts, Reading, Received, SeriesFilter, Shown, TailState, draw, lines_of};

/// How often the screen is drawn, and keys and signals are looked at.
const FRAME: Duration = Duration::from_millis(50);
/// Messages of each partition that a screen begins with.
const NEWEST: i64 = 1_000;

/// Runs `tidecast tail`.
///
/// # Errors
/// If the pipeline is wrong or writes to no topic, or the topic cannot be read.
pub fn run(arguments: &TailArguments, log: Option<&str>) -> anyhow::Result<()> {
    let config = configuration(&arguments.config)?;
    let is_plain = arguments.plain || arguments.json || !std::io::stdout().is_terminal();
    // A line of the log in the middle of a chart helps nobody.
    start_logging(&config, Some(log.unwrap_or(if is_plain { "warn" } else { "error" })))?;
    let plan = choose(load_plans(std::slice::from_ref(&arguments.file))?, arguments)?;
    let Some(sink) = sink_config(&plan, &config.engine()) else {
        bail!(
            "pipeline `{}` does not write to a Kafka topic; `tidecast tail` follows one, expected a \
             sink table with 'connector'='kafka'",
            plan.name
        );
    };
    if sink.format != ForecastFormat::default() {
        bail!(
            "pipeline `{}` writes `{}` in the layout `{}`; `tidecast tail` reads nested JSON alone",
            plan.name,
            sink.format.encoding.name(),
            sink.format.layout.name()
        );
    }
    let columns: Vec<String> =
        plan.forecast_schema().series.into_iter().map(|(name, _)| name).collect();
    let reading = Reading {
        filter: SeriesFilter::new(&arguments.series, &columns)?,
        pipeline: plan.name.clone(),
    };
    let reader = TopicReader::open_with(
        &sink.bootstrap_servers,
        &sink.topic,
        beginning(arguments.from, is_plain),
        Isolation::ReadCommitted,
        &sink.properties,
    )?;
    if is_plain {
        let partitions = counted(reader.partitions(), "partition", "partitions");
        note(format_args!("following topic `{}`, {partitions}", sink.topic));
    }
    let tail = Tail { reader, reading, limit: arguments.limit.unwrap_or(u64::MAX) };
    let counts = match is_plain {
        true => tail.print(arguments.json)?,
        false => tail.show(format!("{} → {}", plan.name, sink.topic))?,
    };
    sum_up(&counts, &plan.name);
    Ok(())
}

/// Returns the pipeline that is meant.
fn choose(plans: Vec<PipelinePlan>, arguments: &TailArguments) -> anyhow::Result<PipelinePlan> {
    let file = Path::new(&arguments.file).display();
    let names = plans.iter().map(|plan| format!("`{}`", plan.name)).collect::<Vec<_>>().join(", ");
    let wanted = |plan: &PipelinePlan| {
        arguments.pipeline.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&plan.name))
    };
    let mut plans = plans.into_iter().filter(wanted);
    match (plans.next(), plans.next(), &arguments.pipeline) {
        (Some(plan), None, _) => Ok(plan),
        (Some(_), Some(_), _) => {
            bail!("`{file}` has the pipelines {names}; --pipeline says which to follow")
        }
        (None, _, name) => {
            let name = name.as_deref().unwrap_or_default();
            bail!("`{file}` has no pipeline `{name}`, expected {names}")
        }
    }
}

fn beginning(from: Option<TailFrom>, is_plain: bool) -> ReadFrom {
    match from {
        Some(TailFrom::Earliest) => ReadFrom::Beginning,
        Some(TailFrom::At(time)) => ReadFrom::Since(time.as_millis()),
        Some(TailFrom::Back(back)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let since = now.saturating_sub(back).as_millis();
            ReadFrom::Since(i64::try_from(since).unwrap_or(i64::MAX))
        }
        None if !is_plain => ReadFrom::Newest(NEWEST),
        Some(TailFrom::Latest) | None => ReadFrom::End,
    }
}

/// Says what was passed over.
fn sum_up(counts: &Counts, pipeline: &str) {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let told = number(counts.forecasts);
    note(format_args!("{} of `{pipeline}`", counted(told, "forecast", "forecasts")));
    if counts.of_others > 0 {
        let others: Vec<String> =
            counts.others.iter().map(|name| format!("`{}`", printable(name))).collect();
        let of_others = counted(number(counts.of_others), "forecast", "forecasts");
        note(format_args!("{of_others} of other pipelines passed over ({})", others.join(", ")));
    }
    if let Some(why) = &counts.why {
        let records = counted(number(counts.no_forecasts), "record", "records");
        note(format_args!(
            "{records} passed over that are no forecasts; the last: {}",
            printable(why)
        ));
    }
}

/// A forecast topic, being followed.
struct Tail {
    reader: TopicReader,
    reading: Reading,
    limit: u64,
}

impl Tail {
    /// Prints forecasts as they come, until there were enough or a signal comes.
    fn print(mut self, as_json: bool) -> anyhow::Result<Counts> {
        let (_runtime, stop) = stop_at_signals()?;
        let mut counts = Counts::default();
        while counts.forecasts < self.limit && !stop.load(Ordering::Relaxed) {
            let Some(record) = self.reader.next(FRAME)? else { continue };
            let received = self.reading.sort(record);
            let is_first = counts.take(&received);
            match received {
                Received::Forecast(_, json) if as_json => line(format_args!("{json}")),
                Received::Forecast(message, _) => {
                    lines_of(&message).iter().for_each(|text| line(format_args!("{text}")));
                }
                // Who waits for a forecast of a wrong topic would wait long.
                Received::NoForecast(why) if is_first => {
                    note(format_args!("passed over, as all like it: {}", printable(&why)));
                }
                _ => {}
            }
        }
        Ok(counts)
    }

    /// Shows charts until there were enough forecasts, a key or a signal ends it.
    fn show(mut self, place: String) -> anyhow::Result<Counts> {
        let (_runtime, stop) = stop_at_signals()?;
        let mut state = TailState::new(place);
        let mut view = TerminalView::open().context("cannot draw; try --plain")?;
        let mut shown = Shown { series: 1, columns: 1 };
        while state.counts.forecasts < self.limit && !stop.load(Ordering::Relaxed) {
            view.draw(|frame| shown = draw(frame, &state)).context("cannot draw")?;
            for key in view.keys().context("cannot read the keyboard")? {
                let leaves = key.code == KeyCode::Esc && !state.is_enlarged;
                if leaves || is_quit(&key) {
                    return Ok(state.counts);
                }
                state.press(&key, shown);
            }
            let frame_end = Instant::now() + FRAME;
            let mut left = FRAME;
            while !left.is_zero() && state.counts.forecasts < self.limit {
                if let Some(record) = self.reader.next(left)? {
                    state.take(&self.reading.sort(record));
                }
                left = frame_end.saturating_duration_since(Instant::now());
            }
        }
        Ok(state.counts)
    }
}

/// Returns what SIGTERM and Ctrl-C set, as long as the runtime lives that looks for them.
fn stop_at_signals() -> anyhow::Result<(tokio::runtime::Runtime, Arc<AtomicBool>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let stop = Arc::new(AtomicBool::new(false));
    runtime.spawn({
        let stop = Arc::clone(&stop);
        async move {
            shutdown::requested().await;
            stop.store(true, Ordering::Relaxed);
        }
    });
    Ok((runtime, stop))
}
