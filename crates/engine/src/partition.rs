//! The work on one partition, without actors: rebuild what is out already, then
//! hand on what is due, part by part.

use std::time::{Duration, Instant};

use tidecast_actors::{Clock, Failure, Scope};
use tidecast_sql::{PartLimit, PipelinePlan, ReplayPoint, SeriesContext, Windower, WindowerOutput};
use tidecast_stream::{
    BadRecord, Checkpoint, LateRecord, Offset, OffsetRange, Partition, PartitionCommit,
    SourceBatch, Watermark,
};

use crate::commit::{self, Part, Resume, WindowDigests};
use crate::fault::{Fault, is_injected};
use crate::message::forecast_id;
use crate::snapshots::Snapshots;

/// How long to wait for snapshots: reading the topic again is the other way.
const PATIENCE: Duration = Duration::from_secs(30);

/// A partition while it is ours.
#[derive(Debug)]
pub(crate) struct PartitionWork {
    pipeline: String,
    partition: Partition,
    windower: Windower,
    /// Until this offset records only rebuild the state: what they trigger is out
    /// already. `None` from there on.
    replaying_until: Option<Offset>,
    /// What records that are there already came to, while they only fill the contexts: of a
    /// new pipeline that is to begin warm.
    warming: Option<Warming>,
    /// Where reading begins, if what was committed says so.
    reads_from: Option<Offset>,
    /// How far everything is handed on.
    checkpoint: Checkpoint,
    /// What windows follow from, for the next owner to see.
    windows: WindowDigests,
    /// What is under way, with what commits of its parts build on.
    base: Option<Base>,
    /// What the last owner had out beyond the committed offset.
    left: Option<Part>,
    /// Late rows and those that could not be used of what is under way. They leave with
    /// its last part: commits in the middle count forecasts alone.
    late: Vec<LateRecord>,
    bad: Vec<BadRecord>,
}

/// Where commits in the middle of what records trigger stand: a place where all was
/// out, and how much behind it is.
#[derive(Debug, Clone)]
struct Base {
    offset: Offset,
    replay: ReplayPoint,
    /// Where the wall clock moved the watermark to at this offset, if that is what
    /// is under way.
    close: Option<Watermark>,
    /// Forecasts that were handed on or skipped since.
    passed: u64,
    /// The first bits of the id of the last of them.
    last: u32,
    /// Forecasts that an earlier owner has out, and those bits of the last of them.
    out: (u64, u32),
}

/// What records came to that only fill contexts.
#[derive(Debug)]
struct Warming {
    clock: Clock,
    since: Instant,
    records: usize,
    bad: usize,
    /// Why the first of the bad ones is.
    reason: String,
}

impl Warming {
    fn new(clock: &Clock) -> Self {
        let (clock, since) = (clock.clone(), clock.now());
        Self { clock, since, records: 0, bad: 0, reason: String::new() }
    }

    fn add(&mut self, batch: &SourceBatch) {
        self.records += batch.rows.num_rows();
        if let Some(first) = batch.bad.first().filter(|_| self.bad == 0) {
            self.reason.clone_from(&first.error);
        }
        self.bad += batch.bad.len();
    }
}

/// What a stretch of a partition led to, or a part of it.
#[derive(Debug)]
pub(crate) struct Triggered {
    pub(crate) output: WindowerOutput,
    /// How far the partition is once this is out.
    pub(crate) commit: PartitionCommit,
    /// Whether nothing of the stretch follows.
    pub(crate) is_last: bool,
}

