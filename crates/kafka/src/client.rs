//! What all clients of this crate do with librdkafka's own logs and errors.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, info, warn};

/// Passes librdkafka's lines to `tracing`, one level down: what matters to an
/// operator we say ourselves, with what to do about it.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => warn!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Warning => info!(target: "librdkafka", facility, "{line}"),
        _ => debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// An error, and what librdkafka or the broker says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: RDKafkaErrorCode,
    /// For people; empty where there is nothing beyond the code.
    pub(crate) reason: String,
}

impl From<RDKafkaErrorCode> for Failure {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self { code, reason: String::new() }
    }
}

impl Failure {
    fn new(code: RDKafkaErrorCode, reason: &str) -> Self {
        // In TLS 1.3 a broker looks at the client's certificate when the connection is made
        // already: what it does not like breaks that.
        let code = match code {
            RDKafkaErrorCode::BrokerTransportFailure if reason.contains("SSL routines") => {
                RDKafkaErrorCode::SSL
            }
            other => other,
        };
        Self { code, reason: without_state(reason).to_owned() }
    }

    /// Whether a connection was made and then refused, by either side.
    fn is_refusal(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL
        )
    }
}

/// The last error that belongs to no call of ours, such as a refused login: the
/// call it makes fail only times out.
#[derive(Debug, Default)]
pub(crate) struct LastError(Mutex<Option<(Failure, Instant)>>);

impl LastError {
    /// For how long an error explains others. librdkafka says the same again every half
    /// a minute, while it lasts.
    const RECENT: Duration = Duration::from_secs(90);

    pub(crate) fn keep(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        debug!(target: "librdkafka", ?code, "{reason}");
        self.put(Failure::new(code, reason), Instant::now());
    }

    fn put(&self, new: Failure, now: Instant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers are down" follows the error that brought them down. And a name that
        // has two addresses has one, often, where nobody listens: that one refused the login
        // at the other says more.
        let says_more = match &*last {
            Some((before, at)) if now.duration_since(*at) < Self::RECENT => {
                new.code != RDKafkaErrorCode::AllBrokersDown
                    && (new.is_refusal() || !before.is_refusal())
            }
            _ => true,
        };
        if says_more {
            *last = Some((new, now));
        }
    }

    pub(crate) fn get(&self) -> Option<Failure> {
        self.recent(Instant::now())
    }

    fn recent(&self, now: Instant) -> Option<Failure> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref().filter(|(_, at)| now.duration_since(*at) < Self::RECENT);
        last.map(|(failure, _)| failure.clone())
    }

    /// Returns why a call failed with `code`: the last error, where the call only waited
    /// in vain.
    pub(crate) fn behind(&self, code: RDKafkaErrorCode) -> Failure {
        let waited = matches!(
            code,
            RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
        );
        self.get().filter(|_| waited).unwrap_or_else(|| code.into())
    }
}

/// What a consumer needs that joins no group: its logs are ours, and its last error is kept.
#[derive(Default)]
pub(crate) struct PlainContext(pub(crate) LastError);

impl ClientContext for PlainContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.keep(&error, reason);
    }
}

impl ConsumerContext for PlainContext {}

/// Returns librdkafka's words without how long what took in its own states, and without
/// one of several remedies.
fn without_state(reason: &str) -> &str {
    let reason = match reason.rsplit_once(" (after ") {
        Some((words, state)) if state.ends_with(')') => words,
        _ => reason,
    };
    reason.split_once(": broker certificate could not be verified").map_or(reason, |(it, _)| it)
}

/// Refused connections of a client that was let in before. A broker that restarts may
/// refuse for a while, and librdkafka tries again; but it keeps the password that it
/// has, and another one is read where a generation begins.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Refusals {
    /// For how long brokers may refuse.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// How long after the last one a refusal is a new story. librdkafka says the same
    /// again every half a minute.
    const FORGOTTEN: Duration = Duration::from_secs(90);

    /// Notes one more; returns whether these are too many.
    pub(crate) fn note(&mut self, now: Instant) -> bool {
        if self.last.is_none_or(|last| now.duration_since(last) > Self::FORGOTTEN) {
            self.first = Some(now);
        }
        self.last = Some(now);
        self.first.is_some_and(|first| now.duration_since(first) >= Self::PATIENCE)
    }
}

