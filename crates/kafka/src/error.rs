//! From librdkafka's errors to ours: whose fault, and whether to try again.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidecast_stream::{Blame, SinkError, SourceError};

use crate::client::Failure;
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

    /// Judges a failure at what is being done.
    pub(crate) fn of_failure(doing: impl Into<Doing>, bootstrap: &str, failure: &Failure) -> Self {
        use RDKafkaErrorCode as Code;
        let doing = doing.into();
        let code = failure.code;
        let said = match failure.reason.as_str() {
            "" => sentence(code),
            reason => reason.to_owned(),
        };
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => Self::user(format!(
                "{doing}: the broker at `{bootstrap}` refused the login ({said}); \
                 check `security.protocol`, `sasl.mechanism`, `sasl.username` and `sasl.password`, \
                 or the `sasl.oauthbearer.*` of an OAUTHBEARER login"
            )),
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed => Self::user(format!(
                "{doing}: the broker at `{bootstrap}` denied access ({}); give this user the ACL \
                 {}; `tidecast explain --acls` prints all that a pipeline needs",
                sentence(code),
                doing.acl(code)
            )),
            Code::SSL => Self::user(format!(
                "{doing}: no secure connection to `{bootstrap}` ({said}); {}",
                tls_remedy(&said)
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
                 check 'bootstrap.servers' and that the broker runs, and that `security.protocol` \
                 is that of its listener"
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

    /// Judges `code`; see [`of_failure`](Self::of_failure).
    pub(crate) fn of_code(
        doing: impl Into<Doing>,
        bootstrap: &str,
        code: RDKafkaErrorCode,
    ) -> Self {
        Self::of_failure(doing, bootstrap, &code.into())
    }

    /// Judges `error`; see [`of_failure`](Self::of_failure).
    pub(crate) fn of(doing: impl Into<Doing>, bootstrap: &str, error: &KafkaError) -> Self {
        let doing = doing.into();
        match (code_of(error), error) {
            (Some(code), _) => Self::of_code(doing, bootstrap, code),
            // Before it has asked any broker.
            (None, KafkaError::ClientCreation(reason)) => Self::user(format!(
                "{doing}: librdkafka cannot work with the properties that are set ({reason}); \
                 check `sasl.mechanism`, and that the files that `ssl.*.location` name are what \
                 they are named for, and a locked key's password is in `ssl.key.password`"
            )),
            (None, _) => Self::transient(format!("{doing}: {error} (broker `{bootstrap}`)")),
        }
    }

    /// Lets what is the user's be tried again: it was right before.
    pub(crate) fn retriable(self) -> Self {
        Self { retriable: true, ..self }
    }
}

/// Returns librdkafka's code of an error.
pub(crate) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    }
}

/// Returns what to look at after a TLS failure of which librdkafka says `said`.
fn tls_remedy(said: &str) -> &'static str {
    let has = |words: &str| said.contains(words);
    if has("it expired at") || has("it is valid only from") {
        return "give the broker a new certificate, or set this machine's clock";
    } else if has("its authority is none of") {
        return "name the certificate of the authority that signed the broker's in \
                `ssl.ca.location`, or the system's authorities by leaving it out";
    } else if has("it is not for host") {
        return "name the broker as its certificate does, in 'bootstrap.servers' and in the broker's \
                `advertised.listeners`, or give it a certificate with this name in its \
                subjectAltName";
    }
    if has("certificate verify failed") || has("verify broker certificate") {
        "the broker's certificate is not of a CA in `ssl.ca.location`, has expired, or is for \
         another host than 'bootstrap.servers' and `advertised.listeners` name (`openssl s_client \
         -connect HOST:PORT -CAfile CA -verify_hostname HOST` says which)"
    } else if has("alert") || has("client SSL authentication") {
        "the broker does not accept this client's certificate: check that \
         `ssl.certificate.location` and `ssl.key.location` (or `ssl.keystore.location`) are set, \
         not expired, and of a CA that the broker trusts"
    } else {
        "check `security.protocol`, and `ssl.ca.location` for the broker's certificate"
    }
}

/// What is being done: the beginning of a sentence about it, and what access rules
/// call it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doing {
    sentence: String,
    /// The operation on a topic.
    topic: Option<(&'static str, String)>,
    group: Option<String>,
    transactional_id: Option<String>,
}

