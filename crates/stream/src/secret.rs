//! What belongs in no log: one rule by which settings are told to be secret, and
//! types whose `Debug` keeps to it.

mod file;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

pub use self::file::{PropertyFileError, other_name, property_of_file};

/// What is shown in the place of a secret.
pub const HIDDEN: &str = "***";

/// Parts of names that librdkafka's sensitive settings have, and Java's clients'
/// (`sasl.jaas.config`, `basic.auth.user.info`), which people try.
const PARTS: [&str; 9] =
    ["pass", "secret", "key", "token", "oauth", "pem", "username", "user.info", "jaas"];

/// librdkafka's own properties that are the name of a file.
const OWN_FILES: [&str; 3] = [
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
];

/// Returns whether the value of a client's setting by this name is to be hidden.
///
/// It goes by parts of the name, so that a misspelt one is hidden, too, and so is
/// what a newer librdkafka may add. This hides more than it has to
/// (`sasl.oauthbearer.method`): a value that is hidden can be looked up where it
/// was written, and one that was shown cannot be taken back. Where a secret is in a
/// file, the file's name is none.
///
/// ```
/// use tidecast_stream::secret::is_secret;
/// assert!(is_secret("sasl.passwrd"));
/// assert!(!is_secret("fetch.max.bytes"));
/// ```
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    property_of_file(&name).is_none() && PARTS.iter().any(|part| name.contains(part))
}

/// Returns `value` as the setting `name` may show it.
pub fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret(name) { HIDDEN } else { value }
}

/// Text that does not show in logs, errors and explanations.
///
/// ```
/// use tidecast_stream::Secret;
/// let token = Secret::new("hf_1234");
/// assert_eq!(format!("{token} {token:?}"), "*** ***");
/// assert_eq!(token.reveal(), "hf_1234");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Settings handed to a client library under its own names, some of them secret.
///
/// ```
/// use tidecast_stream::ClientProperties;
/// let pairs = [("client.id", "me"), ("sasl.password", "hush")];
/// let properties: ClientProperties = pairs.into_iter().collect();
/// assert_eq!(format!("{properties:?}"), r#"{"client.id": "me", "sasl.password": "***"}"#);
/// assert_eq!(properties.get("sasl.password"), Some("hush"));
/// ```
///
/// Read from a configuration, values may be written without quotes (`5`, `true`). The
/// value of any property may stand in a file: `sasl.password.file` names it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, Plain>")]
pub struct ClientProperties(BTreeMap<String, String>);

impl ClientProperties {
    /// Returns the value of a property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a property; returns what it was before.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(name.into(), value.into())
    }

    /// Takes a property out.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Returns names and values, secrets included, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns names and values as they may be shown, by name.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().map(|(name, value)| (name, shown(name, value)))
    }

    /// Returns these, those of `over` in the place of ones by the same name, or of ones
    /// that say the same by a file.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let mut merged = self.clone();
        for (name, value) in over.iter() {
            merged.remove(&other_name(name));
            merged.insert(name, value);
        }
        merged
    }
}

impl fmt::Debug for ClientProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl<Name: Into<String>, Value: Into<String>> FromIterator<(Name, Value)> for ClientProperties {
    fn from_iter<Pairs: IntoIterator<Item = (Name, Value)>>(pairs: Pairs) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, a number or a truth value")]
enum Plain {
    Text(String),
    Integer(i64),
    Number(f64),
    Truth(bool),
}

impl From<BTreeMap<String, Plain>> for ClientProperties {
    fn from(written: BTreeMap<String, Plain>) -> Self {
        let text = |value| match value {
            Plain::Text(text) => text,
            Plain::Integer(number) => number.to_string(),
            Plain::Number(number) => number.to_string(),
            Plain::Truth(truth) => truth.to_string(),
        };
        written.into_iter().map(|(name, value)| (name, text(value))).collect()
    }
}
