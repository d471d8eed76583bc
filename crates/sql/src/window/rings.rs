//! The rings of all series of a partition, found by what a view's row has in its series
//! columns.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use super::ring::Ring;

/// Rings by the key that each has itself: a map would keep it beside them once more.
///
/// They are shared with a snapshot that is being written; a ring that changes meanwhile
/// is copied first.
#[derive(Default)]
pub(super) struct Rings {
    table: HashTable<Arc<Ring>>,
    hasher: RandomState,
}

impl Rings {
    pub(super) fn with_capacity(series: usize) -> Self {
        Self { table: HashTable::with_capacity(series), hasher: RandomState::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Ring> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |ring| *ring.key == *key).map(AsRef::as_ref)
    }

    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Ring> {
        let hash = self.hasher.hash_one(key);
        self.table.find_mut(hash, |ring| *ring.key == *key).map(Arc::make_mut)
    }

    /// Adds a ring of a series that has none.
    pub(super) fn insert(&mut self, ring: Ring) -> &mut Ring {
        let hash = self.hasher.hash_one(&*ring.key);
        let hasher = |ring: &Arc<Ring>| self.hasher.hash_one(&*ring.key);
        Arc::make_mut(self.table.insert_unique(hash, Arc::new(ring), hasher).into_mut())
    }

    /// Lets go of rings.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Ring) -> bool) {
        self.table.retain(|ring| is_kept(ring));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Ring>> {
        self.table.iter()
    }
}
