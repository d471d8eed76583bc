//! What actors are born under.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::exit::ActorExit;
use crate::kill_switch::KillSwitch;
use crate::progress::{Progress, Roster};

/// What actors are born under: the switch that ends them, the clock they go by, and
/// the roster that shows whether they get on.
///
/// A clone is the same scope.
///
/// ```
/// use tidecast_actors::{ActorExit, Scope, spawn_task};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let scope = Scope::new();
/// let ticker = spawn_task("ticker", &scope, |_| std::future::pending());
/// scope.kill();
/// assert_eq!(ticker.join().await, ActorExit::Killed);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Scope {
    kill_switch: KillSwitch,
    clock: Clock,
    roster: Roster,
    runtime: Option<Handle>,
}

impl Scope {
    /// Returns a scope with nothing above it, on the system's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Hangs the actors on this switch.
    #[must_use]
    pub fn with_kill_switch(self, kill_switch: KillSwitch) -> Self {
        Self { kill_switch, ..self }
    }

    /// Runs the actors on another runtime: those that compute would else keep others
    /// waiting.
    #[must_use]
    pub fn on(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// Returns a scope with a switch below this one's, and the same roster.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { kill_switch: self.kill_switch.child(), ..self.clone() }
    }

    /// Returns the switch that ends its actors.
    pub fn kill_switch(&self) -> &KillSwitch {
        &self.kill_switch
    }

    /// Ends its actors at once.
    pub fn kill(&self) {
        self.kill_switch.kill();
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns who shows its progress here.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn enlist(&self, actor: &Arc<str>) -> Progress {
        self.roster.enlist(actor, &self.clock)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }

    /// Runs what computes for long off the runtime's threads. It cannot be killed:
    /// whoever waits for [`KillSwitch::gone`] waits for it, too.
    ///
    /// # Errors
    /// If it panicked.
    pub async fn compute<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, ActorExit> {
        if self.clock.is_simulated() {
            return Ok(work());
        }
        let alive = self.kill_switch.alive_guard();
        let work = move || {
            let result = work();
            drop(alive);
            result
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => Ok(result),
            Err(error) => Err(match error.try_into_panic() {
                Ok(payload) => ActorExit::from_panic(payload.as_ref()),
                Err(_) => ActorExit::Killed,
            }),
        }
    }
}
