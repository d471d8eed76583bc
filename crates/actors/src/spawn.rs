//! Running actors, and learning how they ended.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread;

use futures::FutureExt;
use tokio::sync::oneshot;

use crate::actor::{Actor, Context};
use crate::exit::ActorExit;
use crate::kill_switch::{AliveGuard, KillSwitch};
use crate::mailbox::Receiver;
use crate::scope::Scope;

/// A running actor. Dropped, it leaves the actor running.
#[must_use = "an actor's ending is learnt from `join`"]
pub struct ActorHandle {
    name: Arc<str>,
    exit: oneshot::Receiver<ActorExit>,
}

impl ActorHandle {
    /// Returns the actor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the actor is gone; returns how it ended. What it hosts may end a
    /// moment later ([`KillSwitch::gone`]).
    pub async fn join(self) -> ActorExit {
        // Only a runtime that shuts down under the actor loses its value.
        self.exit.await.unwrap_or(ActorExit::Killed)
    }
}

impl fmt::Debug for ActorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorHandle({})", self.name)
    }
}

/// Runs `actor` as a task that handles the receiver's messages.
///
/// Must be called within a tokio runtime. [`Actor`] has an example.
pub fn spawn<A: Actor>(actor: A, receiver: Receiver<A::Message>, scope: &Scope) -> ActorHandle {
    let name: Arc<str> = receiver.name().into();
    spawn_task(name, scope, |context| async move { run(actor, receiver, &context).await })
}

async fn run<A: Actor>(
    mut actor: A,
    mut receiver: Receiver<A::Message>,
    context: &Context,
) -> ActorExit {
    let (clock, progress) = (context.clock(), context.progress());
    loop {
        progress.idle();
        let deadline = actor.deadline();
        let message = match deadline {
            // Asked before the mailbox, which might never be empty.
            Some(deadline) if deadline <= clock.now() => None,
            Some(deadline) => clock.until(deadline, receiver.recv()).await,
            None => Some(receiver.recv().await),
        };
        progress.made();
        let outcome = match message {
            None => actor.on_deadline(context).await,
            Some(Some(message)) => actor.handle(message, context).await,
            Some(None) => return actor.finish(context).await.err().unwrap_or(ActorExit::Drained),
        };
        if let Err(exit) = outcome {
            return exit;
        }
    }
}

/// Runs what `body` returns as a task: for an actor that takes no messages.
///
/// Killed, the body is dropped where it waits. It counts as idle until it says
/// otherwise ([`Progress::made`](crate::Progress::made)). Must be called within a tokio
/// runtime. [`Scope`] has an example.
pub fn spawn_task<F>(
    name: impl Into<Arc<str>>,
    scope: &Scope,
    body: impl FnOnce(Context) -> F,
) -> ActorHandle
where
    F: Future<Output = ActorExit> + Send + 'static,
{
    let name = name.into();
    let (ending, exit) = Ending::new(&name, scope.kill_switch());
    let body = body(Context::new(Arc::clone(&name), scope.clone()));
    let kill_switch = scope.kill_switch().clone();
    scope.spawn(async move {
        let body = async {
            tokio::select! {
                biased;
                () = kill_switch.killed() => ActorExit::Killed,
                exit = body => exit,
            }
        };
        ending.report(AssertUnwindSafe(body).catch_unwind().await);
    });
    ActorHandle { name, exit }
}

/// Reports how an actor ended, after everything it owned is dropped.
struct Ending {
    name: Arc<str>,
    kill_switch: KillSwitch,
    exit: oneshot::Sender<ActorExit>,
    alive: AliveGuard,
}

impl Ending {
    fn new(name: &Arc<str>, kill_switch: &KillSwitch) -> (Self, oneshot::Receiver<ActorExit>) {
        let (sender, receiver) = oneshot::channel();
        let ending = Self {
            name: Arc::clone(name),
            kill_switch: kill_switch.clone(),
            exit: sender,
            alive: kill_switch.alive_guard(),
        };
        (ending, receiver)
    }

    fn report(self, outcome: thread::Result<ActorExit>) {
        let exit = match outcome {
            // Those downstream were killed a moment earlier, by the same switch.
            Ok(ActorExit::DownstreamGone) if self.kill_switch.is_killed() => ActorExit::Killed,
            Ok(exit) => exit,
            Err(payload) => ActorExit::from_panic(payload.as_ref()),
        };
        tracing::debug!(actor = %self.name, %exit, "actor ended");
        drop(self.alive);
        // Nobody has to wait for it.
        self.exit.send(exit).ok();
    }
}
