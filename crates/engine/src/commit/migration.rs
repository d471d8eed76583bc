//! State of older builds, gone on with by this one.
//!
//! `tests/state` holds three pipelines, 120 records, and what the builds f978822 and
//! 2114f7d made of them, reading ten at a time and finding the partition idle behind the
//! 50th record: the snapshot behind the 70th, and the metadata of the commit behind the
//! 80th. Both builds marked state by lines of `explain` and `Debug` texts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use serde_json::Value;
use tidecast_actors::{Failure, Scope};
use tidecast_sql::window::read_head;
use tidecast_sql::{PartLimit, PipelinePlan, ReplayPoint, SnapshotError, Windower, parse_scripts};
use tidecast_stream::{Offset, OffsetRange, Partition, PartitionCommit, SourceBatch};

use super::WindowDigests;
use crate::partition::{PartitionWork, Triggered};
use crate::snapshots::{SnapshotStore, Snapshots, StorePlace};

const PIPELINES: [&str; 3] = ["average", "counted", "ahead"];
const RECORDS: usize = 120;
const IDLE: usize = 50;
const TAKEN: i64 = 70;
const COMMITTED: usize = 80;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state")
}

fn script(pipeline: &str) -> String {
    fs::read_to_string(folder().join(format!("{pipeline}.sql"))).expect("a script")
}

fn plan(script: String) -> PipelinePlan {
    parse_scripts(&[("test.sql".to_owned(), script)], &crate::MODELS)
        .expect("a valid script")
        .remove(0)
}

fn partition() -> Partition {
    Partition::new("readings", 0)
}

fn commit(build: &str, pipeline: &str) -> PartitionCommit {
    let path = folder().join(build).join(format!("{pipeline}.{COMMITTED}.json"));
    let metadata = fs::read_to_string(path).expect("a commit's metadata");
    PartitionCommit { partition: partition(), offset: Offset(COMMITTED as i64), metadata }
}

fn snapshot(build: &str, pipeline: &str) -> Vec<u8> {
    let path = folder().join(build).join(format!("{pipeline}.{TAKEN}.arrow"));
    fs::read(path).expect("a snapshot")
}

/// All that was triggered, in one part.
fn whole(work: &mut PartitionWork) -> Triggered {
    let whole = work.take_part(PartLimit::NONE).expect("a part");
    assert!(whole.is_last);
    whole
}

/// Takes the partition over.
async fn begin(
    plan: &PipelinePlan,
    commit: Option<&PartitionCommit>,
    snapshots: Option<&Snapshots>,
) -> Result<(PartitionWork, Option<Offset>), Failure> {
    PartitionWork::begin(plan, partition(), commit, snapshots, false, &Scope::new()).await
}

/// The records, and what is compared of what they lead to.
struct Run<'a> {
    plan: &'a PipelinePlan,
    records: Vec<Value>,
    /// Whether what came before contexts is compared, too.
    with_prior: bool,
}

impl<'a> Run<'a> {
    fn new(plan: &'a PipelinePlan, with_prior: bool) -> Self {
        let text = fs::read_to_string(folder().join("records.jsonl")).expect("records");
        let records: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        Self { plan, records: records.expect("JSON lines"), with_prior }
    }

    fn batch(&self, from: usize, to: usize) -> SourceBatch {
        let rows = &self.records[from..to];
        let texts = |name: &str| -> ArrayRef {
            Arc::new(rows.iter().map(|row| row[name].as_str()).collect::<StringArray>())
        };
        let wholes = |name: &str| rows.iter().map(|row| row[name].as_i64()).collect::<Vec<_>>();
        let floats = rows.iter().map(|row| row["kw"].as_f64()).collect::<Float64Array>();
        let columns: Vec<ArrayRef> = vec![
            texts("site"),
            texts("kind"),
            Arc::new(floats),
            Arc::new(Int64Array::from(wholes("n"))),
            Arc::new(TimestampMicrosecondArray::from(wholes("ts"))),
        ];
        SourceBatch {
            partition: partition(),
            range: OffsetRange::new(Offset(from as i64), Offset(to as i64)).expect("a range"),
            rows: RecordBatch::try_new(Arc::clone(&self.plan.source.schema), columns)
                .expect("rows"),
            offsets: Int64Array::from_iter_values(from as i64..to as i64),
            timestamps: Int64Array::from(vec![None; rows.len()]),
            bad: Vec::new(),
            payload_bytes: 0,
        }
    }

