//! `demo`: a broker, a stream and its forecasts in one process.

mod replay;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ratatui::crossterm::event::KeyCode;
use tidecast_engine::{Engine, MODELS, SqlConnectors, StatePlace, Status};
use tidecast_formats::json::decode_forecast;
use tidecast_kafka::tools::{Isolation, MockBroker, Producer, ReadFrom, TopicReader};
use tidecast_sql::{PipelinePlan, SinkConnector, SourceConnector, parse_scripts};
use tidecast_stream::ForecastMessage;

use crate::arguments::DemoArguments;
use crate::commands::start_logging;
use crate::config::Config;
use crate::demo::{DemoRecord, DemoState, draw, plain_block, records, summary_json, summary_table};
use crate::print::{line, note};
use crate::screen::{TerminalView, is_quit};
use crate::shutdown;

use self::replay::{Progress, Replay};

/// The pipeline that is shipped.
const PIPELINE: &str = include_str!("../../../../pipelines/demo.sql");
const PIPELINE_NAME: &str = "pipelines/demo.sql";
/// Hours sent at once, so that the first forecasts have a context.
const HOURS_AT_ONCE: usize = 14 * 24;
const PARTITIONS: i32 = 3;
const DAY: i64 = 24;
const HOUR_MICROS: i64 = 3_600_000_000;
/// How often `--plain` prints.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);
/// How often the screen is drawn, and the stop looked at.
const FRAME: Duration = Duration::from_millis(100);
/// After the data have ended: silence that means that all forecasts are in.
const QUIET: Duration = Duration::from_secs(2);

/// What happens while the demo runs.
#[derive(Debug)]
enum Event {
    Sent(DemoRecord),
    Forecast(Box<ForecastMessage>),
    /// All records are sent.
    SentAll,
    Failed(anyhow::Error),
}

/// Runs `tidecast demo`.
///
/// # Errors
/// If the pipeline is wrong or fails.
pub fn run(arguments: &DemoArguments, log: Option<&str>) -> anyhow::Result<()> {
    if !(arguments.speed > 0.0 && arguments.speed.is_finite()) {
        bail!("--speed is `{}`; expected hours per second above 0", arguments.speed);
    }
    let config = Config::load(None, std::env::vars_os(), &[])?;
    start_logging(&config, Some(log.unwrap_or("warn")))?;
    let plan = load_plan(arguments)?;
    let topics = Topics::of(&plan)?;

    let broker = MockBroker::start(&topics.to_create())?;
    let bootstrap = broker.bootstrap().to_owned();
    let mut engine_config = config.engine();
    engine_config.kafka.bootstrap_servers.clone_from(&bootstrap);
    engine_config.state.url = StatePlace::Nowhere; // its broker forgets everything, too

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let stop = Arc::new(AtomicBool::new(false));
    runtime.spawn({
        let stop = Arc::clone(&stop);
        async move {
            shutdown::requested().await;
            stop.store(true, Ordering::Relaxed);
        }
    });

    let (events, inbox) = sync_channel(10_000);
    let progress = Arc::new(Progress::default());
    let reader = TopicReader::open(
        &bootstrap,
        &topics.forecasts,
        ReadFrom::Beginning,
        Isolation::ReadUncommitted,
    )?;
    let reading = spawn_reader(reader, events.clone(), Arc::clone(&stop), Arc::clone(&progress))?;
    let replay = Replay {
        records: records()?,
        producer: Producer::connect(&bootstrap)?,
        topic: topics.source.clone(),
        at_once: HOURS_AT_ONCE,
        hours_per_second: arguments.speed,
        stop: Arc::clone(&stop),
        progress,
    };
    let sending = replay.spawn(events)?;

    let engine = {
        let _runtime = runtime.enter();
        Engine::start(vec![plan], engine_config, Arc::new(SqlConnectors::default()))
    };
    let subscribe = format!("kcat -C -b {bootstrap} -t {}", topics.forecasts);
    let mut show = Show::open(arguments, subscribe)?;
    let outcome = show.run(&inbox, &engine, &stop, arguments.duration);

    stop.store(true, Ordering::Relaxed);
    let endings = runtime.block_on(engine.shutdown());
    // What was under way has been published by now; it counts.
    while let Ok(event) = inbox.recv_timeout(FRAME) {
        show.take(event)?;
    }
    for thread in [sending, reading] {
        if thread.join().is_err() {
            bail!("a thread of the demo panicked; please report it");
        }
    }
    let state = show.close();
    outcome?;
    for (pipeline, status) in endings {
        if let Status::Failed { reason } = status {
            bail!("pipeline `{pipeline}` failed: {reason}");
        }
    }
    line(format_args!("{}", summary_table(&state)));
    if arguments.json {
        line(format_args!("{}", summary_json(&state)));
    }
    Ok(())
}

fn load_plan(arguments: &DemoArguments) -> anyhow::Result<PipelinePlan> {
    let (name, text) = match &arguments.pipeline {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            (path.display().to_string(), text)
        }
        None => (PIPELINE_NAME.to_owned(), PIPELINE.to_owned()),
    };
    let mut plans = parse_scripts(&[(name.clone(), text)], &MODELS)
        .map_err(|errors| anyhow::anyhow!("{errors}"))?;
    match (plans.pop(), plans.is_empty()) {
        (Some(plan), true) => Ok(plan),
        _ => bail!("`{name}` has several pipelines; the demo runs one"),
    }
}