/// What asking for a topic gave.
pub(crate) enum TopicState {
    /// It has this many partitions.
    Partitions(usize),
    /// Something is wrong with it.
    Failed(Failure),
}

/// How long an answer is waited for that will hardly be another one.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// How many of a client's events are taken between two questions: log lines are such, too,
/// and what went wrong comes behind those about it.
const EVENTS: usize = 64;

/// Asks the brokers for `topic` until they answer or `timeout` has passed. A
/// topic created a moment ago may not be known yet, so "unknown" is asked again;
/// not as long as brokers that do not answer, and neither are ones that refuse the
/// connection. `serve` takes one of the client's events.
pub(crate) fn find_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
    last_error: &LastError,
    mut serve: impl FnMut(),
) -> TopicState {
    let deadline = Instant::now() + timeout;
    let patience = Instant::now() + timeout.min(SHORT_PATIENCE);
    let mut unknown = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let slice = left.min(Duration::from_secs(1));
        let failed = match client.fetch_metadata(Some(topic), slice) {
            Ok(metadata) => match metadata.topics().first() {
                Some(found) => match found.error() {
                    None => return TopicState::Partitions(found.partitions().len()),
                    Some(error) => error.into(),
                },
                None => RDKafkaErrorCode::UnknownTopicOrPartition,
            },
            Err(error) => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
        };
        (0..EVENTS).for_each(|_| serve());
        if is_unknown(failed) {
            unknown = Some(failed);
        }
        let cause = last_error.behind(failed);
        let until = match failed {
            code if is_unknown(code) => patience,
            RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve => match cause.is_refusal() {
                true => patience,
                false => deadline,
            },
            _ => return TopicState::Failed(cause),
        };
        let now = Instant::now();
        if now >= until {
            // The last question may have been cut short.
            return TopicState::Failed(unknown.map_or(cause, Failure::from));
        }
        thread::park_timeout(Duration::from_millis(100).min(until - now));
    }
}

fn is_unknown(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::LeaderNotAvailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_says_more_than_what_follows_it() {
        use RDKafkaErrorCode as Code;
        let last = LastError::default();
        let start = Instant::now();
        last.put(Failure::new(Code::BrokerTransportFailure, "connect failed"), start);
        last.put(
            Failure::new(Code::Authentication, "wrong password (after 5ms in state X)"),
            start,
        );
        last.put(Failure::new(Code::BrokerTransportFailure, "connect failed"), start);
        last.put(Failure::new(Code::AllBrokersDown, "1/1 brokers are down"), start);
        let refused = Failure { code: Code::Authentication, reason: "wrong password".to_owned() };
        assert_eq!(last.behind(Code::OperationTimedOut), refused);
        let other = Code::TopicAuthorizationFailed;
        assert_eq!(last.behind(other), Failure::from(other), "it did not only wait");

        let later = start + Duration::from_secs(600);
        assert_eq!(last.recent(later), None, "who was let in since has another trouble");
        last.put(Failure::new(Code::BrokerTransportFailure, "connect failed"), later);
        let failed =
            Failure { code: Code::BrokerTransportFailure, reason: "connect failed".to_owned() };
        assert_eq!(last.recent(later), Some(failed));
    }

    #[test]
    fn refusals_are_borne_for_half_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut refusals = Refusals::default();
        assert!(!refusals.note(at(0)));
        assert!(!refusals.note(at(1)), "another broker");
        assert!(refusals.note(at(30)), "the same again");
        assert!(!refusals.note(at(600)), "of a restart ten minutes later");
    }
}
