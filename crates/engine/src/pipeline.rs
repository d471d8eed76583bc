//! One generation of a pipeline: where its four actors are wired.

use std::sync::Arc;

use tidecast_actors::{ActorExit, Failure, Generation, join_all, mailbox, spawn, spawn_thread};
use tidecast_sql::{PipelinePlan, SourceConnector};
use tokio::runtime::Handle;

use crate::config::EngineConfig;
use crate::connect::Connectors;
use crate::findings::{Findings, SeriesHomes};
use crate::ingest::Ingest;
use crate::message::MessageTemplate;
use crate::models::ModelPool;
use crate::publisher::Publisher;
use crate::snapshots::{Committed, SnapshotStore, Snapshots};

/// What a pipeline needs, generation after generation.
pub(crate) struct Pipeline {
    pub(crate) plan: Arc<PipelinePlan>,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) connectors: Arc<dyn Connectors>,
    pub(crate) models: Arc<ModelPool>,
    pub(crate) findings: Findings,
}

impl Pipeline {
    /// Runs one generation to its end. When it returns, all of its actors are
    /// gone: generations never overlap.
    ///
    /// The order is from the sink back to the source: each actor is born
    /// knowing the mailbox of the next.
    pub(crate) async fn run_generation(self: Arc<Self>, generation: Generation) -> ActorExit {
        let name = &self.plan.name;

        // forecaster: shared, perhaps running already
        let model = match self.models.acquire(&self.plan.model).await {
            Ok(model) => model,
            Err(failure) => return failure.into(),
        };

        // snapshots, for sources that remember how far they were read
        let snapshots = match (&self.config.state.url, &self.plan.source.connector) {
            (Some(url), SourceConnector::Kafka(_)) => match SnapshotStore::open(url) {
                Ok(store) => Some(store),
                Err(error) => return Failure::fatal(error).into(),
            },
            _ => None,
        };

        // source and sink
        let connection = {
            let (plan, config) = (Arc::clone(&self.plan), Arc::clone(&self.config));
            let connectors = Arc::clone(&self.connectors);
            tokio::task::spawn_blocking(move || connectors.connect(&plan, &config)).await
        };
        let connection = match connection {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                return Failure { retriable: error.retriable(), reason: error.to_string() }.into();
            }
            Err(panic) => return ActorExit::Panicked(panic.to_string()),
        };

        // publisher
        let template = MessageTemplate::new(&self.plan, &model.info().version);
        let commit_interval =
            self.plan.options.commit_interval.unwrap_or(self.config.commit_interval);
        let (to_publisher, receiver) =
            mailbox(format!("publisher-{name}"), self.config.mailbox_capacity);
        let committed = Committed::default();
        let publisher = Publisher::new(
            name.clone(),
            template,
            connection.sink,
            commit_interval,
            committed.clone(),
        );
        let publisher = spawn(publisher, receiver, &generation.kill_switch);

        // ingest, which starts a windower per assigned partition
        let ingest = Ingest {
            idle_timeout: match &self.plan.source.connector {
                SourceConnector::Kafka(options) => options.idle_timeout,
                SourceConnector::Filesystem(_) => None,
            },
            plan: Arc::clone(&self.plan),
            source: connection.source,
            model,
            publisher: to_publisher,
            snapshots: snapshots.map(|store| {
                let interval = self.config.state.interval;
                Snapshots { store, interval, committed }
            }),
            homes: SeriesHomes::new(self.findings.clone()),
            findings: self.findings.clone(),
            reset_state: self.config.state.reset,
            mailbox_capacity: self.config.mailbox_capacity,
            drain_timeout: self.config.drain_timeout,
            drain: generation.drain.clone(),
            kill_switch: generation.kill_switch.child(),
            runtime: Handle::current(),
        };
        let ingest =
            spawn_thread(format!("ingest-{name}"), &generation.kill_switch, move |_| ingest.run());

        generation.set_running();
        join_all([ingest, publisher], &generation.kill_switch).await
    }
}