impl Doing {
    pub(crate) fn reading(topic: &str, group: &str) -> Self {
        Self {
            topic: Some(("Read", topic.to_owned())),
            group: Some(group.to_owned()),
            ..Self::from(format!("reading topic `{topic}`"))
        }
    }

    pub(crate) fn writing(sentence: String, topic: &str) -> Self {
        Self { topic: Some(("Write", topic.to_owned())), ..Self::from(sentence) }
    }

    pub(crate) fn committing(topic: &str, group: &str) -> Self {
        let sentence = format!("committing offsets of group `{group}`, topic `{topic}`");
        Self { sentence, ..Self::reading(topic, group) }
    }

    /// Says it in other words.
    pub(crate) fn said(self, sentence: String) -> Self {
        Self { sentence, ..self }
    }

    /// Adds the transactional id under which it is done.
    pub(crate) fn under(self, transactional_id: &str) -> Self {
        Self { transactional_id: Some(transactional_id.to_owned()), ..self }
    }

    /// Returns the rule that the broker missed when it denied access with `code`.
    fn acl(&self, code: RDKafkaErrorCode) -> String {
        let topic = || {
            self.topic.as_ref().map(|(operation, name)| format!("`{operation}` on topic `{name}`"))
        };
        let rule = match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => topic(),
            RDKafkaErrorCode::GroupAuthorizationFailed => {
                self.group.as_ref().map(|name| format!("`Read` on group `{name}`"))
            }
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => self
                .transactional_id
                .as_ref()
                .map(|name| format!("`Write` on transactional id `{name}`")),
            // Brokers since 2.8 let whoever may write a topic be idempotent.
            RDKafkaErrorCode::ClusterAuthorizationFailed => topic()
                .map(|topic| format!("{topic}, before Kafka 2.8 `IdempotentWrite` on the cluster")),
            _ => None,
        };
        rule.unwrap_or_else(|| "that is missing".to_owned())
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<String> for Doing {
    fn from(sentence: String) -> Self {
        Self { sentence, ..Self::default() }
    }
}

impl From<&String> for Doing {
    fn from(sentence: &String) -> Self {
        sentence.clone().into()
    }
}

impl From<&str> for Doing {
    fn from(sentence: &str) -> Self {
        sentence.to_owned().into()
    }
}

impl From<&Self> for Doing {
    fn from(doing: &Self) -> Self {
        doing.clone()
    }
}

/// Returns the beginning of `bytes` as text for a line that people read: at most
/// 80 characters, with what does not print, or would rule the terminal, escaped.
pub(crate) fn readable(bytes: &[u8]) -> String {
    readable_to(80, bytes)
}

/// Returns the same of at most so many characters.
pub(crate) fn readable_to(characters: usize, bytes: &[u8]) -> String {
    // A character has at most four bytes, and three stand in for a bad one.
    let beginning = bytes.get(..4 * characters).unwrap_or(bytes);
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
        if shown + width > characters {
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
    fn denied_access_names_the_rule_that_is_missing() {
        use RDKafkaErrorCode as Code;
        let reading = Doing::reading("in", "g");
        let writing = Doing::writing("writing topic `out`".to_owned(), "out").under("t-0");
        for (doing, code, expected) in [
            (&reading, Code::TopicAuthorizationFailed, "the ACL `Read` on topic `in`;"),
            (&reading, Code::GroupAuthorizationFailed, "the ACL `Read` on group `g`;"),
            (&writing, Code::TopicAuthorizationFailed, "the ACL `Write` on topic `out`;"),
            (
                &writing,
                Code::TransactionalIdAuthorizationFailed,
                "the ACL `Write` on transactional id `t-0`;",
            ),
            (
                &writing,
                Code::ClusterAuthorizationFailed,
                "`Write` on topic `out`, before Kafka 2.8 `IdempotentWrite` on the cluster;",
            ),
        ] {
            let verdict = Verdict::of_code(doing, "b:9092", code);
            assert!(verdict.message.contains(expected), "{}", verdict.message);
            assert!(verdict.message.contains("`tidecast explain --acls`"), "{}", verdict.message);
            assert_eq!((verdict.blame, verdict.retriable), (Blame::User, false));
        }
    }

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
