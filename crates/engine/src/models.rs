//! The models of a process: loaded once however many pipelines name them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tidecast_actors::{ActorExit, ActorHandle, Failure, KillSwitch, mailbox, spawn_blocking};
use tidecast_forecast::{LoadError, ModelInfo, ModelSpec, Provider, Token, devices, load};
use tidecast_sql::ModelDefinition;
use tokio::sync::Mutex;

use crate::config::ModelLimits;
use crate::forecaster::{Forecaster, Lane, ModelHandle};

/// The models of a process, each loaded once however many pipelines name it.
#[derive(Debug)]
pub(crate) struct ModelPool {
    limits: ModelLimits,
    mailbox_capacity: usize,
    models: Mutex<HashMap<String, Running>>,
}

/// A model with what ends it.
#[derive(Debug)]
struct Running {
    handle: ModelHandle,
    actors: Vec<ActorHandle>,
    kill_switch: KillSwitch,
}

impl Running {
    /// Ends all forecasters and waits until the last of their models is gone.
    async fn end(self) {
        self.kill_switch.kill();
        drop(self.handle);
        for actor in self.actors {
            let exit = actor.join().await;
            if exit.is_orderly() || matches!(exit, ActorExit::Killed) {
                tracing::debug!(%exit, "forecaster ended");
            } else {
                tracing::warn!(%exit, "the forecaster had ended");
            }
        }
    }
}

impl ModelPool {
    pub(crate) fn new(limits: ModelLimits, mailbox_capacity: usize) -> Self {
        Self { limits, mailbox_capacity, models: Mutex::default() }
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
        if let Some(running) = models.get(&key)
            && !running.handle.is_broken()
        {
            return Ok(running.handle.clone());
        }
        if let Some(running) = models.remove(&key) {
            running.end().await;
            tracing::warn!(model = %definition.name, "the model is loaded again");
        }
        let started = Instant::now();
        let providers = tokio::task::spawn_blocking(move || load_all(&spec))
            .await
            .map_err(Failure::fatal)?
            .map_err(failed)?;
        let Some(info) = providers.first().map(|provider| Arc::new(provider.info().clone())) else {
            return Err(Failure::fatal(format_args!("model `{}` has no device", definition.name)));
        };
        tracing::info!(
            model = %definition.name,
            version = %info.version,
            parameters = info.parameters,
            device = %info.device,
            devices = providers.len(),
            milliseconds = started.elapsed().as_millis() as u64,
            "model loaded"
        );
        let kill_switch = KillSwitch::new();
        let (mut lanes, mut actors) = (Vec::new(), Vec::new());
        for (index, provider) in providers.into_iter().enumerate() {
            let name = format!("forecaster-{}-{index}", definition.name);
            let (mailbox, receiver) = mailbox(name, self.mailbox_capacity);
            let forecaster = Forecaster::new(definition.name.clone(), provider, self.limits);
            actors.push(spawn_blocking(forecaster, receiver, &kill_switch));
            lanes.push(Lane { mailbox, waiting: Arc::default() });
        }
        let handle = ModelHandle { lanes: lanes.into(), info };
        models.insert(key, Running { handle: handle.clone(), actors, kill_switch });
        Ok(handle)
    }

    /// Ends all forecasters; for when no pipeline is left.
    pub(crate) async fn close(&self) {
        let models: Vec<Running> = self.models.lock().await.drain().map(|(_, one)| one).collect();
        for running in models {
            running.end().await;
        }
    }
}

/// Loads the model once for each device that its spec names. Of the cards that `auto`
/// found, all that have room; the CPU if none has. Never both: they draw other paths,
/// and a forecast would depend on which of them was free.
fn load_all(spec: &ModelSpec) -> Result<Vec<Box<dyn Provider>>, LoadError> {
    let load_on = |device: String| load(&ModelSpec { device, ..spec.clone() });
    let mut providers = vec![];
    for device in devices(&spec.device) {
        match load_on(device) {
            Ok(provider) => providers.push(provider),
            Err(error @ LoadError::Device { .. }) if spec.device == "auto" => {
                tracing::warn!(%error, "a card is left out");
            }
            Err(error) => return Err(error),
        }
    }
    if providers.is_empty() {
        tracing::warn!("no card can be used: the model is loaded on the CPU");
        providers.push(load_on("cpu".to_owned())?);
    }
    Ok(providers)
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