impl PartitionWork {
    /// Takes a partition over from what its last owner committed; returns where to
    /// read from, if that does not depend on the source's startup position.
    ///
    /// # Errors
    /// If the state was built by another query, unless it may be `reset`.
    pub(crate) async fn begin(
        plan: &PipelinePlan,
        partition: Partition,
        commit: Option<&PartitionCommit>,
        snapshots: Option<&Snapshots>,
        reset: bool,
        scope: &Scope,
    ) -> Result<(Self, Option<Offset>), Failure> {
        let mut resume = commit::resume(commit);
        let windows = WindowDigests::of(plan);
        if is_injected(Fault::ForgetsCloses) {
            resume.replay.iter_mut().for_each(|replay| replay.closes.clear());
        }
        check_windows(&partition, &mut resume, &windows, reset)?;
        let mut windower =
            Windower::new(plan).map_err(Failure::fatal)?.of_partition(partition.clone());
        let restored = match (snapshots, resume.committed) {
            (None, _) => None,
            // Snapshots are of another life of the topic or of the group, and go.
            (Some(snapshots), None) => {
                let cleared = snapshots.clear(&partition);
                patiently(plan, &partition, scope.clock(), cleared).await;
                None
            }
            (Some(snapshots), Some(committed)) => {
                let point = resume.replay.clone().unwrap_or_default();
                let restored = snapshots.restore(&partition, committed, &point, &mut windower);
                patiently(plan, &partition, scope.clock(), restored).await.flatten()
            }
        };
        let mut read_from = restored.or(resume.read_from());
        if let (None, Some(replay)) = (restored, &resume.replay) {
            windower.restore(replay).map_err(Failure::fatal)?;
        }
        if is_injected(Fault::ReplaysNothing) {
            read_from = resume.committed;
        }
        tracing::info!(
            pipeline = %plan.name,
            %partition,
            committed = ?resume.committed.map(|offset| offset.0),
            read_from = ?read_from.map(|offset| offset.0),
            out = resume.part.map(|part| part.out),
            "partition assigned"
        );
        let is_replaying = resume.committed.filter(|_| !is_injected(Fault::EmitsWhileReplaying));
        let left = resume.part.filter(|_| !is_injected(Fault::ForgetsParts));
        let base = resume.committed.map(|offset| Base {
            offset,
            replay: resume.replay.unwrap_or_default(),
            close: left.and_then(|part| part.close),
            passed: 0,
            last: 0,
            out: left.map_or((0, 0), |part| (part.out, part.last)),
        });
        let work = Self {
            pipeline: plan.name.clone(),
            partition,
            windower,
            replaying_until: is_replaying,
            warming: (plan.warms_up() && resume.committed.is_none())
                .then(|| Warming::new(scope.clock())),
            reads_from: read_from,
            checkpoint: Checkpoint::default(),
            windows,
            base,
            left,
            late: Vec::new(),
            bad: Vec::new(),
        };
        Ok((work, read_from))
    }

    /// Takes records, which were there before the partition was caught up with if it is
    /// `is_backfill`; `false` while they only rebuild. What they trigger is then to be taken with
    /// [`take_part`](Self::take_part), to its end.
    ///
    /// # Errors
    /// If the batch does not follow the one before, or is not of the source's schema.
    pub(crate) fn on_batch(
        &mut self,
        batch: SourceBatch,
        is_backfill: bool,
    ) -> Result<bool, Failure> {
        let first = batch.range.start();
        self.checkpoint.extend(&self.partition, batch.range).map_err(Failure::retriable)?;
        if let Some(warming) = self.warming.as_mut().filter(|_| is_backfill) {
            warming.add(&batch);
            self.rebuild(&batch)?;
            return Ok(false);
        }
        self.end_warming();
        let batch = match self.replaying_until {
            None => batch,
            Some(until) if batch.range.end() < until => {
                self.rebuild(&batch)?;
                return Ok(false);
            }
            Some(until) => {
                // The batch reaches the committed offset: what stands before it only
                // rebuilds, what stands behind it counts.
                let (before, after) = split(&batch, until);
                self.rebuild(&before)?;
                self.replaying_until = None;
                after
            }
        };
        if self.base.is_none() {
            self.set_base(first);
        }
        self.repeat_close()?;
        self.windower.feed(&batch).map_err(Failure::retriable)?;
        // What the source could not decode leaves in the same transaction.
        self.windower.reject(batch.bad);
        Ok(true)
    }

