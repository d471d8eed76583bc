//! Where snapshots of windowers lie, and which of them is of use.
//!
//! `<pipeline>/<topic>/<partition>/<offset>.<SHA-256 of the content>.arrow`, in a folder
//! or whatever the store is. A snapshot is of use to a partition that was committed at
//! or behind its offset. Nothing depends on them but the time a restart takes and the
//! mean of what came before contexts: whoever finds none reads again from where the
//! commit's metadata says.

mod place;
mod taking;
mod writer;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tidecast_sql::{ReplayPoint, Windower};
use tidecast_stream::{Offset, Partition};

pub(crate) use self::taking::SnapshotTimer;
pub(crate) use self::writer::{CommittedSnapshot, SnapshotWriter, Snapshots};

/// How the names of snapshots end.
const SUFFIX: &str = "arrow";

/// Why the store of snapshots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The place is none.
    #[error(
        "`state.url` is `{url}`: {reason}; expected a folder, `file:///folder`, `s3://bucket/folder` (`gs://`, `az://`) or `off`"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A state cannot be written down, which is a bug.
    #[error("a snapshot cannot be encoded: {reason}")]
    Encode {
        /// What is wrong.
        reason: String,
    },
    /// The store refused.
    #[error("the snapshots in `{place}`: {reason}")]
    Store {
        /// The store's folder.
        place: String,
        /// Its words, which repeat those of the causes.
        reason: String,
    },
}

/// One snapshot in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The pipeline.
    pub pipeline: String,
    /// The partition.
    pub partition: Partition,
    /// Records before this offset are in it.
    pub offset: Offset,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written.
    pub written: SystemTime,
    path: Path,
    digest: String,
}

impl SnapshotFile {
    /// Returns its name in the store.
    pub fn name(&self) -> &str {
        self.path.as_ref()
    }
}

/// The snapshots of all pipelines.
#[derive(Clone)]
pub struct SnapshotStore {
    store: Arc<dyn ObjectStore>,
    place: String,
}

impl fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotStore[{}]", self.place)
    }
}

impl SnapshotStore {
    /// Opens a folder, given as a path or as `file://`, which is made if need be, or a
    /// place in a cloud, with what the environment says of it (`AWS_ACCESS_KEY_ID`,
    /// `AWS_ENDPOINT` and so on, as [`object_store`] reads them).
    ///
    /// # Errors
    /// If it is another kind of place, or cannot be made.
    pub fn open(url: &str) -> Result<Self, StateError> {
        let store =
            place::open(url).map_err(|reason| StateError::Url { url: url.to_owned(), reason })?;
        Ok(Self { store, place: url.to_owned() })
    }

