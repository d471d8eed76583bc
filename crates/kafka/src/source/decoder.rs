//! The decoder of a topic's records.

use tidecast_formats::schemas::SchemaSource;
use tidecast_formats::time::TimeRule;
use tidecast_formats::{Decoder, DecoderConfig};
use tidecast_stream::SchemaText;

use crate::config::KafkaSourceConfig;
use crate::registry::SchemaRegistry;

/// Returns the decoder of a topic's records, or what is wrong with the table or a setting.
pub(crate) fn decoder(config: &KafkaSourceConfig) -> Result<Decoder, String> {
    let schemas = match tidecast_formats::needs_registry(&config.format) {
        true => {
            let settings = &config.schema_registry;
            let registry = SchemaRegistry::new(settings, config.timeout, &config.schemas);
            Some(Box::new(registry.map_err(|error| error.to_string())?) as Box<dyn SchemaSource>)
        }
        false => None,
    };
    let own_schema = match config.format.schema() {
        None => None,
        Some(SchemaText::Inline(text)) => Some(text.clone().into_bytes()),
        Some(SchemaText::File(path)) => {
            let read = std::fs::read(path);
            Some(read.map_err(|error| format!("the schema in `{path}` cannot be read: {error}"))?)
        }
    };
    let decoder = DecoderConfig {
        own_schema,
        format: config.format.clone(),
        capacity: config.max_batch_records,
        rule: TimeRule { unit: config.timestamp_unit, compact: None },
        beside: config.metadata.iter().map(|metadata| metadata.column).collect(),
        fields: config.fields.clone(),
        tombstones: config.tombstones,
        ..DecoderConfig::new(config.schema.clone())
    };
    Decoder::new(decoder, schemas).map_err(|error| error.to_string())
}
