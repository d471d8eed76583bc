//! The forecaster: an actor that owns one model and serves all pipelines. On
//! several cards there is one for each, and series go where least waits.
//!
//! Requests of every partition and pipeline meet in one queue, from which the
//! model takes batches limited by tokens, count and waiting time. The answer
//! goes back by a one-shot channel, so a slow pipeline never holds up the model
//! for the others; the bounded mailbox in front is the backpressure. What nobody
//! waits for any more, its pipeline having ended or given up its partition, is not
//! computed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tidecast_actors::{Actor, ActorExit, Context, Failure, Host, Mailbox, Message, Scope};
use tidecast_forecast::{
    BatchLimits, BatchQueue, Counter, Forecast, ForecastTask, ModelInfo, NextBatch, Provider,
    TaskError,
};
use tokio::sync::oneshot;

use crate::config::ModelConfig;
use crate::due::{Answered, Due, DueHead, Outcome};
use crate::fault::{self, Fault, is_injected};
use crate::observe;

/// Series to forecast together with where the answers go.
#[derive(Debug)]
pub(crate) struct ForecastRequest {
    due: Vec<Due>,
    reply: oneshot::Sender<Vec<Answered>>,
    waiting: Waiting,
}

impl Message for ForecastRequest {
    fn bytes(&self) -> usize {
        self.due.iter().map(Message::bytes).sum()
    }
}

/// Series that a forecaster has not answered yet.
#[derive(Debug)]
struct Waiting {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Waiting {
    fn new(all: &Arc<AtomicUsize>, own: usize) -> Self {
        all.fetch_add(own, Ordering::Relaxed);
        Self { all: Arc::clone(all), own }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

/// A running model: its forecasters, one for each device. The model is let go when the
/// last clone is.
#[derive(Debug, Clone)]
pub(crate) struct ModelHandle(Arc<Lanes>);

/// The ways to a model.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) info: ModelInfo,
    /// What its forecasters run under.
    pub(crate) scope: Scope,
}

/// The way to one forecaster.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) mailbox: Mailbox<ForecastRequest>,
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl ModelHandle {
    pub(crate) fn new(lanes: Lanes) -> Self {
        Self(Arc::new(lanes))
    }

    pub(crate) fn from_shared(lanes: Arc<Lanes>) -> Self {
        Self(lanes)
    }

    pub(crate) fn shared(&self) -> &Arc<Lanes> {
        &self.0
    }

    /// Returns what is known of the model.
    pub(crate) fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// Returns what its forecasters run under.
    pub(crate) fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// Hands series over, all to the forecaster where least waits, waiting while its
    /// mailbox is full; the answers arrive at the receiver, in order. An error there
    /// means that the forecaster died.
    pub(crate) async fn submit(
        &self,
        due: Vec<Due>,
    ) -> Result<oneshot::Receiver<Vec<Answered>>, ActorExit> {
        let lanes = self.0.lanes.iter();
        let least = lanes.min_by_key(|lane| lane.waiting.load(Ordering::Relaxed));
        let lane = least.ok_or(ActorExit::DownstreamGone)?;
        let (reply, answers) = oneshot::channel();
        let waiting = Waiting::new(&lane.waiting, due.len());
        lane.mailbox.send(ForecastRequest { due, reply, waiting }).await?;
        Ok(answers)
    }

    /// Returns whether a forecaster has ended.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.lanes.iter().any(|lane| lane.mailbox.is_closed())
    }
}

/// The actor that owns the model.
pub(crate) struct Forecaster {
    model: String,
    device: String,
    provider: Host<Box<dyn Provider>>,
    queue: BatchQueue<Queued>,
    /// Requests of which some series are not answered yet, by number.
    open: HashMap<u64, OpenRequest>,
    next_request: u64,
    /// What the model had counted when it was last looked at.
    counted: Vec<Counter>,
}

/// One series and whose it is.
struct Queued {
    request: u64,
    index: usize,
    head: DueHead,
    task: ForecastTask,
    tokens: usize,
    since: Instant,
}

struct OpenRequest {
    answered: Vec<Option<Answered>>,
    missing: usize,
    reply: oneshot::Sender<Vec<Answered>>,
    /// Counts the series until it is dropped.
    _waiting: Waiting,
}

/// What the model says after a batch.
struct Computed {
    answers: Vec<Result<Forecast, TaskError>>,
    memory: Option<(u64, u64)>,
    failure: Option<String>,
    counted: Vec<Counter>,
}

impl fmt::Debug for Forecaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forecaster").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Forecaster {
    /// Moves a model to a thread of its own, under `scope`.
    pub(crate) fn new(
        model: String,
        name: &str,
        provider: Box<dyn Provider>,
        limits: ModelConfig,
        scope: &Scope,
    ) -> Self {
        let (tokens, tasks) = provider.batch();
        let limits = BatchLimits {
            max_tokens: limits.max_batch_tokens.unwrap_or(tokens),
            max_tasks: limits.max_batch_tasks.unwrap_or(tasks),
            max_wait: limits.max_wait,
        };
        Self {
            device: provider.info().device.clone(),
            provider: Host::new(format!("model-{name}"), scope, provider),
            queue: BatchQueue::new(limits),
            model,
            open: HashMap::new(),
            next_request: 0,
            counted: Vec::new(),
        }
    }