/// The topics a pipeline needs.
struct Topics {
    source: String,
    forecasts: String,
    others: Vec<String>,
}

impl Topics {
    fn of(plan: &PipelinePlan) -> anyhow::Result<Self> {
        let (SourceConnector::Kafka(source), SinkConnector::Kafka(sink)) =
            (&plan.source.connector, &plan.sink.connector)
        else {
            bail!("pipeline `{}` does not go from Kafka to Kafka; the demo needs that", plan.name);
        };
        Ok(Self {
            source: source.topic.clone(),
            forecasts: sink.topic.clone(),
            others: [&source.late_topic, &source.bad_topic]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
        })
    }

    fn to_create(&self) -> Vec<(&str, i32)> {
        let mut topics = vec![(self.source.as_str(), PARTITIONS), (&self.forecasts, PARTITIONS)];
        topics.extend(self.others.iter().map(|topic| (topic.as_str(), 1)));
        topics
    }
}

/// Reads the forecast topic as any subscriber would.
fn spawn_reader(
    mut reader: TopicReader,
    events: SyncSender<Event>,
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
) -> anyhow::Result<thread::JoinHandle<()>> {
    let read = move || {
        // One more look after the stop: the last forecasts come then.
        let mut last_look = false;
        loop {
            match reader.next(FRAME) {
                Ok(Some(record)) => {
                    let payload = record.payload.unwrap_or_default();
                    let event = match decode_forecast(&payload) {
                        Ok(message) => {
                            progress.forecast(message.origin);
                            Event::Forecast(Box::new(message))
                        }
                        Err(error) => Event::Failed(
                            anyhow::Error::new(error).context("a forecast cannot be read"),
                        ),
                    };
                    if events.send(event).is_err() {
                        return;
                    }
                }
                Ok(None) if last_look => return,
                Ok(None) => last_look = stop.load(Ordering::Relaxed),
                Err(error) => {
                    // Whoever shows it may have ended already.
                    let _unread = events.send(Event::Failed(error.into()));
                    return;
                }
            }
        }
    };
    thread::Builder::new()
        .name("demo-reader".to_owned())
        .spawn(read)
        .context("cannot start a thread")
}

/// What the user sees.
struct Show {
    state: DemoState,
    started: Instant,
    view: View,
    sent_all: bool,
    last_event: Instant,
}

enum View {
    Charts(TerminalView),
    Plain { next: Instant },
}

impl Show {
    fn open(arguments: &DemoArguments, subscribe: String) -> anyhow::Result<Self> {
        let plain = arguments.plain || arguments.json || !std::io::stdout().is_terminal();
        let mut series: Vec<String> = records()?.into_iter().map(|record| record.series).collect();
        series.sort();
        series.dedup();
        let state =
            DemoState::new(series.iter().map(String::as_str), HOUR_MICROS, DAY, subscribe.clone());
        let now = Instant::now();
        let view = if plain {
            note(format_args!("subscribe with an ordinary client: {subscribe}"));
            View::Plain { next: now + PLAIN_INTERVAL }
        } else {
            View::Charts(TerminalView::open().context("cannot draw; try --plain")?)
        };
        Ok(Self { state, started: now, view, sent_all: false, last_event: now })
    }

    /// Shows events until the time is over, the data are, or the user stops it.
    fn run(
        &mut self,
        inbox: &Receiver<Event>,
        engine: &Engine,
        stop: &AtomicBool,
        duration: Option<Duration>,
    ) -> anyhow::Result<()> {
        loop {
            let elapsed = self.started.elapsed();
            let over = duration.is_some_and(|duration| elapsed >= duration);
            let quiet = self.sent_all && self.last_event.elapsed() >= QUIET;
            if over || quiet || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            for (pipeline, status) in engine.status() {
                if let Status::Failed { reason } = status {
                    bail!("pipeline `{pipeline}` failed: {reason}");
                }
            }
            let frame_end = Instant::now() + FRAME;
            loop {
                match inbox.recv_timeout(frame_end.saturating_duration_since(Instant::now())) {
                    Ok(event) => self.take(event)?,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                if Instant::now() >= frame_end {
                    break;
                }
            }
            if self.draw()? {
                return Ok(());
            }
        }
    }

    fn take(&mut self, event: Event) -> anyhow::Result<()> {
        self.last_event = Instant::now();
        match event {
            Event::Sent(record) => self.state.record(&record),
            Event::Forecast(message) => self.state.forecast(&message),
            Event::SentAll => self.sent_all = true,
            Event::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Draws; returns whether the user wants to quit.
    fn draw(&mut self) -> anyhow::Result<bool> {
        self.state.elapsed = self.started.elapsed();
        match &mut self.view {
            View::Charts(view) => {
                view.draw(|frame| draw(frame, &self.state)).context("cannot draw")?;
                let keys = view.keys().context("cannot read the keyboard")?;
                Ok(keys.iter().any(|key| is_quit(key) || key.code == KeyCode::Esc))
            }
            View::Plain { next } => {
                if Instant::now() >= *next {
                    *next += PLAIN_INTERVAL;
                    line(format_args!("{}", plain_block(&self.state)));
                }
                Ok(false)
            }
        }
    }

    /// Gives the terminal back.
    fn close(mut self) -> DemoState {
        self.state.elapsed = self.started.elapsed();
        self.state
    }
}
