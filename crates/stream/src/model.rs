//! Families of models as data: what can be said of a model in SQL, so that the
//! planner knows every option and no family.

use std::collections::BTreeMap;

use crate::secret::Secret;

/// The families that pipelines can choose from, and the model that is there without
/// being declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelCatalog {
    /// The families, in the order in which messages name them.
    pub families: &'static [ModelFamily],
    /// The name of the model of a pipeline that names none.
    pub default_model: &'static str,
    /// Its family; it is what that is without options.
    pub default_family: &'static str,
}

impl ModelCatalog {
    /// Returns the family of this name.
    pub fn family(&self, name: &str) -> Option<ModelFamily> {
        self.families.iter().copied().find(|family| family.name == name)
    }
}

/// A family of models: the name by which it is chosen, and its options.
///
/// ```
/// use tidecast_stream::{ModelFamily, ModelOption, OptionKind};
/// const FAMILY: ModelFamily = ModelFamily {
///     name: "drift",
///     options: &[ModelOption::new("trend", OptionKind::Choice(&["linear", "none"]))],
///     unsupported: &[],
/// };
/// assert!(FAMILY.option("trend").is_some() && FAMILY.option("season").is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelFamily {
    /// What `'provider'` says.
    pub name: &'static str,
    /// Its options, in the order in which people read of them.
    pub options: &'static [ModelOption],
    /// Options that people may look for and that are refused as such.
    pub unsupported: &'static [&'static str],
}

impl ModelFamily {
    /// Returns the option of this name.
    pub fn option(&self, name: &str) -> Option<&'static ModelOption> {
        self.options.iter().find(|option| option.name == name)
    }
}

/// An option of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelOption {
    /// Its key in `CREATE MODEL … WITH (…)`.
    pub name: &'static str,
    /// What its values are.
    pub kind: OptionKind,
    /// What holds where it is not said.
    pub unset: Unset,
    /// What explanations call it; `None`: nothing depends on it, and they leave it out.
    pub title: Option<&'static str>,
    /// What another option has to say for this one to mean anything.
    pub requires: Option<Requirement>,
}

impl ModelOption {
    /// Returns an option that may be left out, called in explanations as it is named.
    pub const fn new(name: &'static str, kind: OptionKind) -> Self {
        Self { name, kind, unset: Unset::Silent, title: Some(name), requires: None }
    }

    /// Returns the option with what holds where it is not said.
    #[must_use]
    pub const fn unset(self, unset: Unset) -> Self {
        Self { unset, ..self }
    }

    /// Returns the option, called something else in explanations, or left out of them.
    #[must_use]
    pub const fn title(self, title: Option<&'static str>) -> Self {
        Self { title, ..self }
    }

    /// Returns the option, which goes with another one only.
    #[must_use]
    pub const fn requires(self, requirement: Requirement) -> Self {
        Self { requires: Some(requirement), ..self }
    }
}

/// What the values of an option are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text but an empty one.
    Text,
    /// Text that is shown nowhere.
    Secret,
    /// A whole number above zero.
    Count {
        /// What it counts, as in `steps`.
        unit: &'static str,
    },
    /// One of these.
    Choice(&'static [&'static str]),
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    Device,
    /// Where weights are: a built-in checkpoint, or whatever the family makes of other
    /// text.
    Checkpoint {
        /// The checkpoints that are built in, each `builtin:name`.
        builtin: &'static [&'static str],
        /// What is expected, for messages.
        expected: &'static str,
    },
}

/// What holds where an option is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// There is nothing to say of it.
    Silent,
    /// As if this had been said.
    Value(&'static str),
    /// The family decides; explanations say so in these words.
    Decided(&'static str),
}

/// Another option and how its value has to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// The other option.
    pub option: &'static str,
    /// How its value begins.
    pub prefix: &'static str,
    /// The same in words, as in `a path of the hub`.
    pub described: &'static str,
}

/// The options of one model as they were said, by name.
///
/// ```
/// use tidecast_stream::{ModelOptions, Secret};
/// let mut options = ModelOptions::default();
/// options.set("path", "hf://owner/name");
/// options.set("token", Secret::new("hf_1234"));
/// assert_eq!(options.text("path"), Some("hf://owner/name"));
/// assert_eq!(options.text("token"), None);
/// assert!(!format!("{options:?}").contains("hf_1234"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelOptions(BTreeMap<String, OptionValue>);

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// As it was written.
    Text(String),
    /// What is shown nowhere.
    Secret(Secret),
}

impl From<&str> for OptionValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for OptionValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Secret> for OptionValue {
    fn from(secret: Secret) -> Self {
        Self::Secret(secret)
    }
}

impl ModelOptions {
    /// Says an option; what was said of it before is forgotten.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<OptionValue>) {
        self.0.insert(name.into(), value.into());
    }

    /// Takes an option out.
    pub fn remove(&mut self, name: &str) -> Option<OptionValue> {
        self.0.remove(name)
    }

    /// Returns what was said of an option.
    pub fn get(&self, name: &str) -> Option<&OptionValue> {
        self.0.get(name)
    }

    /// Returns an option's text; `None` for a secret.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            OptionValue::Text(text) => Some(text),
            OptionValue::Secret(_) => None,
        }
    }

    /// Returns an option as a secret, whether it was said as one or not.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        match self.get(name)? {
            OptionValue::Text(text) => Some(Secret::new(text.clone())),
            OptionValue::Secret(secret) => Some(secret.clone()),
        }
    }

    /// Returns the names of what was said.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
