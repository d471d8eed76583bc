//! Whether actors get on with what they do.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// What one actor shows of its progress.
///
/// It is busy from the moment it is given a message until it waits for the next one.
/// While it waits for room in the mailbox of another, that one is to blame and it
/// counts as idle ([`while_waiting`](Self::while_waiting)).
#[derive(Clone, Debug)]
pub struct Progress(Arc<Activity>);

#[derive(Debug)]
struct Activity {
    actor: Arc<str>,
    clock: Clock,
    /// Since when it is at something; `None` while it waits.
    busy: Mutex<Option<Instant>>,
}

impl Progress {
    /// Says that something was done: whoever takes long over a message says so now
    /// and then.
    pub fn made(&self) {
        *self.0.lock() = Some(self.0.clock.now());
    }

    pub(crate) fn idle(&self) {
        *self.0.lock() = None;
    }

    /// Waits for what others have to do first; the time counts as theirs.
    pub async fn while_waiting<F: Future>(&self, future: F) -> F::Output {
        self.idle();
        let output = future.await;
        self.made();
        output
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The actors of a scope, and those of others that it depends on. A clone is the same
/// roster.
///
/// ```
/// use std::time::Duration;
/// use tidecast_actors::{Clock, Scope, spawn_task};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (clock, time) = Clock::simulated();
/// let scope = Scope::new().with_clock(clock);
/// let _actor = spawn_task("sink", &scope, |context| async move {
///     context.progress().made();
///     std::future::pending().await
/// });
/// tokio::task::yield_now().await;
/// time.advance(Duration::from_secs(60));
/// assert!(scope.roster().stalled(Duration::from_secs(61)).is_none());
/// let stalled = scope.roster().stalled(Duration::from_secs(60)).unwrap();
/// assert_eq!(&*stalled.actor, "sink");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Mutex<Enlisted>>);

#[derive(Debug, Default)]
struct Enlisted {
    actors: Vec<Weak<Activity>>,
    others: Vec<Roster>,
}

/// An actor that does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Its name.
    pub actor: Arc<str>,
    /// How long it has been at one message.
    pub since: Duration,
}

impl Roster {
    pub(crate) fn enlist(&self, actor: &Arc<str>, clock: &Clock) -> Progress {
        let activity = Arc::new(Activity {
            actor: Arc::clone(actor),
            clock: clock.clone(),
            busy: Mutex::new(None),
        });
        let mut enlisted = self.lock();
        enlisted.actors.retain(|actor| actor.strong_count() > 0);
        enlisted.actors.push(Arc::downgrade(&activity));
        Progress(activity)
    }

    /// Counts the actors of `other` in, whom those of this one wait for.
    pub fn depend_on(&self, other: &Roster) {
        self.lock().others.push(other.clone());
    }

    /// Returns the actor that has been at one message for the longest, if that is
    /// `patience` or more.
    pub fn stalled(&self, patience: Duration) -> Option<Stalled> {
        let (actors, others) = {
            let enlisted = self.lock();
            let actors: Vec<_> = enlisted.actors.iter().filter_map(Weak::upgrade).collect();
            (actors, enlisted.others.clone())
        };
        let own = actors.into_iter().filter_map(|activity| {
            let since = activity.clock.since((*activity.lock())?);
            Some(Stalled { actor: Arc::clone(&activity.actor), since })
        });
        let own = own.filter(|stalled| stalled.since >= patience);
        own.chain(others.iter().filter_map(|other| other.stalled(patience)))
            .max_by_key(|stalled| stalled.since)
    }

    fn lock(&self) -> MutexGuard<'_, Enlisted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