    /// Closes what has begun, or at the end of a bounded source everything; `false`
    /// if there is no state yet.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub(crate) fn on_close(&mut self, finish: bool) -> Result<bool, Failure> {
        let Some(position) = self.position() else {
            return Ok(false);
        };
        self.end_warming();
        match self.replaying_until.take() {
            // Nothing was written since the commit: all that is left to rebuild are
            // closes of the wall clock behind the last record.
            Some(until) if position >= until => {
                self.windower.repeat_closes(position).map_err(Failure::retriable)?;
                self.windower.discard_parts().map_err(Failure::retriable)?;
            }
            // Caught up below the committed offset: the topic was truncated or
            // recreated. Its records count from here on.
            Some(_) if !finish => {
                tracing::warn!(
                    partition = %self.partition,
                    position = %position,
                    "the partition ends before the committed offset; it was recreated or truncated"
                );
                (self.left, self.base) = (None, None);
            }
            _ => {}
        }
        if self.base.is_none() {
            self.set_base(position);
        }
        self.repeat_close()?;
        let fed = if finish { self.windower.feed_end() } else { self.windower.feed_idle() };
        fed.map_err(Failure::retriable)?;
        let watermark = self.windower.watermark();
        if let Some(base) = self.base.as_mut().filter(|base| base.offset == position) {
            base.close = Some(watermark);
        }
        Ok(true)
    }

    /// Returns the next part of what was triggered, and whether it is the last.
    ///
    /// # Errors
    /// If a result cannot be assembled, which is a bug.
    pub(crate) fn take_part(&mut self, limit: PartLimit) -> Result<Triggered, Failure> {
        let mut output = self.windower.take_part(limit).map_err(Failure::retriable)?;
        self.pass(&mut output.contexts);
        self.late.append(&mut output.late);
        self.bad.append(&mut output.bad);
        let is_last = !self.windower.has_more();
        if is_last {
            output.late = std::mem::take(&mut self.late);
            output.bad = std::mem::take(&mut self.bad);
            let position = self.position().unwrap_or_default();
            self.set_base(position);
        }
        let commit = self.commit();
        Ok(Triggered { output, commit, is_last })
    }

    /// Returns how far the state goes. A state that was restored whole needs no record for
    /// that: none may come for long.
    fn position(&self) -> Option<Offset> {
        let is_whole = |from: &Offset| self.replaying_until.is_none_or(|until| *from >= until);
        self.checkpoint.position(&self.partition).or(self.reads_from.filter(is_whole))
    }

    /// Returns the commit of everything that was taken so far.
    pub(crate) fn commit(&self) -> PartitionCommit {
        let Some(base) = &self.base else {
            return PartitionCommit::new(self.partition.clone(), Offset::default());
        };
        let (out, last) =
            if base.passed < base.out.0 { base.out } else { (base.passed, base.last) };
        let part = (out > 0).then_some(Part { out, last, close: base.close });
        let replay = base.replay.clone();
        PartitionCommit {
            partition: self.partition.clone(),
            offset: base.offset,
            metadata: commit::metadata(replay, &self.windows, part),
        }
    }

    /// Lets commits build on the present state. What an earlier owner has out beyond it
    /// goes over.
    fn set_base(&mut self, offset: Offset) {
        let out = self
            .base
            .as_ref()
            .map_or((0, 0), |base| (base.out.0.saturating_sub(base.passed), base.out.1));
        let replay = self.windower.replay_point();
        self.base = Some(Base { offset, replay, close: None, passed: 0, last: 0, out });
    }

    /// Says what the records came to that have only filled contexts, if that ends.
    fn end_warming(&mut self) {
        let Some(Warming { clock, since, records, bad, reason }) = self.warming.take() else {
            return;
        };
        let seconds = clock.now().duration_since(since).as_secs_f64();
        let (pipeline, partition) = (&self.pipeline, &self.partition);
        tracing::info!(
            %pipeline, %partition, records, seconds, series = self.windower.series(),
            "contexts are filled from what was there; forecasts begin"
        );
        if bad > 0 {
            tracing::warn!(
                %pipeline, %partition, bad, reason,
                "some of the records that contexts were filled from could not be used"
            );
        }
    }

    /// Does again what the wall clock had begun when the last owner went.
    fn repeat_close(&mut self) -> Result<(), Failure> {
        match self.left.take().and_then(|part| part.close) {
            Some(watermark) => self.windower.feed_watermark(watermark).map_err(Failure::retriable),
            None => Ok(()),
        }
    }

    /// Takes out of the contexts what an earlier owner has out, and counts the rest.
    fn pass(&mut self, contexts: &mut Vec<SeriesContext>) {
        let Some(base) = &mut self.base else { return };
        let first_bits = |context: &SeriesContext| {
            let id = forecast_id(&self.pipeline, &context.key, context.origin, 0, &self.partition);
            let [a, b, c, d, ..] = id.0;
            u32::from_be_bytes([a, b, c, d])
        };
        let to_skip = base.out.0.saturating_sub(base.passed);
        let skipped = contexts.len().min(usize::try_from(to_skip).unwrap_or(usize::MAX));
        base.passed += contexts.len() as u64;
        if let Some(newest) = contexts.last() {
            base.last = first_bits(newest);
        }
        if skipped as u64 == to_skip
            && let Some(last) = skipped.checked_sub(1).and_then(|last| contexts.get(last))
            && first_bits(last) != base.out.1
        {
            tracing::error!(
                pipeline = %self.pipeline, partition = %self.partition, offset = %base.offset,
                out = base.out.0,
                "the records behind the committed offset are not those that were there: some \
                 forecasts of the close that was under way may be missing"
            );
        }
        contexts.drain(..skipped);
    }

    /// Takes records whose outcome is out already.
    fn rebuild(&mut self, batch: &SourceBatch) -> Result<(), Failure> {
        self.windower.feed(batch).map_err(Failure::retriable)?;
        self.windower.discard_parts().map_err(Failure::retriable)
    }

    pub(crate) fn partition(&self) -> &Partition {
        &self.partition
    }

    pub(crate) fn windower(&self) -> &Windower {
        &self.windower
    }

    pub(crate) fn windower_mut(&mut self) -> &mut Windower {
        &mut self.windower
    }

    /// Whether records still only rebuild.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replaying_until.is_some()
    }
}

