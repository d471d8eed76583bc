//! What writes the forecasts of a sink, its schema numbered by the registry.

use tidecast_formats::forecast::ForecastEncoder;
use tidecast_formats::schemas::SchemaError;
use tracing::info;

use crate::config::KafkaSinkConfig;
use crate::error::Verdict;
use crate::registry::{SchemaCache, SchemaRegistry};

/// Returns the encoder of a sink. The schema is asked for, and registered, by each generation
/// anew: both change nothing where it is there, and somebody may have taken it away.
pub(super) fn encoder(config: &KafkaSinkConfig) -> Result<ForecastEncoder, Verdict> {
    let mut encoder = config.encoder()?;
    if !encoder.needs_schema_number() {
        return Ok(encoder);
    }
    let Some(schema) = encoder.schema() else { return Ok(encoder) };
    let registry =
        SchemaRegistry::new(&config.schema_registry, config.timeout, &SchemaCache::default())?;
    let subject = config.subject();
    let number = registry.number(&subject, &schema).map_err(|error| judge(config, &error))?;
    info!(%subject, number, topic = %config.topic, "the forecasts' schema is registered");
    encoder.set_schema_number(number);
    Ok(encoder)
}

fn judge(config: &KafkaSinkConfig, error: &SchemaError) -> Verdict {
    let message = format!("writing topic `{}`: {error}", config.topic);
    match error.is_transient {
        true => Verdict::transient(message),
        false => Verdict::user(message),
    }
}
