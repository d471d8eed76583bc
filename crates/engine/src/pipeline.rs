//! One generation of a pipeline: where its actors are wired.

use std::sync::Arc;

use tidecast_actors::{
    ActorExit, Bounds, Failure, Generation, Host, join_all, mailbox, spawn, spawn_task,
};
use tidecast_sql::{PartLimit, PipelinePlan, SourceConnector};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::config::EngineConfig;
use crate::connect::Connectors;
use crate::findings::{Findings, SeriesHomes};
use crate::forecaster::ModelHandle;
use crate::ingest::Ingest;
use crate::message::MessageTemplate;
use crate::models::ModelPool;
use crate::publisher::Publisher;
use crate::snapshots::{SnapshotWriter, Snapshots, StorePlace};
use crate::windower::PART_BYTES;

/// Snapshots that wait to be written at most; they share their contexts with the
/// windowers.
const WAITING_SNAPSHOTS: usize = 64;

/// What a pipeline needs, generation after generation.
pub(crate) struct Pipeline {
    pub(crate) plan: Arc<PipelinePlan>,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) connectors: Arc<dyn Connectors>,
    pub(crate) models: Arc<ModelPool>,
    /// The model while the pipeline uses it, over all generations.
    pub(crate) model: Mutex<Option<ModelHandle>>,
    pub(crate) findings: Findings,
    /// Where windowers run; `None` is where the rest does.
    pub(crate) workers: Option<Handle>,
    /// Where snapshots go, if anywhere.
    pub(crate) snapshots: Option<StorePlace>,
}

impl Pipeline {
    /// Runs one generation to its end.
    ///
    /// The order is from the sink back to the source: each actor is born
    /// knowing the mailbox of the next.
    pub(crate) async fn run_generation(self: Arc<Self>, generation: Generation) -> ActorExit {
        let (name, scope) = (&self.plan.name, &generation.scope);

        // forecaster: shared, perhaps running already
        let model = match self.models.acquire(&self.plan.model).await {
            Ok(model) => model,
            Err(failure) => return failure.into(),
        };
        scope.roster().depend_on(model.scope().roster());
        *self.model.lock().await = Some(model.clone());

        // source and sink
        let connection = {
            let (plan, config) = (Arc::clone(&self.plan), Arc::clone(&self.config));
            let connectors = Arc::clone(&self.connectors);
            scope.compute(move || connectors.connect(&plan, &config)).await
        };
        let connection = match connection {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                return Failure { retriable: error.retriable(), reason: error.to_string() }.into();
            }
            Err(panic) => return panic,
        };
        let source = Host::new(format!("source-{name}"), scope, connection.source);
        let sink = Host::new(format!("sink-{name}"), scope, connection.sink);
        let mut actors = Vec::new();
        let bounds = self.config.pipeline.mailbox();

        // writer of snapshots, for sources that remember how far they were read
        let snapshots = match &self.plan.source.connector {
            SourceConnector::Kafka(_) => self.snapshots.clone(),
            SourceConnector::Filesystem(_) => None,
        };
        let interval = self.config.state.interval;
        let snapshots =
            snapshots.map(|place| Snapshots { pipeline: name.clone(), place, interval });
        let writer = snapshots.clone().map(|snapshots| {
            let (to_writer, receiver) = mailbox(
                format!("snapshots-{name}"),
                Bounds { messages: WAITING_SNAPSHOTS, ..bounds },
            );
            let drain = generation.drain.clone();
            let writer = SnapshotWriter { snapshots, drain, last_call: None };
            actors.push(spawn(writer, receiver, scope));
            to_writer
        });

        // publisher
        let commit_interval =
            self.plan.options.commit_interval.unwrap_or(self.config.pipeline.commit_interval);
        let (to_publisher, receiver) = mailbox(format!("publisher-{name}"), bounds);
        let publisher = Publisher::new(name.clone(), sink, commit_interval, writer);
        actors.push(spawn(publisher, receiver, scope));

        // ingest, which starts a windower and an assembler per assigned partition
        let ingest = Ingest {
            idle_timeout: match &self.plan.source.connector {
                SourceConnector::Kafka(options) => options.idle_timeout,
                SourceConnector::Filesystem(_) => None,
            },
            plan: Arc::clone(&self.plan),
            source,
            template: MessageTemplate::new(&self.plan, &model.info().version),
            model,
            publisher: to_publisher,
            snapshots,
            homes: SeriesHomes::new(self.findings.clone()),
            findings: self.findings.clone(),
            reset_state: self.config.state.reset,
            mailbox: bounds,
            part: PartLimit { series: self.config.pipeline.part_series, bytes: PART_BYTES },
            drain_timeout: self.config.pipeline.drain_timeout,
            drain: generation.drain.clone(),
            scope: scope.child(),
            workers: self.workers.clone(),
        };
        actors.push(spawn_task(format!("ingest-{name}"), scope, |context| ingest.run(context)));

        generation.set_running();
        join_all(actors, scope).await
    }
}
