//! How an actor ended, as a value.

use std::any::Any;
use std::fmt;

use crate::mailbox::Closed;

/// How an actor, or a whole generation, ended.
///
/// A handler returns it as the error of its `Result` to end its actor; `?` on a
/// failed send ends it as [`DownstreamGone`](ActorExit::DownstreamGone).
///
/// ```
/// use tidecast_actors::{ActorExit, Failure};
/// assert!(ActorExit::Drained.is_orderly());
/// let exit = ActorExit::from(Failure::fatal("topic `readings` does not exist; create it"));
/// assert!(!exit.is_retriable());
/// assert_eq!(exit.to_string(), "failed: topic `readings` does not exist; create it");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActorExit {
    /// Every sender was gone, all messages were handled, `finish` succeeded.
    #[error("drained")]
    Drained,
    /// It had nothing more to do, though messages could still have come.
    #[error("quit")]
    Quit,
    /// Its kill switch was thrown; messages may be unhandled.
    #[error("killed")]
    Killed,
    /// Whom it sends to is gone.
    #[error("downstream is gone")]
    DownstreamGone,
    /// It could not go on.
    #[error("failed: {0}")]
    Failed(#[from] Failure),
    /// It panicked, with this message.
    #[error("panicked: {0}")]
    Panicked(String),
}

impl ActorExit {
    /// Returns whether the work was done: [`Drained`](Self::Drained) or
    /// [`Quit`](Self::Quit).
    pub const fn is_orderly(&self) -> bool {
        matches!(self, Self::Drained | Self::Quit)
    }

    /// Returns whether a new generation may succeed without anybody acting.
    ///
    /// A panic counts as retriable: it may hang on timing, and the restart
    /// budget ends the matter when it does not.
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Drained | Self::Quit => false,
            Self::Killed | Self::DownstreamGone | Self::Panicked(_) => true,
            Self::Failed(failure) => failure.retriable,
        }
    }

    /// Returns how much this ending tells about the cause when several actors
    /// ended together: a failure outranks what merely follows from it.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::Quit => 1,
            Self::Killed => 2,
            Self::DownstreamGone => 3,
            Self::Panicked(_) => 4,
            Self::Failed(Failure { retriable: true, .. }) => 5,
            // No restart helps, so this is what a person has to read.
            Self::Failed(Failure { retriable: false, .. }) => 6,
        }
    }

    pub(crate) fn from_panic(payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a value that is no text".to_owned());
        Self::Panicked(message)
    }
}

impl<M> From<Closed<M>> for ActorExit {
    fn from(_: Closed<M>) -> Self {
        Self::DownstreamGone
    }
}

/// Why an actor could not go on, and whether trying again may help.
///
/// ```
/// use tidecast_actors::Failure;
/// let failure = Failure::retriable("broker `localhost:9092` closed the connection");
/// assert!(failure.retriable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, where, and what to do.
    pub reason: String,
    /// Whether a new generation may succeed without anybody acting.
    pub retriable: bool,
}

impl Failure {
    /// Returns a failure that a new generation may not meet again.
    pub fn retriable(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), retriable: true }
    }

    /// Returns a failure that stays until a person acts.
    pub fn fatal(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), retriable: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}