    /// Forecasts what is due.
    async fn run_due(&mut self, context: &Context) -> Result<(), ActorExit> {
        while let NextBatch::Ready(batch) = self.queue.next(context.clock().now()) {
            self.run(batch, context).await?;
        }
        Ok(())
    }

    /// Forecasts a batch. A device that is lost ends the forecaster, and what it
    /// could not answer goes unanswered: its pipelines start again from what was
    /// committed, with the model loaded anew.
    async fn run(&mut self, mut batch: Vec<Queued>, context: &Context) -> Result<(), ActorExit> {
        let asked = batch.len();
        if !is_injected(Fault::ComputesForNobody) {
            batch.retain(|queued| self.is_waited_for(queued.request));
        }
        let dead = batch.iter().filter(|queued| !self.is_waited_for(queued.request)).count();
        fault::computes_for_nobody(dead);
        self.open.retain(|_, open| !open.reply.is_closed());
        observe::skipped(&self.model, asked - batch.len());
        if batch.is_empty() {
            return Ok(());
        }
        let started = context.clock().now();
        let tokens = batch.iter().map(|queued| queued.tokens).sum();
        if let Some(oldest) = batch.first() {
            observe::queued(&self.model, started - oldest.since);
        }
        let mut places = Vec::with_capacity(batch.len());
        let mut tasks = Vec::with_capacity(batch.len());
        for Queued { request, index, head, task, .. } in batch {
            places.push((request, index, head));
            tasks.push(task);
        }
        let computed = self.provider.call(move |provider| Computed {
            answers: provider.forecast(&tasks),
            memory: provider.device_memory(),
            failure: provider.failure(),
            counted: provider.counters(),
        });
        let Computed { answers, memory, failure, counted } = computed.await?;
        context.progress().made();
        let took = context.clock().since(started);
        observe::batch(&self.model, &self.device, tokens, places.len(), took);
        if let Some(memory) = memory {
            observe::device_memory(&self.device, memory);
        }
        if let Some(reason) = failure {
            let reason = format_args!("model `{}` on {}: {reason}", self.model, self.device);
            return Err(Failure::retriable(reason).into());
        }
        observe::counted(&self.model, &self.counted, &counted);
        self.counted = counted;
        if answers.len() != places.len() && !is_injected(Fault::TrustsAnswers) {
            let reason = format_args!(
                "model `{}` on {} gave {} answers to {} series, which is a fault of its provider",
                self.model,
                self.device,
                answers.len(),
                places.len()
            );
            return Err(Failure::retriable(reason).into());
        }
        for ((request, index, head), answer) in places.into_iter().zip(answers) {
            let outcome = answer.map_or_else(Outcome::Failed, Outcome::Made);
            self.answer(request, index, Answered { head, outcome });
        }
        Ok(())
    }

    fn is_waited_for(&self, request: u64) -> bool {
        self.open.get(&request).is_some_and(|open| !open.reply.is_closed())
    }

    fn answer(&mut self, number: u64, index: usize, answered: Answered) {
        let Some(open) = self.open.get_mut(&number) else { return };
        if let Some(slot) = open.answered.get_mut(index)
            && slot.replace(answered).is_none()
        {
            open.missing -= 1;
        }
        self.reply_if_complete(number);
    }

    fn reply_if_complete(&mut self, number: u64) {
        if self.open.get(&number).is_some_and(|open| open.missing == 0)
            && let Some(open) = self.open.remove(&number)
        {
            // Nobody waits any more if the pipeline was stopped meanwhile.
            let _unclaimed = open.reply.send(open.answered.into_iter().flatten().collect());
        }
    }
}

impl Actor for Forecaster {
    type Message = ForecastRequest;

