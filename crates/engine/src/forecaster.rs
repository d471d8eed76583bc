//! The forecaster: one thread owns one model and serves all pipelines.
//!
//! Requests of every partition and pipeline meet in one queue, from which the
//! model takes batches limited by tokens, count and waiting time. The answer
//! goes back by a one-shot channel, so a slow pipeline never holds up the model
//! for the others; the bounded mailbox in front is the backpressure.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tidecast_actors::{
    ActorExit, ActorHandle, BlockingActor, Context, Failure, KillSwitch, Mailbox, mailbox,
    spawn_blocking,
};
use tidecast_forecast::{
    BatchLimits, BatchQueue, ExpertUsage, Forecast, ForecastTask, LoadError, ModelInfo, ModelSpec,
    NextBatch, Provider, TaskError, Token, load,
};
use tidecast_sql::ModelDefinition;
use tokio::sync::{Mutex, oneshot};

use crate::config::ModelLimits;
use crate::observe;

/// What came of each task, in the order of the request's.
pub(crate) type Answers = Vec<Result<Forecast, TaskError>>;

/// Series to forecast together with where the answers go.
#[derive(Debug)]
pub(crate) struct ForecastRequest {
    tasks: Vec<ForecastTask>,
    reply: oneshot::Sender<Answers>,
}

/// A running model.
#[derive(Debug, Clone)]
pub(crate) struct ModelHandle {
    mailbox: Mailbox<ForecastRequest>,
    info: Arc<ModelInfo>,
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
        let (reply, answers) = oneshot::channel();
        self.mailbox.send(ForecastRequest { tasks, reply }).await?;
        Ok(answers)
    }
}

/// The models of a process, each loaded once however many pipelines name it.
#[derive(Debug)]
pub(crate) struct ModelPool {
    limits: ModelLimits,
    mailbox_capacity: usize,
    kill_switch: KillSwitch,
    models: Mutex<HashMap<String, (ModelHandle, ActorHandle)>>,
}

impl ModelPool {
    pub(crate) fn new(limits: ModelLimits, mailbox_capacity: usize) -> Self {
        let kill_switch = KillSwitch::new();
        Self { limits, mailbox_capacity, kill_switch, models: Mutex::default() }
    }

    /// Returns the model `definition` describes, loading it if nobody has yet.
    ///
    /// A forecaster that died is gone entirely before its successor loads: two
    /// copies of a model at once may not fit the device. The lock is held while
    /// loading for the same reason.
    pub(crate) async fn acquire(
        &self,
        definition: &ModelDefinition,
    ) -> Result<ModelHandle, Failure> {
        let failed =
            |error: LoadError| Failure::fatal(format_args!("model `{}`: {error}", definition.name));
        let spec = model_spec(definition, self.limits.threads).map_err(failed)?;
        // Two names of one model share it: all that matters is what is loaded.
        let key = format!("{spec:?}");
        let mut models = self.models.lock().await;
        if let Some((handle, _)) = models.get(&key)
            && !handle.mailbox.is_closed()
        {
            return Ok(handle.clone());
        }
        if let Some((_, actor)) = models.remove(&key) {
            let exit = actor.join().await;
            tracing::warn!(model = %definition.name, %exit, "the forecaster had ended; its model is loaded again");
        }
        let started = Instant::now();
        let provider = tokio::task::spawn_blocking(move || load(&spec))
            .await
            .map_err(Failure::fatal)?
            .map_err(failed)?;
        let info = Arc::new(provider.info().clone());
        tracing::info!(
            model = %definition.name,
            version = %info.version,
            parameters = info.parameters,
            device = %info.device,
            milliseconds = started.elapsed().as_millis() as u64,
            "model loaded"
        );
        let name = format!("forecaster-{}", definition.name);
        let (mailbox, receiver) = mailbox(name, self.mailbox_capacity);
        let forecaster = Forecaster::new(definition.name.clone(), provider, self.limits);
        let actor = spawn_blocking(forecaster, receiver, &self.kill_switch);
        let handle = ModelHandle { mailbox, info };
        models.insert(key, (handle.clone(), actor));
        Ok(handle)
    }

