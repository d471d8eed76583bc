//! The engine: pipelines of actors, from a plan to a stream of forecasts.
//!
//! [`Engine::start`] runs each [`PipelinePlan`] under its own supervisor. What a
//! pipeline is made of stands in one function, `run_generation` in
//! `pipeline.rs`; ARCHITECTURE.md at the root tells the record's way.

mod acls;
mod assembler;
mod commit;
mod config;
mod connect;
mod due;
mod families;
mod fault;
mod findings;
mod forecaster;
mod ingest;
mod message;
mod models;
mod observe;
mod partition;
mod pipeline;
mod publisher;
#[cfg(test)]
mod simulation;
mod snapshots;
mod windower;

use std::sync::Arc;

use tidecast_actors::{Clock, Supervisor, SupervisorHandle};
use tidecast_sql::PipelinePlan;
use tokio::runtime::Runtime;

pub use crate::acls::{Acl, AclResource, ClusterAcls, acls};
pub use crate::config::{
    EngineConfig, KafkaConfig, ModelConfig, PipelineConfig, StateConfig, StatePlace,
};
pub use crate::connect::{
    ConnectError, Connection, Connectors, SqlConnectors, sink_config, source_config,
};
pub use crate::families::{FAMILIES, MODELS};
pub use crate::findings::Finding;
pub use crate::models::model_info;
pub use crate::snapshots::{SnapshotFile, SnapshotStore, StateError};
pub use tidecast_actors::Status;

use crate::findings::Findings;
use crate::models::{Families, ModelPool};
use crate::pipeline::Pipeline;
use crate::snapshots::StorePlace;

/// The running pipelines of a process.
#[derive(Debug)]
pub struct Engine {
    pipelines: Vec<SupervisorHandle>,
    /// By pipeline, in the same order.
    findings: Vec<Findings>,
    models: Arc<ModelPool>,
    /// Where windowers run: closing windows takes long enough to keep health checks
    /// and commits waiting.
    workers: Option<Runtime>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Not waited for: this may be a thread that must not block.
        if let Some(workers) = self.workers.take() {
            workers.shutdown_background();
        }
    }
}

impl Engine {
    /// Starts the pipelines of `plans`. Must be called within a tokio runtime.
    ///
    /// It never fails: a pipeline that cannot start shows it in its status, and
    /// the others run.
    pub fn start(
        plans: Vec<PipelinePlan>,
        config: EngineConfig,
        connectors: Arc<dyn Connectors>,
    ) -> Self {
        let config = Arc::new(config);
        let clock = Clock::system();
        let models = Arc::new(ModelPool::new(
            Arc::new(Families),
            config.model,
            config.pipeline.mailbox().bytes,
            config.pipeline.stall_timeout,
            clock,
        ));
        let workers = workers();
        let snapshots = config.state.url.url().map(StorePlace::new);
        let findings: Vec<Findings> = plans.iter().map(|plan| Findings::new(&plan.name)).collect();
        let pipelines = plans
            .into_iter()
            .zip(&findings)
            .map(|(plan, findings)| {
                let name = plan.name.clone();
                let pipeline = Arc::new(Pipeline {
                    plan: Arc::new(plan),
                    config: Arc::clone(&config),
                    connectors: Arc::clone(&connectors),
                    models: Arc::clone(&models),
                    model: tokio::sync::Mutex::default(),
                    findings: findings.clone(),
                    workers: workers.as_ref().map(|workers| workers.handle().clone()),
                    snapshots: snapshots.clone(),
                });
                Supervisor::new(name)
                    .policy(config.pipeline.restarts())
                    .drain_timeout(config.pipeline.drain_timeout)
                    .stall_timeout(config.pipeline.stall_timeout)
                    .spawn(move |generation| Arc::clone(&pipeline).run_generation(generation))
            })
            .collect();
        Self { pipelines, findings, models, workers }
    }

    /// Returns each pipeline's name and where it stands.
    pub fn status(&self) -> Vec<(String, Status)> {
        self.pipelines
            .iter()
            .map(|handle| (handle.name().to_owned(), handle.status().borrow().clone()))
            .collect()
    }

    /// Returns what each pipeline has found out about its data that nobody may have
    /// meant, in the order of [`status`](Self::status).
    pub fn findings(&self) -> Vec<Vec<Finding>> {
        self.findings.iter().map(Findings::all).collect()
    }

    /// Waits until every pipeline has ended, its bounded source finished or given
    /// up; returns how each ended.
    pub async fn ended(&self) -> Vec<(String, Status)> {
        for handle in &self.pipelines {
            let mut status = handle.status();
            let ended = |status: &Status| matches!(status, Status::Failed { .. } | Status::Stopped);
            // An error means the supervisor is gone, which is an end too.
            status.wait_for(ended).await.ok();
        }
        self.status()
    }

    /// Asks all pipelines to finish what is under way and stop.
    pub fn stop(&self) {
        for handle in &self.pipelines {
            handle.stop();
        }
    }

    /// Ends all pipelines at once; what is not committed will be repeated.
    pub fn kill(&self) {
        for handle in &self.pipelines {
            handle.kill();
        }
    }

    /// Stops all pipelines, waits for their end, lets go of the models, and
    /// returns how each pipeline ended.
    pub async fn shutdown(&self) -> Vec<(String, Status)> {
        self.stop();
        let endings = self.ended().await;
        self.models.close().await;
        endings
    }
}

/// Returns a runtime for what computes; without one it runs where everything does.
fn workers() -> Option<Runtime> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("windowers").enable_time().build();
    runtime.inspect_err(|error| tracing::warn!(%error, "no threads for windowers alone")).ok()
}
