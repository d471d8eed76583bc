//! The two ends of a pipeline, the model and the store, as the simulation has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tidecast_actors::Clock;
use tidecast_forecast::{
    Forecast, ForecastTask, LoadError, ModelInfo, ModelSpec, Provider, TaskError,
};
use tidecast_sql::PipelinePlan;
use tidecast_stream::{
    Blame, Offset, Partition, Sink, SinkError, Source, SourceError, SourceEvent, Transaction,
};

use super::records::{batch, fake_forecast};
use super::world::Shared;
use crate::config::EngineConfig;
use crate::connect::{ConnectError, Connection, Connectors};
use crate::models::Loader;

/// Connects a process's generations.
pub(super) struct SimulatedEnds {
    pub(super) world: Shared,
    pub(super) process: usize,
    pub(super) plan: Arc<PipelinePlan>,
}

impl Connectors for SimulatedEnds {
    fn connect(&self, _: &PipelinePlan, _: &EngineConfig) -> Result<Connection, ConnectError> {
        let member = self.world.lock().join(self.process);
        let source = GroupMember {
            world: self.world.clone(),
            plan: Arc::clone(&self.plan),
            member,
            reading: BTreeMap::new(),
            held: BTreeSet::new(),
        };
        let sink = Transactions { world: self.world.clone(), member };
        Ok(Connection { source: Box::new(source), sink: Box::new(sink) })
    }
}

/// A source that is a member of the group.
struct GroupMember {
    world: Shared,
    plan: Arc<PipelinePlan>,
    member: u64,
    /// Where each started partition is read on, and whether its end was reported.
    reading: BTreeMap<usize, (usize, bool)>,
    held: BTreeSet<usize>,
}

impl Source for GroupMember {
    fn poll(&mut self, _: Duration) -> Result<SourceEvent, SourceError> {
        let mut world = self.world.lock();
        world.look_after_the_group();
        if let Some(event) = world.poll(self.member) {
            if let SourceEvent::Lost(lost) = &event {
                self.reading
                    .retain(|number, _| !lost.contains(&super::records::partition(*number)));
            }
            return Ok(event);
        }
        let numbers: Vec<usize> = self.reading.keys().copied().collect();
        if numbers.is_empty() {
            return Ok(SourceEvent::Idle);
        }
        let number = numbers[world.random.below(numbers.len())];
        let Some((next, is_told)) = self.reading.get_mut(&number) else {
            return Ok(SourceEvent::Idle);
        };
        let log = &world.logs[number];
        if *next >= log.len() {
            if std::mem::replace(is_told, true) {
                return Ok(SourceEvent::Idle);
            }
            return Ok(SourceEvent::CaughtUp(super::records::partition(number)));
        }
        if self.held.contains(&number) {
            return Ok(SourceEvent::Idle);
        }
        let until = log.len();
        let from = *next;
        let until = until.min(from + 1 + world.random.below(24));
        (*next, *is_told) = (until, false);
        Ok(SourceEvent::Batch(batch(&self.plan, number, &world.logs[number], from, until)))
    }

    fn start(&mut self, partition: &Partition, from: Option<Offset>) -> Result<(), SourceError> {
        let from = from.map_or(0, |offset| offset.0 as usize);
        self.reading.insert(partition.number as usize, (from, false));
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), SourceError> {
        for partition in partitions {
            self.reading.remove(&(partition.number as usize));
            self.held.remove(&(partition.number as usize));
        }
        self.world.lock().release(self.member, partitions);
        Ok(())
    }

    fn hold(&mut self, partition: &Partition, is_held: bool) -> Result<(), SourceError> {
        if is_held {
            self.held.insert(partition.number as usize);
            self.world.lock().note("held back");
        } else {
            self.held.remove(&(partition.number as usize));
        }
        Ok(())
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.world.lock().leave(self.member);
    }
}

/// A sink of transactions.
struct Transactions {
    world: Shared,
    member: u64,
}

impl Sink for Transactions {
    fn publish(&mut self, transaction: Transaction) -> Result<(), SinkError> {
        let published = self.world.lock().publish(self.member, transaction);
        published.map_err(|message| SinkError { message, blame: Blame::External, retriable: true })
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Loads the one model there is.
pub(super) struct SimulatedModels {
    pub(super) world: Shared,
}

impl Loader for SimulatedModels {
    fn load(&self, _: &ModelSpec) -> Result<Vec<Box<dyn Provider>>, LoadError> {
        let naive = ModelSpec::new("seasonal-naive");
        let info = tidecast_forecast::load(&crate::FAMILIES, &naive)?.info().clone();
        Ok(vec![Box::new(Model { world: self.world.clone(), info })])
    }
}

struct Model {
    world: Shared,
    info: ModelInfo,
}

impl Provider for Model {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn cost(&self, _: &ForecastTask) -> usize {
        1
    }

    fn forecast(&mut self, tasks: &[ForecastTask]) -> Vec<Result<Forecast, TaskError>> {
        let one = |task: &ForecastTask| {
            let mean = vec![vec![fake_forecast(&task.context.variates); task.horizon]];
            let quantiles = vec![mean.clone(); task.quantiles.len()];
            Ok(Forecast { mean, quantiles, ..Forecast::default() })
        };
        let mut answers: Vec<_> = tasks.iter().map(one).collect();
        let mut world = self.world.lock();
        if std::mem::take(&mut world.miscounts) {
            world.note("an answer too few");
            answers.pop();
        }
        answers
    }

    fn batch(&self) -> (usize, usize) {
        (1_000, 4)
    }
}

/// A store that hangs at times, and sees what is written.
pub(super) struct SimulatedStore {
    pub(super) world: Shared,
    pub(super) process: usize,
    pub(super) clock: Clock,
    pub(super) inner: Arc<InMemory>,
}

impl SimulatedStore {
    async fn answers(&self) {
        while self.world.lock().store_hangs {
            self.clock.sleep_until(self.clock.now() + Duration::from_secs(1)).await;
        }
    }
}

impl fmt::Display for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

impl fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.answers().await;
        self.world.lock().write(self.process, location.to_string());
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.answers().await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