    async fn handle(
        &mut self,
        request: ForecastRequest,
        context: &Context,
    ) -> Result<(), ActorExit> {
        let ForecastRequest { due, reply, waiting } = request;
        let weighed = self.provider.call(move |provider| {
            let weigh = |due: Due| {
                let tokens = due.task.as_ref().map(|task| provider.cost(task));
                (due, tokens.unwrap_or_default())
            };
            due.into_iter().map(weigh).collect::<Vec<_>>()
        });
        let due = weighed.await?;
        let (number, since) = (self.next_request, context.clock().now());
        self.next_request += 1;
        let mut answered: Vec<Option<Answered>> = Vec::with_capacity(due.len());
        let mut missing = 0;
        for (index, (Due { head, task, .. }, tokens)) in due.into_iter().enumerate() {
            match task {
                Some(task) => {
                    missing += 1;
                    answered.push(None);
                    let queued = Queued { request: number, index, head, task, tokens, since };
                    self.queue.push(queued, tokens, since);
                }
                None => answered.push(Some(Answered { head, outcome: Outcome::TooShort })),
            }
        }
        let open = OpenRequest { answered, missing, reply, _waiting: waiting };
        self.open.insert(number, open);
        self.reply_if_complete(number);
        self.run_due(context).await
    }

    fn deadline(&self) -> Option<Instant> {
        self.queue.deadline()
    }

    async fn on_deadline(&mut self, context: &Context) -> Result<(), ActorExit> {
        self.run_due(context).await
    }