    /// A store of the simulation's.
    #[cfg(test)]
    pub(crate) fn on(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, place: "memory".to_owned() }
    }

    /// Changes a snapshot's content behind its back.
    #[cfg(test)]
    pub(crate) async fn damage(&self, file: &SnapshotFile) {
        self.store.put(&file.path, vec![0; 9].into()).await.expect("memory takes it");
    }

    fn failed(&self) -> impl Fn(object_store::Error) -> StateError + '_ {
        |error| StateError::Store { place: self.place.clone(), reason: error.to_string() }
    }

    /// Writes a snapshot. A name appears only when its content is whole.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn write(
        &self,
        pipeline: &str,
        partition: &Partition,
        offset: Offset,
        content: Vec<u8>,
    ) -> Result<(), StateError> {
        let name = format!("{:020}.{}.{SUFFIX}", offset.0, digest(&content));
        let path = folder(pipeline, Some(partition)).join(name);
        self.store.put(&path, content.into()).await.map_err(self.failed())?;
        Ok(())
    }

    /// Returns the snapshots of all pipelines, of one, or of one partition, the
    /// newest of a partition first.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn list(
        &self,
        pipeline: Option<&str>,
        partition: Option<&Partition>,
    ) -> Result<Vec<SnapshotFile>, StateError> {
        let prefix = pipeline.map(|pipeline| folder(pipeline, partition));
        let listed = self.store.list(prefix.as_ref());
        let found: Vec<object_store::ObjectMeta> =
            listed.try_collect().await.map_err(self.failed())?;
        let mut files: Vec<SnapshotFile> = found.into_iter().filter_map(file).collect();
        files.sort_by(|a, b| {
            let place = |f: &SnapshotFile| (f.pipeline.clone(), f.partition.clone());
            place(a).cmp(&place(b)).then(b.offset.cmp(&a.offset)).then(b.written.cmp(&a.written))
        });
        Ok(files)
    }

    /// Reads a snapshot; `None` if its content is not what was written.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn read(&self, file: &SnapshotFile) -> Result<Option<Vec<u8>>, StateError> {
        let found = self.store.get(&file.path).await.map_err(self.failed())?;
        let content = found.bytes().await.map_err(self.failed())?;
        Ok((digest(&content) == file.digest).then(|| content.to_vec()))
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn delete(&self, file: &SnapshotFile) -> Result<(), StateError> {
        self.store.delete(&file.path).await.map_err(self.failed())
    }

    /// Deletes what no restart can need: of those at or before the committed offset
    /// all but the newest. Newer ones stay, for the offset moves on. Returns what was
    /// deleted.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn prune(
        &self,
        pipeline: &str,
        partition: &Partition,
        committed: Offset,
    ) -> Result<Vec<SnapshotFile>, StateError> {
        let files = self.list(Some(pipeline), Some(partition)).await?;
        let useless: Vec<SnapshotFile> =
            files.into_iter().filter(|file| file.offset <= committed).skip(1).collect();
        for file in &useless {
            self.delete(file).await?;
        }
        Ok(useless)
    }

    /// Deletes what a partition without a committed offset has: its topic or its
    /// group was deleted since, and the offsets in the names are those of other records.
    pub(crate) async fn clear(&self, pipeline: &str, partition: &Partition) {
        let cleared = async {
            let files = self.list(Some(pipeline), Some(partition)).await?;
            for file in &files {
                self.delete(file).await?;
            }
            Ok::<usize, StateError>(files.len())
        };
        match cleared.await {
            Ok(0) => {}
            Ok(files) => tracing::warn!(
                pipeline, %partition, files,
                "nothing is committed: the snapshots of an earlier topic or group are deleted"
            ),
            Err(error) => tracing::warn!(
                pipeline, %partition, %error,
                "snapshots of an earlier topic or group cannot be deleted; `tidecast state gc --keep 0` tries again"
            ),
        }
    }

    /// Gives a windower the state of the newest snapshot that is of use to it, and
    /// returns the offset to read from; `None` if there is none. One that cannot be
    /// used is named in the log, and the one before it is tried.
    pub(crate) async fn restore(
        &self,
        pipeline: &str,
        partition: &Partition,
        committed: Offset,
        point: &ReplayPoint,
        windower: &mut Windower,
    ) -> Option<Offset> {
        let files = match self.list(Some(pipeline), Some(partition)).await {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(pipeline, %partition, %error, "snapshots cannot be listed");
                return None;
            }
        };
        let mut has_refused = false;
        for file in files.iter().filter(|file| file.offset <= committed) {
            has_refused = true;
            let refused = match self.read(file).await {
                Ok(Some(content)) => match windower.restore_snapshot(&content, point) {
                    Ok(from) => {
                        let (snapshot, series) = (file.offset.0, windower.series());
                        tracing::info!(pipeline, %partition, snapshot, series, "state restored");
                        return Some(from);
                    }
                    Err(error) => error.to_string(),
                },
                Ok(None) => "damaged: its content is not what was written".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(
                pipeline,
                %partition,
                file = file.name(),
                reason = refused,
                "a snapshot cannot be used; the one before it is tried"
            );
        }
        if has_refused {
            tracing::warn!(
                pipeline, %partition,
                "no snapshot is left: windows and contexts are built from records that are read \
                 again, the mean that stands in for missing steps from these alone"
            );
        }
        None
    }
}

/// Where the store is, which may not be at hand.
#[derive(Debug, Clone)]
pub(crate) struct StorePlace {
    url: String,
    store: Arc<OnceLock<SnapshotStore>>,
}

impl StorePlace {
    /// Returns the place `state.url` says.
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), store: Arc::default() }
    }

    /// Returns the place of a store that is open.
    #[cfg(test)]
    pub(crate) fn of(store: SnapshotStore) -> Self {
        Self { url: store.place.clone(), store: Arc::new(store.into()) }
    }

    /// Opens the store unless it is open. A folder that does not answer blocks a thread
    /// that nobody waits for.
    async fn open(&self) -> Result<SnapshotStore, StateError> {
        if let Some(store) = self.store.get() {
            return Ok(store.clone());
        }
        let url = self.url.clone();
        let opened = tokio::task::spawn_blocking(move || SnapshotStore::open(&url)).await;
        let failed = |reason: String| StateError::Store { place: self.url.clone(), reason };
        let store = opened.map_err(|panic| failed(panic.to_string()))??;
        Ok(self.store.get_or_init(|| store).clone())
    }
}