    /// Ends all forecasters; for when no pipeline is left.
    pub(crate) async fn close(&self) {
        self.kill_switch.kill();
        for (_, (handle, actor)) in self.models.lock().await.drain() {
            drop(handle);
            let exit = actor.join().await;
            tracing::debug!(%exit, "forecaster ended");
        }
    }
}

/// Loads the model that `definition` describes, says what it is, and lets it go.
/// One of the hub is taken from its cache; nothing is downloaded.
///
/// # Errors
/// If it cannot be loaded.
pub fn model_info(
    definition: &ModelDefinition,
    threads: Option<usize>,
) -> Result<ModelInfo, LoadError> {
    let spec = ModelSpec { cached_only: true, ..model_spec(definition, threads)? };
    Ok(load(&spec)?.info().clone())
}

/// Turns the SQL's words into the model crate's.
fn model_spec(
    definition: &ModelDefinition,
    threads: Option<usize>,
) -> Result<ModelSpec, LoadError> {
    Ok(ModelSpec {
        provider: definition.provider.clone(),
        path: definition.path.clone(),
        revision: definition.revision.clone(),
        token: definition.token.as_ref().map(|token| Token::new(token.reveal())),
        accepted_licence: definition.accepted_licence.clone(),
        cached_only: false,
        device: definition.device.clone(),
        rollout: definition.rollout.as_deref().map(str::parse).transpose()?,
        dtype: definition.dtype.as_deref().map(str::parse).transpose()?,
        patch_size: definition.patch_size,
        season: definition.season,
        threads,
    })
}

/// The actor that owns the model.
struct Forecaster {
    model: String,
    provider: Box<dyn Provider>,
    queue: BatchQueue<Queued>,
    /// Requests of which some tasks are not answered yet, by number.
    open: HashMap<u64, OpenRequest>,
    next_request: u64,
    /// What the model's experts had done when it was last looked at.
    experts: ExpertUsage,
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
}

impl fmt::Debug for Forecaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forecaster").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Forecaster {
    fn new(model: String, provider: Box<dyn Provider>, limits: ModelLimits) -> Self {
        let limits = BatchLimits {
            max_tokens: limits.max_batch_tokens,
            max_tasks: limits.max_batch_tasks,
            max_wait: limits.max_wait,
        };
        let queue = BatchQueue::new(limits);
        Self {
            model,
            provider,
            queue,
            open: HashMap::new(),
            next_request: 0,
            experts: ExpertUsage::default(),
        }
    }

    /// Forecasts what is due.
    fn run_due(&mut self) {
        while let NextBatch::Ready(batch) = self.queue.next(Instant::now()) {
            self.run(batch);
        }
    }

    fn run(&mut self, batch: Vec<Queued>) {
        let started = Instant::now();
        let tokens = batch.iter().map(|queued| queued.tokens).sum();
        if let Some(oldest) = batch.first() {
            observe::queued(&self.model, started - oldest.since);
        }
        let (places, tasks): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|queued| ((queued.request, queued.index), queued.task)).unzip();
        let answers = self.provider.forecast(&tasks);
        observe::batch(&self.model, tokens, tasks.len(), started.elapsed());
        if let Some(experts) = self.provider.expert_usage() {
            observe::experts(&self.model, &experts.since(&self.experts));
            self.experts = experts;
        }
        for ((request, index), answer) in places.into_iter().zip(answers) {
            self.answer(request, index, answer);
        }
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
        };
        self.open.insert(number, open);
        for (index, task) in request.tasks.into_iter().enumerate() {
            let tokens = self.provider.cost(&task);
            self.queue.push(Queued { request: number, index, task, tokens, since }, tokens, since);
        }
        self.run_due();
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.queue.deadline()
    }

    fn on_deadline(&mut self, _: &Context) -> Result<(), ActorExit> {
        self.run_due();
        Ok(())
    }

    fn finish(mut self, _: &Context) -> Result<(), ActorExit> {
        while !self.queue.is_empty() {
            let batch = self.queue.take();
            self.run(batch);
        }
        Ok(())
    }
}
