//! Where a pipeline stands, and telling the world.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::progress::Stalled;

/// Where a supervised pipeline stands.
///
/// ```
/// use tidecast_actors::Status;
/// let status = Status::Failed { reason: "topic `readings` does not exist".to_owned() };
/// assert!(status.is_final());
/// assert_eq!(status.name(), "failed");
/// assert_eq!(status.to_string(), "failed: topic `readings` does not exist");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// A generation is being set up.
    Starting {
        /// Which one, from 1.
        generation: u64,
    },
    /// A generation is up.
    Running {
        /// Which one, from 1.
        generation: u64,
    },
    /// A generation ended badly; the next one starts at `until`.
    Backoff {
        /// When, by the supervisor's clock.
        until: Instant,
        /// How the last generation ended.
        reason: String,
    },
    /// An actor does nothing any more; the generation was killed, and the next one waits
    /// until the last of it is gone.
    Stalled {
        /// Which actor, and for how long.
        reason: String,
    },
    /// The pipeline was told to stop and finishes what it has.
    Draining {
        /// The last generation.
        generation: u64,
    },
    /// Given up: a person has to act.
    Failed {
        /// How the last generation ended, and why there is no other.
        reason: String,
    },
    /// Ended in order: drained, or its source was bounded and is finished.
    Stopped,
}

impl Status {
    const NAMES: [&str; 7] =
        ["starting", "running", "backoff", "stalled", "draining", "failed", "stopped"];

    /// Returns the state in one word, as metrics and the HTTP API have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Backoff { .. } => "backoff",
            Self::Stalled { .. } => "stalled",
            Self::Draining { .. } => "draining",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Returns whether nothing will follow.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Stopped)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { generation }
            | Self::Running { generation }
            | Self::Draining { generation } => {
                write!(f, "{} (generation {generation})", self.name())
            }
            Self::Backoff { reason, .. } | Self::Stalled { reason } | Self::Failed { reason } => {
                write!(f, "{}: {reason}", self.name())
            }
            Self::Stopped => f.write_str(self.name()),
        }
    }
}

/// Tells the world where the pipeline stands.
#[derive(Clone, Debug)]
pub(crate) struct StatusPublisher {
    pipeline: Arc<str>,
    sender: watch::Sender<Status>,
}

impl StatusPublisher {
    pub(crate) fn new(pipeline: &Arc<str>, sender: watch::Sender<Status>) -> Self {
        Self { pipeline: Arc::clone(pipeline), sender }
    }

    pub(crate) fn set(&self, status: Status) {
        self.publish_metric(&status);
        self.sender.send_replace(status);
    }

    /// Sets `status` only where `from` is what stands there now.
    pub(crate) fn replace(&self, from: &Status, status: Status) {
        self.sender.send_if_modified(|current| {
            let is_from = current == from;
            if is_from {
                self.publish_metric(&status);
                *current = status;
            }
            is_from
        });
    }

    /// Takes down that an actor does nothing any more.
    pub(crate) fn stalled(&self, stalled: &Stalled) {
        let labels =
            [("pipeline", self.pipeline.to_string()), ("actor", stalled.actor.to_string())];
        metrics::counter!("tidecast_pipeline_stalls_total", &labels).increment(1);
    }

    fn publish_metric(&self, status: &Status) {
        for state in Status::NAMES {
            let labels = [("pipeline", self.pipeline.to_string()), ("state", state.to_owned())];
            let value = if state == status.name() { 1.0 } else { 0.0 };
            metrics::gauge!("tidecast_pipeline_state", &labels).set(value);
        }
    }

    pub(crate) fn restarted(&self) {
        metrics::counter!("tidecast_pipeline_restarts_total", "pipeline" => self.pipeline.to_string())
            .increment(1);
    }
}