/// Returns the folder of a pipeline's snapshots, or of a partition's.
fn folder(pipeline: &str, partition: Option<&Partition>) -> Path {
    let path = Path::default().join(pipeline);
    match partition {
        None => path,
        Some(partition) => {
            path.join(partition.topic.to_string()).join(partition.number.to_string())
        }
    }
}

/// Reads a name; `None` for what is no snapshot.
fn file(found: object_store::ObjectMeta) -> Option<SnapshotFile> {
    let parts: Vec<String> = found.location.parts().map(|part| part.as_ref().to_owned()).collect();
    let [pipeline, topic, number, name] = parts.as_slice() else { return None };
    let mut words = name.split('.');
    let (offset, digest, suffix) = (words.next()?, words.next()?, words.next()?);
    if suffix != SUFFIX || words.next().is_some() {
        return None;
    }
    Some(SnapshotFile {
        pipeline: pipeline.clone(),
        partition: Partition::new(topic.as_str(), number.parse().ok()?),
        offset: Offset(offset.parse().ok()?),
        bytes: found.size,
        written: found.last_modified.into(),
        digest: digest.to_owned(),
        path: found.location,
    })
}

/// Returns the SHA-256 of some bytes in hexadecimal digits.
pub(crate) fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> (tempfile::TempDir, SnapshotStore, Partition) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::open(&folder.path().display().to_string()).expect("opens");
        (folder, store, Partition::new("readings.v1", 3))
    }

    async fn offsets(store: &SnapshotStore, partition: &Partition) -> Vec<i64> {
        let files = store.list(Some("load"), Some(partition)).await.expect("listed");
        files.iter().map(|file| file.offset.0).collect()
    }

    #[tokio::test]
    async fn the_newest_usable_snapshot_and_newer_ones_are_kept() {
        let (_folder, store, partition) = some();
        for offset in [9, 100, 20, 10_000] {
            let content = vec![offset as u8; 10];
            store.write("load", &partition, Offset(offset), content).await.expect("written");
        }
        let other = Partition::new("readings.v1", 4);
        store.write("load", &other, Offset(5), vec![1]).await.expect("written");
        assert_eq!(offsets(&store, &partition).await, [10_000, 100, 20, 9]);
        store.prune("load", &partition, Offset(50)).await.expect("pruned");
        assert_eq!(offsets(&store, &partition).await, [10_000, 100, 20]);
        store.prune("load", &partition, Offset(8)).await.expect("pruned");
        assert_eq!(offsets(&store, &partition).await, [10_000, 100, 20]);
        store.prune("load", &partition, Offset(10_000)).await.expect("pruned");
        assert_eq!(offsets(&store, &partition).await, [10_000]);
        assert_eq!(offsets(&store, &other).await, [5]);
        assert_eq!(store.list(None, None).await.expect("listed").len(), 2);
        store.clear("load", &partition).await;
        assert_eq!(offsets(&store, &partition).await, [0; 0]);
        assert_eq!(offsets(&store, &other).await, [5]);
    }

    #[tokio::test]
    async fn what_was_changed_afterwards_is_seen() {
        let (folder, store, partition) = some();
        store.write("load", &partition, Offset(7), b"state".to_vec()).await.expect("written");
        let file = store.list(None, None).await.expect("listed").remove(0);
        assert_eq!((file.pipeline.as_str(), &file.partition), ("load", &partition));
        assert_eq!(store.read(&file).await.expect("read").as_deref(), Some(&b"state"[..]));
        std::fs::write(folder.path().join(file.name()), b"stage").expect("written");
        assert_eq!(store.read(&file).await.expect("read"), None);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        for url in ["ftp://host/state", "file://", "", "s3://"] {
            let error = SnapshotStore::open(url).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("`state.url` is `{url}`: ")), "{error}");
        }
        if cfg!(not(feature = "s3")) {
            let error = SnapshotStore::open("s3://bucket/state").expect_err("refused").to_string();
            assert!(error.contains("without the feature `s3`"), "{error}");
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        let inside = file.path().join("state").display().to_string();
        assert!(SnapshotStore::open(&inside).is_err(), "a file is no folder");
    }
}
