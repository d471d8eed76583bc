//! What belongs in no log.

use std::fmt;

/// What is shown in the place of a secret.
pub const HIDDEN: &str = "***";

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
