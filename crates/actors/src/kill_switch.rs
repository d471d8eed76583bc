//! The two ways to end a generation from outside: at once, or by draining.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Ends actors at once, wherever they wait.
///
/// Switches form a tree: throwing one throws all below it, and none above or
/// beside it. A clone is the same switch.
///
/// ```
/// use tidecast_actors::KillSwitch;
/// let process = KillSwitch::new();
/// let (one, other) = (process.child(), process.child());
/// one.kill();
/// assert!(one.is_killed() && !other.is_killed() && !process.is_killed());
/// process.kill();
/// assert!(other.is_killed());
/// ```
#[derive(Clone, Debug)]
pub struct KillSwitch {
    token: CancellationToken,
    alive: Arc<Alive>,
}

/// How many actors run under a switch and the switches below it.
#[derive(Debug)]
struct Alive {
    count: watch::Sender<usize>,
    parent: Option<Arc<Alive>>,
}

/// Counts as one running actor until dropped.
#[derive(Debug)]
pub(crate) struct AliveGuard(Arc<Alive>);

impl Default for KillSwitch {
    fn default() -> Self {
        Self::new()
    }
}

impl KillSwitch {
    /// Returns a switch with nothing above it.
    pub fn new() -> Self {
        Self::with_parent(CancellationToken::new(), None)
    }

    /// Returns a switch below this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::with_parent(self.token.child_token(), Some(Arc::clone(&self.alive)))
    }

    fn with_parent(token: CancellationToken, parent: Option<Arc<Alive>>) -> Self {
        Self { token, alive: Arc::new(Alive { count: watch::Sender::new(0), parent }) }
    }

    /// Throws the switch. Thrown, it stays so.
    pub fn kill(&self) {
        self.token.cancel();
    }

    /// Returns whether it has been thrown. A blocking actor asks between two steps.
    pub fn is_killed(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it is thrown.
    pub async fn killed(&self) {
        self.token.cancelled().await;
    }

    /// Waits until no actor runs under this switch or one below it.
    ///
    /// ```
    /// use tidecast_actors::{ActorExit, Scope, spawn_task};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let scope = Scope::new();
    /// drop(spawn_task("worker", &scope, |_| async { ActorExit::Quit })); // nobody joins it
    /// scope.kill_switch().gone().await;
    /// # }
    /// ```
    pub async fn gone(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        self.alive.count.subscribe().wait_for(|count| *count == 0).await.ok();
    }

    pub(crate) fn alive_guard(&self) -> AliveGuard {
        self.alive.for_self_and_above(|count| *count += 1);
        AliveGuard(Arc::clone(&self.alive))
    }
}

impl Alive {
    fn for_self_and_above(&self, change: impl Fn(&mut usize)) {
        let mut node = Some(self);
        while let Some(alive) = node {
            alive.count.send_modify(&change);
            node = alive.parent.as_deref();
        }
    }
}

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.0.for_self_and_above(|count| *count -= 1);
    }
}

/// Asks a generation to stop taking in and to finish what it has.
///
/// Only sources heed it: they stop, drop their mailboxes, and everything
/// downstream drains. A clone is the same signal.
///
/// ```
/// use tidecast_actors::DrainSignal;
/// let drain = DrainSignal::new();
/// assert!(!drain.is_draining());
/// drain.clone().start();
/// assert!(drain.is_draining());
/// ```
#[derive(Clone, Debug, Default)]
pub struct DrainSignal(CancellationToken);

impl DrainSignal {
    /// Returns a signal not yet given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Given, it stays so.
    pub fn start(&self) {
        self.0.cancel();
    }

    /// Returns whether it has been given. A source asks between two polls.
    pub fn is_draining(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is given.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }
}
