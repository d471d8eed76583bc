//! The forecaster: one thread owns one model and serves all pipelines. On
//! several cards there is one for each, and series go where least waits.
//!
//! Requests of every partition and pipeline meet in one queue, from which the
//! model takes batches limited by tokens, count and waiting time. The answer
//! goes back by a one-shot channel, so a slow pipeline never holds up the model
//! for the others; the bounded mailbox in front is the backpressure.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tidecast_actors::{ActorExit, BlockingActor, Context, Failure, Mailbox};
use tidecast_forecast::{
    BatchLimits, BatchQueue, Counter, Forecast, ForecastTask, ModelInfo, NextBatch, Provider,
    TaskError,
};
use tokio::sync::oneshot;

use crate::config::ModelLimits;
use crate::observe;

/// What came of each task, in the order of the request's.
pub(crate) type Answers = Vec<Result<Forecast, TaskError>>;

/// Series that go to one of several forecasters together: a small batch on a
/// card, so that the series of a closing window spread over all of them.
const SERIES_OF_PART: usize = 128;

/// Series to forecast together with where the answers go.
#[derive(Debug)]
pub(crate) struct ForecastRequest {
    tasks: Vec<ForecastTask>,
    reply: oneshot::Sender<Answers>,
    waiting: Waiting,
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

/// A running model: its forecasters, one for each device.
#[derive(Debug, Clone)]
pub(crate) struct ModelHandle {
    pub(crate) lanes: Arc<[Lane]>,
    pub(crate) info: Arc<ModelInfo>,
}

/// The way to one forecaster.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) mailbox: Mailbox<ForecastRequest>,
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl Lane {
    async fn submit(
        &self,
        tasks: Vec<ForecastTask>,
    ) -> Result<oneshot::Receiver<Answers>, ActorExit> {
        let (reply, answers) = oneshot::channel();
        let waiting = Waiting::new(&self.waiting, tasks.len());
        self.mailbox.send(ForecastRequest { tasks, reply, waiting }).await?;
        Ok(answers)
    }
}

impl ModelHandle {
    /// Returns what is known of the model.
    pub(crate) fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Hands over tasks, waiting while the mailbox is full; the answers arrive
    /// at the receiver. An error there means that the forecaster died.
    pub(crate) async fn submit(
        &self,
        tasks: Vec<ForecastTask>,
    ) -> Result<oneshot::Receiver<Answers>, ActorExit> {
        if let [only] = &*self.lanes {
            return only.submit(tasks).await;
        }
        let (mut parts, mut tasks) = (Vec::new(), tasks.into_iter());
        loop {
            let part: Vec<ForecastTask> = tasks.by_ref().take(SERIES_OF_PART).collect();
            let least = self.lanes.iter().min_by_key(|lane| lane.waiting.load(Ordering::Relaxed));
            let (Some(lane), false) = (least, part.is_empty()) else { break };
            parts.push(lane.submit(part).await?);
        }
        let (reply, answers) = oneshot::channel();
        tokio::spawn(async move {
            let mut all = Answers::new();
            for part in parts {
                // A forecaster that died leaves the whole request unanswered.
                let Ok(answers) = part.await else { return };
                all.extend(answers);
            }
            // Nobody waits any more if the pipeline was stopped meanwhile.
            let _unclaimed = reply.send(all);
        });
        Ok(answers)
    }

    /// Returns whether a forecaster has ended.
    pub(crate) fn is_broken(&self) -> bool {
        self.lanes.iter().any(|lane| lane.mailbox.is_closed())
    }
}

/// The actor that owns the model.
pub(crate) struct Forecaster {
    model: String,
    provider: Box<dyn Provider>,
    queue: BatchQueue<Queued>,
    /// Requests of which some tasks are not answered yet, by number.
    open: HashMap<u64, OpenRequest>,
    next_request: u64,
    /// What the model had counted when it was last looked at.
    counted: Vec<Counter>,
}

/// One task and whose it is.
struct Queued {
    request: u64,
    index: usize,
    task: ForecastTask,
    tokens: usize,
    since: Instant,
}

struct OpenRequest {
    answers: Vec<Option<Result<Forecast, TaskError>>>,
    missing: usize,
    reply: oneshot::Sender<Answers>,
    /// Counts the series until it is dropped.
    _waiting: Waiting,
}

impl fmt::Debug for Forecaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forecaster").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Forecaster {
    pub(crate) fn new(model: String, provider: Box<dyn Provider>, limits: ModelLimits) -> Self {
        let (tokens, tasks) = provider.batch();
        let limits = BatchLimits {
            max_tokens: limits.max_batch_tokens.unwrap_or(tokens),
            max_tasks: limits.max_batch_tasks.unwrap_or(tasks),
            max_wait: limits.max_wait,
        };
        let queue = BatchQueue::new(limits);
        Self { model, provider, queue, open: HashMap::new(), next_request: 0, counted: Vec::new() }
    }

