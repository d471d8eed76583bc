//! One life of a pipeline.

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::exit::ActorExit;
use crate::kill_switch::DrainSignal;
use crate::scope::Scope;
use crate::spawn::ActorHandle;
use crate::status::{Status, StatusPublisher};

/// What a [`Supervisor`](crate::Supervisor) hands to each life of a pipeline.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Which life this is, from 1.
    pub number: u64,
    /// What all its actors are spawned under: its switch ends this generation.
    pub scope: Scope,
    /// Tells the sources of this generation to stop, so that it drains.
    pub drain: DrainSignal,
    pub(crate) status: StatusPublisher,
}

impl Generation {
    /// Says that the generation is up: its status becomes
    /// [`Running`](Status::Running). Until then it is `Starting`.
    pub fn set_running(&self) {
        let generation = self.number;
        self.status.replace(&Status::Starting { generation }, Status::Running { generation });
    }
}

/// Waits for all `actors`; the first that ends otherwise than drained or quit
/// throws the switch of `scope`. Returns the ending that tells most: a failure before the
/// endings that follow from it.
///
/// This is the body of a generation once its actors are spawned.
///
/// ```
/// use tidecast_actors::{ActorExit, Failure, Scope, join_all, spawn_task};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let scope = Scope::new();
/// let idle = spawn_task("idle", &scope, |_| std::future::pending());
/// let failing = spawn_task("failing", &scope, |_| async {
///     Failure::retriable("connection lost").into()
/// });
/// let exit = join_all([idle, failing], &scope).await;
/// assert_eq!(exit, Failure::retriable("failing: connection lost").into());
/// # }
/// ```
pub async fn join_all(actors: impl IntoIterator<Item = ActorHandle>, scope: &Scope) -> ActorExit {
    let mut running: FuturesUnordered<_> = actors
        .into_iter()
        .map(|actor| async {
            let name = actor.name().to_owned();
            (name, actor.join().await)
        })
        .collect();
    let mut outcome = ActorExit::Drained;
    while let Some((name, exit)) = running.next().await {
        if !exit.is_orderly() {
            scope.kill();
        }
        // The first of equals stays: it is nearest to the cause.
        if exit.rank() > outcome.rank() {
            outcome = named(&name, exit);
        }
    }
    outcome
}

/// Puts the actor's name before its reason.
fn named(name: &str, exit: ActorExit) -> ActorExit {
    match exit {
        ActorExit::Failed(mut failure) => {
            failure.reason = format!("{name}: {}", failure.reason);
            ActorExit::Failed(failure)
        }
        ActorExit::Panicked(message) => ActorExit::Panicked(format!("{name}: {message}")),
        other => other,
    }
}
