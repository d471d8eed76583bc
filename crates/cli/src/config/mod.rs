//! The configuration: `config/tidecast.toml` is built in and holds every
//! default; a file, the environment and `--set` go over it, in this order.
//!
//! Two stages: `layers` gathers what was said, and by whom; [`Config`] is what
//! it means, checked once. Whatever is wrong is named with its place: file and
//! line, variable, or flag.

mod error;
mod layers;

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;
use tidecast_engine::{
    EngineConfig, KafkaConfig, ModelConfig, PipelineConfig, StateConfig, StatePlace,
};
use tidecast_server::ServerConfig;

pub use self::error::ConfigError;
use self::layers::Layers;
use crate::logging::LogConfig;

/// The defaults, as people read them.
pub const DEFAULTS: &str = include_str!("../../../../config/tidecast.toml");

/// The configuration in force. Each section is where it is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How Kafka is reached.
    pub kafka: KafkaConfig,
    /// How pipelines run.
    pub pipeline: PipelineConfig,
    /// Limits of the models.
    pub model: ModelConfig,
    /// Snapshots of state.
    pub state: StateConfig,
    /// The HTTP endpoint.
    pub server: ServerConfig,
    /// Logging.
    pub log: LogConfig,
    #[serde(skip)]
    in_force: Vec<Setting>,
}

/// One setting in force, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The section: `kafka`, `kafka.properties`.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value as TOML, `"***"` for a secret.
    pub value: String,
    /// Who said so; `None` for a default.
    pub origin: Option<String>,
}

impl Config {
    /// Gathers the configuration: the defaults, over them `file`, over it the
    /// variables of `environment` (those that are not `TIDECAST_<SECTION>__<KEY>`
    /// are left alone), over them the assignments `section.key=value` of `set`.
    ///
    /// # Errors
    /// If the file cannot be read, or a key or value is not understood.
    pub fn load<Name: Into<OsString>, Value: Into<OsString>>(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (Name, Value)>,
        set: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::defaults()?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
            layers.add_file(&path.display().to_string(), &text)?;
        }
        let text = |value: OsString| value.to_string_lossy().into_owned();
        let environment: Vec<(String, String)> = environment
            .into_iter()
            .map(|(name, value)| (text(name.into()), text(value.into())))
            .collect();
        layers.add_environment(&environment)?;
        for assignment in set {
            layers.add_assignment(assignment)?;
        }
        Self::from_layers(&layers, data_folder(&environment).as_deref())
    }

    /// Returns every setting in force, in the order of the defaults.
    pub fn in_force(&self) -> &[Setting] {
        &self.in_force
    }

    /// Returns the configuration in force as TOML; who said what stands behind
    /// each value that is no default.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in &self.in_force {
            if setting.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text += &format!("{gap}[{}]\n", setting.section);
                section = &setting.section;
            }
            let key = if setting.key.contains('.') {
                format!("\"{}\"", setting.key)
            } else {
                setting.key.clone()
            };
            let origin = setting.origin.as_ref().map(|origin| format!("  # {origin}"));
            text += &format!("{key} = {}{}\n", setting.value, origin.unwrap_or_default());
        }
        text
    }

    /// Returns the settings of the engine.
    pub fn engine(&self) -> EngineConfig {
        EngineConfig {
            kafka: self.kafka.clone(),
            pipeline: self.pipeline.clone(),
            model: self.model,
            state: self.state.clone(),
        }
    }

    /// `data` is the folder of the user's data, if there is one.
    fn from_layers(layers: &Layers, data: Option<&str>) -> Result<Self, ConfigError> {
        let mut config = layers.config()?;
        let PipelineConfig { restart_backoff, restart_backoff_max, .. } = config.pipeline;
        if restart_backoff > restart_backoff_max {
            return Err(ConfigError::Value {
                place: layers.place_of("pipeline.restart_backoff"),
                message: format!(
                    "`pipeline.restart_backoff`: {} is above `pipeline.restart_backoff_max`, {}",
                    humantime::format_duration(restart_backoff),
                    humantime::format_duration(restart_backoff_max)
                ),
            });
        }
        if let StatePlace::Auto(url) = &mut config.state.url {
            *url = data.map(|data| format!("{data}/tidecast/state"));
        }
        Ok(config)
    }
}

/// Returns where programs keep the user's data, if `environment` names a place.
fn data_folder(environment: &[(String, String)]) -> Option<String> {
    let folder = |name: &str| {
        let found = environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, folder)| folder.clone()).filter(|folder| !folder.is_empty())
    };
    folder("XDG_DATA_HOME").or_else(|| Some(format!("{}/.local/share", folder("HOME")?)))
}

#[cfg(test)]
mod tests;