    /// Forecasts what is due.
    fn run_due(&mut self) -> Result<(), ActorExit> {
        while let NextBatch::Ready(batch) = self.queue.next(Instant::now()) {
            self.run(batch)?;
        }
        Ok(())
    }

    /// Forecasts a batch. A device that is lost ends the forecaster, and what it
    /// could not answer goes unanswered: its pipelines start again from what was
    /// committed, with the model loaded anew.
    fn run(&mut self, batch: Vec<Queued>) -> Result<(), ActorExit> {
        let started = Instant::now();
        let tokens = batch.iter().map(|queued| queued.tokens).sum();
        if let Some(oldest) = batch.first() {
            observe::queued(&self.model, started - oldest.since);
        }
        let (places, tasks): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|queued| ((queued.request, queued.index), queued.task)).unzip();
        let answers = self.provider.forecast(&tasks);
        let device = &self.provider.info().device;
        observe::batch(&self.model, device, tokens, tasks.len(), started.elapsed());
        if let Some(memory) = self.provider.device_memory() {
            observe::device_memory(device, memory);
        }
        if let Some(reason) = self.provider.failure() {
            let reason = format_args!("model `{}` on {device}: {reason}", self.model);
            return Err(Failure::retriable(reason).into());
        }
        let counted = self.provider.counters();
        observe::counted(&self.model, &self.counted, &counted);
        self.counted = counted;
        for ((request, index), answer) in places.into_iter().zip(answers) {
            self.answer(request, index, answer);
        }
        Ok(())
    }

    fn answer(&mut self, number: u64, index: usize, answer: Result<Forecast, TaskError>) {
        let Some(open) = self.open.get_mut(&number) else { return };
        if let Some(slot) = open.answers.get_mut(index)
            && slot.replace(answer).is_none()
        {
            open.missing -= 1;
        }
        if open.missing == 0
            && let Some(open) = self.open.remove(&number)
        {
            // Nobody waits any more if the pipeline was stopped meanwhile.
            let _unclaimed = open.reply.send(open.answers.into_iter().flatten().collect());
        }
    }
}

impl BlockingActor for Forecaster {
    type Message = ForecastRequest;

    fn handle(&mut self, request: ForecastRequest, _: &Context) -> Result<(), ActorExit> {
        let number = self.next_request;
        self.next_request += 1;
        let since = Instant::now();
        let missing = request.tasks.len();
        let open = OpenRequest {
            answers: std::iter::repeat_with(|| None).take(missing).collect(),
            missing,
            reply: request.reply,
            _waiting: request.waiting,
        };
        self.open.insert(number, open);
        for (index, task) in request.tasks.into_iter().enumerate() {
            let tokens = self.provider.cost(&task);
            self.queue.push(Queued { request: number, index, task, tokens, since }, tokens, since);
        }
        self.run_due()
    }

    fn deadline(&self) -> Option<Instant> {
        self.queue.deadline()
    }

    fn on_deadline(&mut self, _: &Context) -> Result<(), ActorExit> {
        self.run_due()
    }