    async fn finish(mut self, context: &Context) -> Result<(), ActorExit> {
        while !self.queue.is_empty() {
            let batch = self.queue.take();
            self.run(batch, context).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    use tidecast_actors::{mailbox, spawn};
    use tidecast_forecast::Context as SeriesContext;
    use tidecast_forecast::{ModelSpec, load, seasonal_naive};
    use tidecast_stream::{EventTime, SeriesKey};

    use super::*;

    /// Opens once, for all devices.
    #[derive(Default)]
    struct Gate(Mutex<bool>, Condvar);

    impl Gate {
        fn open(&self) {
            *self.0.lock().expect("nobody panicked") = true;
            self.1.notify_all();
        }

        fn pass(&self) {
            let is_open = self.0.lock().expect("nobody panicked");
            drop(self.1.wait_while(is_open, |is_open| !*is_open).expect("nobody panicked"));
        }
    }

    /// A device that answers with its number, is lost, or miscounts.
    struct Device {
        info: ModelInfo,
        number: f64,
        answered: Arc<AtomicUsize>,
        is_lost: Arc<AtomicBool>,
        miscounts: Arc<AtomicBool>,
        gate: Arc<Gate>,
    }

    impl Provider for Device {
        fn info(&self) -> &ModelInfo {
            &self.info
        }

        fn cost(&self, _: &ForecastTask) -> usize {
            1
        }

        fn forecast(&mut self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>> {
            self.gate.pass();
            self.answered.fetch_add(tasks.len(), Ordering::Relaxed);
            let forecast = |task: &ForecastTask| Forecast {
                mean: vec![vec![self.number], vec![task.seed as f64]],
                ..Forecast::default()
            };
            let missing = usize::from(self.miscounts.load(Ordering::Relaxed));
            tasks.iter().skip(missing).map(|task| Ok(forecast(task))).collect()
        }

        fn failure(&self) -> Option<String> {
            self.is_lost.load(Ordering::Relaxed).then(|| "it fell off the bus".to_owned())
        }
    }

    struct Model {
        handle: ModelHandle,
        actors: Vec<tidecast_actors::ActorHandle>,
        answered: Vec<Arc<AtomicUsize>>,
        is_lost: Arc<AtomicBool>,
        miscounts: Arc<AtomicBool>,
        gate: Arc<Gate>,
    }

    /// Runs a forecaster for each of so many devices.
    fn model(devices: usize) -> Model {
        let info = load(&[seasonal_naive::FAMILY], &ModelSpec::new("seasonal-naive"));
        let info = info.expect("loads").info().clone();
        let (is_lost, miscounts): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let gate: Arc<Gate> = Arc::default();
        let limits = ModelConfig {
            threads: None,
            max_batch_tokens: Some(32),
            max_batch_tasks: None,
            max_wait: Duration::from_millis(1),
        };
        let scope = Scope::new();
        let (mut lanes, mut actors, mut answered) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..devices {
            let count = Arc::new(AtomicUsize::new(0));
            let device = Device {
                info: info.clone(),
                number: number as f64,
                answered: Arc::clone(&count),
                is_lost: Arc::clone(&is_lost),
                miscounts: Arc::clone(&miscounts),
                gate: Arc::clone(&gate),
            };
            let (mailbox, receiver) = mailbox(format!("forecaster-test-{number}"), 4);
            let device = Box::new(device);
            let forecaster = Forecaster::new("test".to_owned(), "test-0", device, limits, &scope);
            actors.push(spawn(forecaster, receiver, &scope));
            lanes.push(Lane { mailbox, waiting: Arc::default() });
            answered.push(count);
        }
        let handle = ModelHandle::new(Lanes { lanes, info, scope });
        Model { handle, actors, answered, is_lost, miscounts, gate }
    }

    /// Series by number; every tenth has too short a context.
    fn due(count: usize) -> Vec<Due> {
        let one = |number: usize| {
            let key = SeriesKey::new([("number", number.into())]);
            let origin = EventTime::from_millis(0);
            let task = ForecastTask::new(SeriesContext::univariate(&[1.0]), 1);
            Due {
                head: DueHead { key, origin, steps: 1, observed: 1 },
                task: (number % 10 != 9).then_some(ForecastTask { seed: number as u64, ..task }),
                bytes: 8,
            }
        };
        (0..count).map(one).collect()
    }

    #[tokio::test]
    async fn parts_spread_over_the_devices_and_keep_their_order() {
        let model = model(3);
        let mut parts = Vec::new();
        for _ in 0..8 {
            parts.push(model.handle.submit(due(100)).await.expect("taken"));
        }
        model.gate.open();
        for part in parts {
            let answered = part.await.expect("answered");
            assert_eq!(answered.len(), 100);
            for (number, Answered { head, outcome }) in answered.into_iter().enumerate() {
                assert_eq!(head.key.to_string(), format!("{{\"number\":{number}}}"));
                match outcome {
                    Outcome::Made(forecast) => assert_eq!(forecast.mean[1], [number as f64]),
                    Outcome::TooShort => assert_eq!(number % 10, 9),
                    Outcome::Failed(error) => panic!("{error}"),
                }
            }
        }
        let answered: Vec<usize> =
            model.answered.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(answered.iter().sum::<usize>(), 720);
        // Parts went where least waited.
        assert!(answered.iter().all(|&count| count >= 180), "{answered:?}");
        // A request is counted off a moment after its answer left.
        let counted_off = async {
            for lane in &model.handle.shared().lanes {
                while lane.waiting.load(Ordering::Relaxed) != 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, counted_off).await.expect("nothing waits");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_computed() {
        let model = model(1);
        let first = model.handle.submit(due(32)).await.expect("taken");
        let given_up = model.handle.submit(due(100)).await.expect("taken");
        let last = model.handle.submit(due(10)).await.expect("taken");
        drop(given_up);
        model.gate.open();
        assert_eq!(first.await.expect("answered").len(), 32);
        assert_eq!(last.await.expect("answered").len(), 10);
        let computed = model.answered[0].load(Ordering::Relaxed);
        // A batch may hold some of it that was begun before it was given up.
        assert!(computed <= 29 + 9 + 32, "{computed}");
    }

    #[tokio::test]
    async fn a_device_that_is_lost_or_miscounts_ends_its_forecaster_and_answers_nothing() {
        let lost: fn(&Model) = |model| model.is_lost.store(true, Ordering::Relaxed);
        let miscounting: fn(&Model) = |model| model.miscounts.store(true, Ordering::Relaxed);
        let miscounted = "model `test` on cpu gave 4 answers to 5 series";
        for (devices, break_it, reason) in [
            (1, lost, "model `test` on cpu: it fell off the bus"),
            (2, lost, "model `test` on cpu: it fell off the bus"),
            (1, miscounting, miscounted),
        ] {
            let model = model(devices);
            model.gate.open();
            let answers = model.handle.submit(due(5)).await.expect("taken");
            assert_eq!(answers.await.expect("answered").len(), 5);
            assert!(!model.handle.is_broken());
            break_it(&model);
            let answers = model.handle.submit(due(5)).await.expect("taken");
            answers.await.expect_err("nobody answers");
            let broken = async {
                while !model.handle.is_broken() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), broken).await.expect("broken");
            drop(model.handle);
            let mut failed = 0;
            for actor in model.actors {
                if let ActorExit::Failed(failure) = actor.join().await {
                    assert!(failure.to_string().starts_with(reason), "{failure}");
                    failed += 1;
                }
            }
            assert_eq!(failed, 1);
        }
    }
}
