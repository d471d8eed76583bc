//! The models of a process: loaded once however many pipelines name them, and let go
//! when none does any more.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tidecast_actors::{Bounds, Clock, Failure, Scope, mailbox, spawn};
use tidecast_forecast::{LoadError, ModelInfo, ModelSpec, Provider, family, load, load_on};
use tidecast_sql::ModelDefinition;

use crate::config::ModelConfig;
use crate::families::FAMILIES;
use crate::forecaster::{Forecaster, Lane, Lanes, ModelHandle};

/// Parts of closes that wait for a model at most; bytes are the tighter bound unless
/// contexts are short. A card takes four of them at once.
const WAITING_PARTS: usize = 64;

/// Where models come from.
pub(crate) trait Loader: Send + Sync {
    /// Returns the model once for each device that it is to run on. May block.
    fn load(&self, spec: &ModelSpec) -> Result<Vec<Box<dyn Provider>>, LoadError>;
}

/// The families that this build knows.
pub(crate) struct Families;

impl Loader for Families {
    fn load(&self, spec: &ModelSpec) -> Result<Vec<Box<dyn Provider>>, LoadError> {
        load_all(spec)
    }
}

/// The models of a process.
pub(crate) struct ModelPool {
    loader: Arc<dyn Loader>,
    limits: ModelConfig,
    mailbox_bytes: usize,
    stall_timeout: Duration,
    clock: Clock,
    models: Mutex<Vec<Arc<Model>>>,
}

/// One model, whether it is loaded or not.
struct Model {
    spec: ModelSpec,
    /// Held while it is loaded: who asks for the same model waits, others do not.
    running: tokio::sync::Mutex<Option<Running>>,
}

/// A model that was loaded, and may be gone since.
struct Running {
    lanes: Weak<Lanes>,
    scope: Scope,
}

impl std::fmt::Debug for ModelPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelPool").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl ModelPool {
    pub(crate) fn new(
        loader: Arc<dyn Loader>,
        limits: ModelConfig,
        mailbox_bytes: usize,
        stall_timeout: Duration,
        clock: Clock,
    ) -> Self {
        Self { loader, limits, mailbox_bytes, stall_timeout, clock, models: Mutex::default() }
    }

    /// Returns the model `definition` describes, loading it if nobody has yet.
    ///
    /// A forecaster that died, or that nobody used any more, is gone entirely before
    /// its successor loads: two copies of a model at once may not fit the device. Only
    /// one that is stuck is not waited for, since it may be so for ever.
    pub(crate) async fn acquire(
        &self,
        definition: &ModelDefinition,
    ) -> Result<ModelHandle, Failure> {
        let failed =
            |error: LoadError| Failure::fatal(format_args!("model `{}`: {error}", definition.name));
        let spec = model_spec(definition, self.limits.threads);
        let model = self.model(&spec);
        let mut running = model.running.lock().await;
        if let Some(known) = running.take() {
            let is_stalled = known.scope.roster().stalled(self.stall_timeout).is_some();
            if let Some(handle) = known.lanes.upgrade().map(ModelHandle::from_shared)
                && !handle.is_broken()
                && !is_stalled
            {
                *running = Some(known);
                return Ok(handle);
            }
            known.scope.kill();
            if is_stalled {
                tracing::error!(
                    model = %definition.name,
                    "the model is loaded again beside the one that does not answer, whose memory \
                     is free when it ends"
                );
            } else {
                known.scope.kill_switch().gone().await;
                tracing::debug!(model = %definition.name, "the model is loaded again");
            }
        }
        let started = self.clock.now();
        let scope = Scope::new().with_clock(self.clock.clone());
        let loader = Arc::clone(&self.loader);
        let providers = scope
            .compute(move || loader.load(&spec))
            .await
            .map_err(Failure::retriable)?
            .map_err(failed)?;
        let Some(info) = providers.first().map(|provider| provider.info().clone()) else {
            return Err(Failure::fatal(format_args!("model `{}` has no device", definition.name)));
        };
        tracing::info!(
            model = %definition.name,
            path = %info.path,
            version = %info.version,
            parameters = info.parameters,
            device = %info.device,
            threads = info.threads,
            devices = providers.len(),
            milliseconds = self.clock.since(started).as_millis() as u64,
            "model loaded"
        );
        let bounds = Bounds { messages: WAITING_PARTS, bytes: self.mailbox_bytes };
        let mut lanes = Vec::new();
        for (index, provider) in providers.into_iter().enumerate() {
            let name = format!("{}-{index}", definition.name);
            let (mailbox, receiver) = mailbox(format!("forecaster-{name}"), bounds);
            let forecaster =
                Forecaster::new(definition.name.clone(), &name, provider, self.limits, &scope);
            drop(spawn(forecaster, receiver, &scope));
            lanes.push(Lane { mailbox, waiting: Arc::default() });
        }
        let handle = ModelHandle::new(Lanes { lanes, info, scope: scope.clone() });
        *running = Some(Running { lanes: Arc::downgrade(handle.shared()), scope });
        Ok(handle)
    }

    /// Returns the place of a model: two names of one model share it, as all that
    /// matters is what is loaded.
    fn model(&self, spec: &ModelSpec) -> Arc<Model> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models.iter().find(|known| known.spec == *spec) {
            return Arc::clone(known);
        }
        let model = Arc::new(Model { spec: spec.clone(), running: tokio::sync::Mutex::default() });
        models.push(Arc::clone(&model));
        model
    }

    /// Ends all forecasters; for when no pipeline is left.
    pub(crate) async fn close(&self) {
        let models =
            std::mem::take(&mut *self.models.lock().unwrap_or_else(PoisonError::into_inner));
        for model in models {
            let Some(running) = model.running.lock().await.take() else { continue };
            running.scope.kill();
            if running.scope.roster().stalled(self.stall_timeout).is_none() {
                running.scope.kill_switch().gone().await;
            }
        }
    }
}

/// Loads the model once for each device that its spec names.
fn load_all(spec: &ModelSpec) -> Result<Vec<Box<dyn Provider>>, LoadError> {
    let devices = (family(&FAMILIES, spec)?.devices)(&spec.device);
    load_on(&spec.device, devices, usize::MAX, |device| {
        load(&FAMILIES, &ModelSpec { device: device.to_owned(), ..spec.clone() })
    })
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
    let spec = ModelSpec { cached_only: true, ..model_spec(definition, threads) };
    Ok(load(&FAMILIES, &spec)?.info().clone())
}

/// Returns what a definition asks to be loaded.
fn model_spec(definition: &ModelDefinition, threads: Option<usize>) -> ModelSpec {
    let spec = ModelSpec::of(definition.family.name, definition.options.clone());
    ModelSpec { threads, ..spec }
}
