//! Which model to load, and how.

use tidecast_stream::{ModelOption, ModelOptions, OptionKind, OptionValue, Secret, Unset};

use crate::load::LoadError;

/// The device that is the best of those that can be used.
pub const AUTO: &str = "auto";

/// Where a model computes, the one option that each family has: `auto` unless said.
pub const DEVICE: ModelOption =
    ModelOption::new("device", OptionKind::Device).unset(Unset::Value(AUTO));

/// Which model to load and how.
///
/// ```
/// use tidecast_forecast::ModelSpec;
/// let spec = ModelSpec::new("seasonal-naive").with("season", 24);
/// assert_eq!(spec.count("season")?, Some(24));
/// # Ok::<(), tidecast_forecast::LoadError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// The name of its family.
    pub provider: String,
    /// What is said of the family's own options; [`DEVICE`] stands apart.
    pub options: ModelOptions,
    /// `auto` (a card if this build and machine have one), `cpu`, `cuda` or
    /// `cuda:N`.
    pub device: String,
    /// Threads; `None` is one per core.
    pub threads: Option<usize>,
    /// Takes a checkpoint of the hub from the cache or not at all.
    pub cached_only: bool,
}

impl ModelSpec {
    /// Returns a model of this family of which nothing is said.
    pub fn new(provider: &str) -> Self {
        Self::of(provider, ModelOptions::default())
    }

    /// Returns a model of this family with these options, [`DEVICE`] among them.
    pub fn of(provider: &str, mut options: ModelOptions) -> Self {
        let device = match options.remove(DEVICE.name) {
            Some(OptionValue::Text(device)) => device,
            _ => AUTO.to_owned(),
        };
        Self { provider: provider.to_owned(), options, device, threads: None, cached_only: false }
    }

    /// Returns the model with an option said.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl ToString) -> Self {
        self.options.set(option, value.to_string());
        self
    }

    /// Returns the model with an option said, if there is a value.
    #[must_use]
    pub fn with_some(self, option: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(option, value),
            None => self,
        }
    }

    /// Returns what is said of an option.
    pub fn text(&self, option: &str) -> Option<&str> {
        self.options.text(option)
    }

    /// Returns what is said of an option that shows nowhere.
    pub fn secret(&self, option: &str) -> Option<Secret> {
        self.options.secret(option)
    }

    /// Returns what is said of an option whose values are whole numbers above zero.
    ///
    /// # Errors
    /// If it is something else.
    pub fn count(&self, option: &str) -> Result<Option<usize>, LoadError> {
        let Some(text) = self.text(option) else { return Ok(None) };
        match text.parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(LoadError::NoCount { option: option.to_owned(), value: text.to_owned() }),
        }
    }
}