    fn words(&self, stretch: &Triggered) -> Vec<String> {
        let output = &stretch.output;
        let contexts = output.contexts.iter().map(|context| {
            let mut context = context.clone();
            if !self.with_prior {
                context.prior.clear();
            }
            format!("{context:?}")
        });
        let late = output.late.iter().map(|late| format!("{late:?}"));
        contexts.chain(late).chain(output.bad.iter().map(|bad| format!("{bad:?}"))).collect()
    }

    /// Reads from `from` to the end; returns what comes out behind the committed offset,
    /// and the last commit.
    fn go_on(&self, work: &mut PartitionWork, mut from: usize) -> (Vec<String>, PartitionCommit) {
        let is_calm = from == 0;
        let (mut words, mut last) = (Vec::new(), None);
        while from < RECORDS {
            let to = (from / 10 + 1) * 10;
            let batch = self.batch(from, to);
            let mut stretches = Vec::new();
            if work.on_batch(batch, false).expect("records are taken") {
                stretches.push(whole(work));
            }
            if is_calm && to == IDLE && work.on_close(false).expect("windows close") {
                stretches.push(whole(work));
            }
            for stretch in stretches {
                if to > COMMITTED {
                    words.extend(self.words(&stretch));
                }
                last = Some(stretch.commit);
            }
            from = to;
        }
        assert!(work.on_close(true).expect("windows close"), "something was read");
        words.extend(self.words(&whole(work)));
        (words, last.expect("a commit"))
    }

    /// Returns what this build says of the same records that nothing disturbed.
    async fn calm(&self) -> Vec<String> {
        let begun = begin(self.plan, None, None).await;
        let (mut work, from) = begun.expect("a windower");
        assert_eq!(from, None);
        self.go_on(&mut work, 0).0
    }
}

