//! Schemas that were asked for once, for all that read from a registry while the process lives.
//!
//! A number is of the same schema for ever, so that nothing here grows old. What a registry
//! does not have, or said when it was away, is not kept here.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidecast_formats::schemas::{RegisteredSchema, SchemaId};
use tidecast_stream::ClientProperties;

/// The most bytes of schemas that are kept.
const MOST_BYTES: usize = 64 << 20;

/// Schemas that registries gave out, shared by its clones.
///
/// Those of a registry are kept for the settings by which it was reached, so that nobody gets
/// what another one's login let see. Together they are of 64 MiB at most; those that were not
/// asked for the longest go first.
#[derive(Clone, Default)]
pub struct SchemaCache(Arc<Mutex<Kept>>);

/// Those of one registry.
#[derive(Debug)]
pub(super) struct CachedSchemas {
    cache: SchemaCache,
    settings: ClientProperties,
}

#[derive(Default)]
struct Kept {
    /// In the order in which they were asked for, the latest last.
    entries: Vec<Entry>,
    bytes: usize,
}

struct Entry {
    settings: ClientProperties,
    id: SchemaId,
    schema: RegisteredSchema,
}

impl fmt::Debug for SchemaCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaCache").field("schemas", &self.kept().entries.len()).finish()
    }
}

impl SchemaCache {
    /// Returns what is kept of the registry that is reached by `settings`, as they are said: a
    /// token's file, and not the token in it, which changes.
    pub(super) fn of(&self, settings: &ClientProperties) -> CachedSchemas {
        CachedSchemas { cache: self.clone(), settings: settings.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CachedSchemas {
    /// Returns the schema of this number, if it is kept.
    pub(super) fn get(&self, id: SchemaId) -> Option<RegisteredSchema> {
        let mut kept = self.cache.kept();
        let at = kept.entries.iter().position(|it| it.id == id && it.settings == self.settings)?;
        let entry = kept.entries.remove(at);
        let schema = entry.schema.clone();
        kept.entries.push(entry);
        Some(schema)
    }

    /// Keeps a schema, in the place of those that were not asked for the longest.
    pub(super) fn insert(&self, id: SchemaId, schema: &RegisteredSchema) {
        let bytes = size(schema);
        if bytes > MOST_BYTES {
            return;
        }
        let mut kept = self.cache.kept();
        while kept.bytes + bytes > MOST_BYTES && !kept.entries.is_empty() {
            let oldest = kept.entries.remove(0);
            kept.bytes -= size(&oldest.schema);
        }
        kept.bytes += bytes;
        let settings = self.settings.clone();
        kept.entries.push(Entry { settings, id, schema: schema.clone() });
    }
}

/// What an entry takes, its own fields included, so that there are not too many small ones.
fn size(schema: &RegisteredSchema) -> usize {
    let references = schema.references.iter().map(|(name, text)| name.len() + text.len() + 64);
    schema.text.len() + references.sum::<usize>() + 1_024
}

#[cfg(test)]
mod tests {
    use tidecast_formats::schemas::SchemaKind;

    use super::*;

    fn schema(length: usize) -> RegisteredSchema {
        let text = "x".repeat(length);
        RegisteredSchema { kind: SchemaKind::Avro, text, references: Vec::new() }
    }

    #[test]
    fn a_schema_is_kept_for_the_registry_and_the_login_it_came_by() {
        let settings =
            |token: &str| [("url", "http://a"), ("bearer.auth.token", token)].into_iter().collect();
        let cache = SchemaCache::default();
        let id = SchemaId::Registered(1);
        cache.of(&settings("one")).insert(id, &schema(3));
        assert_eq!(cache.of(&settings("one")).get(id), Some(schema(3)));
        assert_eq!(cache.of(&settings("one")).get(SchemaId::Global(1)), None);
        assert_eq!(cache.of(&settings("another")).get(id), None);
    }

    #[test]
    fn what_was_not_asked_for_the_longest_makes_room() {
        let cache = SchemaCache::default();
        let of = cache.of(&ClientProperties::default());
        for number in 0..3 {
            of.insert(SchemaId::Registered(number), &schema(MOST_BYTES / 4));
        }
        assert!(of.get(SchemaId::Registered(0)).is_some());
        of.insert(SchemaId::Registered(3), &schema(MOST_BYTES / 4));
        let kept = |number| of.get(SchemaId::Registered(number)).is_some();
        assert_eq!([0, 1, 2, 3].map(kept), [true, false, true, true]);
        of.insert(SchemaId::Registered(4), &schema(MOST_BYTES));
        assert!(!kept(4), "no room for it at all");
    }
}