/// Waits for the store of snapshots as long as is sensible.
async fn patiently<T>(
    plan: &PipelinePlan,
    partition: &Partition,
    clock: &Clock,
    asked: impl Future<Output = T>,
) -> Option<T> {
    let answer = clock.until(clock.now() + PATIENCE, asked).await;
    if answer.is_none() {
        crate::observe::snapshot(&plan.name, partition, None);
        tracing::warn!(
            pipeline = %plan.name, %partition, patience = ?PATIENCE,
            "the store of snapshots does not answer; the topic is read again instead"
        );
    }
    answer
}

/// Sees whether the state was built by the query that is to go on with it; if not and
/// it may be reset, it is left behind.
fn check_windows(
    partition: &Partition,
    resume: &mut Resume,
    windows: &WindowDigests,
    reset: bool,
) -> Result<(), Failure> {
    let (changed, Some(committed)) = (resume.windows.changed(windows), resume.committed) else {
        return Ok(());
    };
    if changed.is_empty() {
        return Ok(());
    }
    let changed = changed.join(" and ");
    if reset {
        tracing::warn!(
            %partition, changed, offset = %committed,
            "contexts and open windows are left behind: they were built by another query"
        );
        // Windows that ended before stay done with: they were forecast.
        let floor = resume.replay.take().map(|replay| replay.floor).unwrap_or_default();
        resume.replay = Some(ReplayPoint { floor, ..ReplayPoint::default() });
        resume.part = None;
        return Ok(());
    }
    Err(Failure::fatal(format!(
        "`{partition}`: {changed} changed since offset {committed} was committed, and the contexts \
         and open windows behind it do not fit any more; give the pipeline another name, or start \
         it once with --reset-state: contexts are then empty and windows begin at that offset, \
         without what came before"
    )))
}

/// Cuts a batch in two at `offset`.
fn split(batch: &SourceBatch, offset: Offset) -> (SourceBatch, SourceBatch) {
    let rows = batch.offsets.values().partition_point(|row| *row < offset.0);
    let part = |from: usize, to: usize, range: Option<OffsetRange>, before: bool| SourceBatch {
        partition: batch.partition.clone(),
        range: range.unwrap_or(batch.range),
        rows: batch.rows.slice(from, to - from),
        offsets: batch.offsets.slice(from, to - from),
        timestamps: batch.timestamps.slice(from, to - from),
        bad: batch
            .bad
            .iter()
            .filter(|bad| (bad.position.offset < offset) == before)
            .cloned()
            .collect(),
        payload_bytes: 0,
    };
    let cut = offset.clamp(batch.range.start(), batch.range.end());
    (
        part(0, rows, OffsetRange::new(batch.range.start(), cut), true),
        part(rows, batch.rows.num_rows(), OffsetRange::new(cut, batch.range.end()), false),
    )
}