#[tokio::test]
async fn commits_of_older_builds_are_gone_on_with() {
    for (build, pipeline) in ["f978822", "2114f7d"].iter().flat_map(|b| PIPELINES.map(|p| (b, p))) {
        let plan = plan(script(pipeline));
        let run = Run::new(&plan, false);
        let commit = commit(build, pipeline);
        assert!(commit.metadata.contains(r#""windows":{"the series":""#), "{commit:?}");
        let begun = begin(&plan, Some(&commit), None).await;
        let (mut work, from) = begun.unwrap_or_else(|e| panic!("{build}, {pipeline}: {e}"));
        let said: Value = serde_json::from_str(&commit.metadata).expect("JSON");
        assert_eq!(from.map(|offset| offset.0), said["replay"]["from"].as_i64());
        let from = from.map_or(COMMITTED, |offset| offset.0 as usize);
        assert!(0 < from && from < COMMITTED, "it reads again from {from}");
        let (words, last) = run.go_on(&mut work, from);
        assert!(words.len() > 5, "{words:#?}");
        assert_eq!(words, run.calm().await, "{build}, {pipeline}");
        // What is written is the new form alone.
        assert!(!last.metadata.contains(r#""windows""#), "{last:?}");
        assert!(last.metadata.contains(r#""identity":{"the series":"v2:"#), "{last:?}");
    }
}

/// Puts an older build's snapshot where that build had it, and takes the partition over.
async fn taken_over(build: &str, pipeline: &str) -> (PipelinePlan, PartitionWork, Offset) {
    let plan = plan(script(pipeline));
    let memory = object_store::memory::InMemory::new();
    let store = SnapshotStore::on(Arc::new(memory));
    let content = snapshot(build, pipeline);
    store.write(&plan.name, &partition(), Offset(TAKEN), content).await.expect("memory takes it");
    let snapshots = Snapshots {
        pipeline: plan.name.clone(),
        place: StorePlace::of(store),
        interval: std::time::Duration::from_secs(1),
    };
    let commit = commit(build, pipeline);
    let begun = begin(&plan, Some(&commit), Some(&snapshots)).await;
    let (work, from) = begun.unwrap_or_else(|e| panic!("{build}, {pipeline}: {e}"));
    (plan, work, from.expect("an offset"))
}

#[tokio::test]
async fn snapshots_of_format_3_with_the_older_digests_are_restored() {
    for pipeline in PIPELINES {
        let (plan, mut work, from) = taken_over("2114f7d", pipeline).await;
        let head = read_head(&snapshot("2114f7d", pipeline)).expect("a head");
        assert_eq!((head.identity_version, from), (1, head.read_from()), "{pipeline}");
        assert!(work.windower().series() > 0, "{pipeline}: it has the snapshot's series");
        // The sums of what came before contexts are in it, and go on as well.
        let run = Run::new(&plan, true);
        let (words, _) = run.go_on(&mut work, from.0 as usize);
        assert_eq!(words, run.calm().await, "{pipeline}");
    }
}

/// f978822 kept values rounded to 32 bits (format 2). They could be read and widened, but
/// not made what they were: contexts would differ from those of a run that nothing
/// disturbed until the last rounded value has left them, in steps that a chart shows
/// (16,777,217 is 16,777,216). The records are still in the topic, and reading from where
/// the commit says costs a restart some seconds once. So it stays refused.
#[tokio::test]
async fn snapshots_of_format_2_are_passed_over_and_the_topic_is_read_again() {
    for pipeline in PIPELINES {
        let (plan, mut work, from) = taken_over("f978822", pipeline).await;
        let refused = Windower::new(&plan)
            .expect("a windower")
            .restore_snapshot(&snapshot("f978822", pipeline), &ReplayPoint::default());
        assert_eq!(refused, Err(SnapshotError::Format { found: 2 }));
        assert!(from.0 < TAKEN, "{pipeline}: from {from}, before the snapshot");
        let run = Run::new(&plan, false);
        let (words, _) = run.go_on(&mut work, from.0 as usize);
        assert_eq!(words, run.calm().await, "{pipeline}");
    }
    let plan = plan(script("average"));
    let records = Run::new(&plan, false).records;
    let mut values = records.iter().filter_map(|record| record["kw"].as_f64());
    assert!(values.any(|kw| f64::from(kw as f32) != kw), "32 bits hold less");
}

/// As the canonical form itself (`crates/sql/tests/identity.rs`), its digests are pinned:
/// they are in the offsets that users have committed.
#[test]
fn the_digests_of_a_commit_are_pinned() {
    let digests = WindowDigests::of(&plan(script("average")));
    let text = super::metadata(ReplayPoint::default(), &digests, None);
    let identity = [
        r#""the series":"v2:4b6ff184""#,
        r#""the time":"v2:8ca5d815""#,
        r#""the watermark":"v2:5f8d70c7""#,
        r#""the window query":"v2:73fdd025""#,
        r#""timestamp.unit":"v2:929260ad""#,
    ];
    let expected = format!(r#""identity":{{{}}}}}"#, identity.join(","));
    assert!(text.ends_with(&expected), "{text}");
}

#[tokio::test]
async fn another_query_is_refused_whatever_the_form_of_the_digests() {
    let script = script("average");
    let changes = [
        ("avg(r.kw) * 2", "avg(r.kw) * 3", "the window query"),
        ("INTERVAL '1' MINUTE", "INTERVAL '2' MINUTE", "the window query"),
        ("r.kw > 1 AND", "r.kw > 1 OR", "the window query"),
        ("INTERVAL '30' SECOND", "INTERVAL '31' SECOND", "the watermark"),
        ("'format'='json'", "'format'='json', 'timestamp.unit'='ms'", "timestamp.unit"),
    ];
    let older = commit("f978822", "average");
    let plan_before = plan(script.clone());
    let begun = begin(&plan_before, Some(&older), None).await;
    let (mut work, from) = begun.expect("a windower");
    let from = from.expect("an offset").0 as usize;
    let (_, ours) = Run::new(&plan_before, false).go_on(&mut work, from);
    for (part, other, what) in changes {
        assert!(script.contains(part), "{part}");
        let plan = plan(script.replace(part, other));
        for commit in [&older, &ours] {
            let begun = begin(&plan, Some(commit), None).await;
            let refused = begun.err().map(|failure| failure.to_string());
            // The older builds did not write it down.
            if what == "timestamp.unit" && commit == &older {
                assert_eq!(refused, None);
                continue;
            }
            let refused = refused.unwrap_or_else(|| panic!("{other} was taken"));
            assert!(refused.contains(&format!("{what} changed since offset")), "{refused}");
        }
    }
}
