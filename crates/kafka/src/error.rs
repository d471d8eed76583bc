//! From librdkafka's errors to ours: whose fault, and whether to try again.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidecast_stream::{Blame, SinkError, SourceError};

use crate::config::ConfigError;

/// What an error means to whoever reads it.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) message: String,
    pub(crate) blame: Blame,
    pub(crate) retriable: bool,
}

impl Verdict {
    /// Something that whoever wrote the SQL, the configuration or the broker's
    /// access rules has to mend.
    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self { message: message.into(), blame: Blame::User, retriable: false }
    }

    /// Something outside that may mend by itself.
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), blame: Blame::External, retriable: true }
    }

    /// A bug of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self { message: message.into(), blame: Blame::Internal, retriable: false }
    }

    /// Judges `code`; `doing` says at what, for example ``reading topic `x```.
    pub(crate) fn of_code(doing: &str, bootstrap: &str, code: RDKafkaErrorCode) -> Self {
        use RDKafkaErrorCode as Code;
        let said = sentence(code);
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => Self::user(format!(
                "{doing}: the broker at `{bootstrap}` refused the login ({said}); \
                 check `security.protocol`, `sasl.mechanism`, `sasl.username` and `sasl.password`"
            )),
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed => Self::user(format!(
                "{doing}: the broker at `{bootstrap}` denied access ({said}); \
                 grant it to this user with an ACL"
            )),
            Code::SSL => Self::user(format!(
                "{doing}: no secure connection to `{bootstrap}` ({said}); \
                 check `security.protocol` and `ssl.ca.location`"
            )),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                Self::user(format!(
                    "{doing}: it does not exist on `{bootstrap}`; create it or check 'topic'"
                ))
            }
            Code::MessageSizeTooLarge => Self::user(format!(
                "{doing}: a message is larger than the broker at `{bootstrap}` takes ({said}); \
                 raise the topic's `max.message.bytes` and the sink's `message.max.bytes`, \
                 or forecast fewer steps, quantiles or samples"
            )),
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::RequestTimedOut => Self::transient(format!(
                "{doing}: no broker answers at `{bootstrap}` ({said}); \
                 check 'bootstrap.servers' and that the broker runs"
            )),
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
                Self::transient(format!(
                    "{doing}: another writer has taken over this transactional id ({said}); \
                     give each instance its own"
                ))
            }
            Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch => Self::transient(format!(
                "{doing}: the partitions have moved to another member of the group ({said})"
            )),
            _ => Self::transient(format!("{doing}: {said} (broker `{bootstrap}`)")),
        }
    }

    /// Judges `error`; see [`of_code`](Self::of_code).
    pub(crate) fn of(doing: &str, bootstrap: &str, error: &KafkaError) -> Self {
        let code = match error {
            KafkaError::Transaction(error) => Some(error.code()),
            other => other.rdkafka_error_code(),
        };
        match code {
            Some(code) => Self::of_code(doing, bootstrap, code),
            None => Self::transient(format!("{doing}: {error} (broker `{bootstrap}`)")),
        }
    }
}

/// Returns the beginning of `bytes` as text for a line that people read: at most
/// 80 characters, with what does not print, or would rule the terminal, escaped.
pub(crate) fn readable(bytes: &[u8]) -> String {
    const CHARACTERS: usize = 80;
    // A character has at most four bytes, and three stand in for a bad one.
    let beginning = bytes.get(..4 * CHARACTERS).unwrap_or(bytes);
    let text = String::from_utf8_lossy(beginning);
    let mut line = String::new();
    let mut shown = 0;
    for character in text.chars() {
        let piece: String = match character {
            // Escaped they would only be harder to read.
            '"' | '\'' | '\\' => character.into(),
            other => other.escape_debug().collect(),
        };
        let width = piece.chars().count();
        if shown + width > CHARACTERS {
            return line + "…";
        }
        shown += width;
        line += &piece;
    }
    if beginning.len() < bytes.len() { line + "…" } else { line }
}

/// librdkafka's description of `code`, as part of a sentence of ours.
pub(crate) fn sentence(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    // Display is "Name (Description)"; the description is the readable half.
    match text.split_once(" (") {
        Some((_, description)) => description.trim_end_matches(')').to_owned(),
        None => text,
    }
}

impl From<Verdict> for SourceError {
    fn from(verdict: Verdict) -> Self {
        Self { message: verdict.message, blame: verdict.blame, retriable: verdict.retriable }
    }
}

impl From<Verdict> for SinkError {
    fn from(verdict: Verdict) -> Self {
        Self { message: verdict.message, blame: verdict.blame, retriable: verdict.retriable }
    }
}

impl From<ConfigError> for Verdict {
    fn from(error: ConfigError) -> Self {
        Self::user(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_message_is_short_and_rules_no_terminal() {
        assert_eq!(readable(br#"{"site":"K\u00f6ln"}"#), r#"{"site":"K\u00f6ln"}"#);
        assert_eq!(readable("\u{1b}[2J\n\u{202e}".as_bytes()), r"\u{1b}[2J\n\u{202e}");
        assert_eq!(readable(&[0xff, 0x00]), "\u{fffd}\\0");
        for giant in [vec![b'k'; 110_000], vec![0xff; 500], "\u{1f}".repeat(90).into_bytes()] {
            let short = readable(&giant);
            assert!(short.chars().count() <= 81 && short.ends_with('…'), "{short}");
        }
    }
}
