//! What of the configuration is the engine's.

use tidecast_engine::{EngineConfig, KafkaDefaults, ModelLimits, RestartConfig, StateConfig};

use super::Config;

impl Config {
    /// Returns the settings of the engine.
    pub fn engine(&self) -> EngineConfig {
        let Self { kafka, pipeline, model, state, .. } = self;
        EngineConfig {
            kafka: KafkaDefaults {
                bootstrap_servers: kafka.bootstrap_servers.clone(),
                group_prefix: kafka.group_prefix.clone(),
                properties: kafka.properties.clone(),
            },
            instance: pipeline.instance.clone(),
            static_membership: pipeline.static_membership,
            commit_interval: pipeline.commit_interval,
            max_batch_records: pipeline.max_batch_records,
            mailbox_capacity: pipeline.mailbox_capacity,
            mailbox_bytes: pipeline.mailbox_mib.saturating_mul(1 << 20),
            part_series: pipeline.part_series,
            drain_timeout: pipeline.drain_timeout,
            stall_timeout: pipeline.stall_timeout,
            restart: RestartConfig {
                max_restarts: usize::try_from(pipeline.restart_max).unwrap_or(usize::MAX),
                window: pipeline.restart_window,
                backoff: pipeline.restart_backoff,
                max_backoff: pipeline.restart_backoff_max,
            },
            model: ModelLimits {
                threads: model.threads,
                max_batch_tokens: model.max_batch_tokens,
                max_batch_tasks: model.max_batch_tasks,
                max_wait: model.max_wait,
            },
            state: StateConfig { url: state.url.clone(), interval: state.interval, reset: false },
        }
    }
}