    fn finish(mut self, _: &Context) -> Result<(), ActorExit> {
        while !self.queue.is_empty() {
            let batch = self.queue.take();
            self.run(batch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::Mutex as BlockingMutex;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;
    use tidecast_actors::{ActorHandle, KillSwitch, mailbox, spawn_blocking};
    use tidecast_forecast::Context as SeriesContext;
    use tidecast_forecast::{ModelSpec, load, seasonal_naive};

    /// Opens once, for all devices.
    #[derive(Default)]
    struct Gate(BlockingMutex<bool>, Condvar);

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

    /// A device that answers with its number, or is lost.
    struct Device {
        info: ModelInfo,
        number: f64,
        answered: Arc<AtomicUsize>,
        is_lost: Arc<AtomicBool>,
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
            tasks.iter().map(|task| Ok(forecast(task))).collect()
        }

        fn failure(&self) -> Option<String> {
            self.is_lost.load(Ordering::Relaxed).then(|| "it fell off the bus".to_owned())
        }
    }

    struct Model {
        handle: ModelHandle,
        actors: Vec<ActorHandle>,
        answered: Vec<Arc<AtomicUsize>>,
        is_lost: Arc<AtomicBool>,
        gate: Arc<Gate>,
    }

    /// Runs a forecaster for each of so many devices.
    fn model(devices: usize) -> Model {
        let info = load(&[seasonal_naive::FAMILY], &ModelSpec::new("seasonal-naive"));
        let info = info.expect("loads").info().clone();
        let is_lost = Arc::new(AtomicBool::new(false));
        let gate: Arc<Gate> = Arc::default();
        let limits = ModelLimits {
            threads: None,
            max_batch_tokens: Some(32),
            max_batch_tasks: None,
            max_wait: Duration::from_millis(1),
        };
        let (mut lanes, mut actors, mut answered) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..devices {
            let count = Arc::new(AtomicUsize::new(0));
            let device = Device {
                info: info.clone(),
                number: number as f64,
                answered: Arc::clone(&count),
                is_lost: Arc::clone(&is_lost),
                gate: Arc::clone(&gate),
            };
            let (mailbox, receiver) = mailbox(format!("forecaster-test-{number}"), 4);
            let forecaster = Forecaster::new("test".to_owned(), Box::new(device), limits);
            actors.push(spawn_blocking(forecaster, receiver, &KillSwitch::new()));
            lanes.push(Lane { mailbox, waiting: Arc::default() });
            answered.push(count);
        }
        let handle = ModelHandle { lanes: lanes.into(), info: Arc::new(info) };
        Model { handle, actors, answered, is_lost, gate }
    }

    fn tasks(count: usize) -> Vec<ForecastTask> {
        let task = |seed| {
            let task = ForecastTask::new(SeriesContext::univariate(&[1.0]), 1);
            ForecastTask { seed, ..task }
        };
        (0..count as u64).map(task).collect()
    }

    #[tokio::test]
    async fn the_series_of_a_window_spread_over_the_devices_and_keep_their_order() {
        let model = model(3);
        let first = model.handle.submit(tasks(700)).await.expect("taken");
        let second = model.handle.submit(tasks(300)).await.expect("taken");
        model.gate.open();
        for (answers, count) in [(first, 700), (second, 300)] {
            let answers = answers.await.expect("answered");
            assert_eq!(answers.len(), count);
            for (index, answer) in answers.into_iter().enumerate() {
                assert_eq!(answer.expect("a forecast").mean[1], [index as f64]);
            }
        }
        let answered: Vec<usize> =
            model.answered.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(answered.iter().sum::<usize>(), 1000);
        // Parts of 128 went where least waited.
        assert!(answered.iter().all(|&count| count >= SERIES_OF_PART), "{answered:?}");
        // A request is counted off a moment after its answer left.
        let counted_off = async {
            for lane in &*model.handle.lanes {
                while lane.waiting.load(Ordering::Relaxed) != 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let patience = std::time::Duration::from_secs(60);
        tokio::time::timeout(patience, counted_off).await.expect("nothing waits");
    }

    #[tokio::test]
    async fn a_lost_device_ends_its_forecaster_and_answers_nothing() {
        for devices in [1, 2] {
            let model = model(devices);
            model.gate.open();
            let answers = model.handle.submit(tasks(5)).await.expect("taken");
            assert_eq!(answers.await.expect("answered").len(), 5);
            assert!(!model.handle.is_broken());
            model.is_lost.store(true, Ordering::Relaxed);
            // The second part may find the forecaster gone that the first was given to.
            if let Ok(answers) = model.handle.submit(tasks(200)).await {
                answers.await.expect_err("nobody answers");
            }
            let broken = async {
                while !model.handle.is_broken() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), broken).await.expect("broken");
            drop(model.handle);
            let mut lost = 0;
            for actor in model.actors {
                if let ActorExit::Failed(failure) = actor.join().await {
                    assert!(failure.to_string().ends_with("it fell off the bus"), "{failure}");
                    lost += 1;
                }
            }
            assert!(lost > 0);
        }
    }
}
