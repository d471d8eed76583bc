//! Running actors, and learning how they ended.

use std::fmt;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use futures::FutureExt;
use tokio::sync::oneshot;

use crate::actor::{Actor, BlockingActor, Context};
use crate::exit::{ActorExit, Failure};
use crate::kill_switch::{AliveGuard, KillSwitch};
use crate::mailbox::{Received, Receiver};

/// A running actor. Dropped, it leaves the actor running.
#[must_use = "an actor's ending is learnt from `join`"]
pub struct ActorHandle {
    name: Arc<str>,
    exit: oneshot::Receiver<ActorExit>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ActorHandle {
    /// Returns the actor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the actor and everything it owned are gone; returns how it ended.
    pub async fn join(self) -> ActorExit {
        // Only a runtime that shuts down under the actor loses its value.
        let exit = self.exit.await.unwrap_or(ActorExit::Killed);
        if let Some(thread) = self.thread
            && thread.join().is_err()
        {
            tracing::error!(actor = %self.name, "thread panicked while it ended");
        }
        exit
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
pub fn spawn<A: Actor>(
    actor: A,
    receiver: Receiver<A::Message>,
    kill_switch: &KillSwitch,
) -> ActorHandle {
    let name: Arc<str> = receiver.name().into();
    let context = Context::new(Arc::clone(&name), kill_switch.clone());
    spawn_task(name, kill_switch, async move { run(actor, receiver, &context).await })
}

async fn run<A: Actor>(
    mut actor: A,
    mut receiver: Receiver<A::Message>,
    context: &Context,
) -> ActorExit {
    loop {
        let deadline = actor.deadline();
        let outcome = if is_due(deadline) {
            actor.on_deadline(context).await
        } else {
            tokio::select! {
                message = receiver.recv() => match message {
                    Some(message) => actor.handle(message, context).await,
                    None => return exit_of(actor.finish(context).await),
                },
                () = sleep_until(deadline) => actor.on_deadline(context).await,
            }
        };
        if let Err(exit) = outcome {
            return exit;
        }
    }
}

fn is_due(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Runs `actor` on a thread of its own, which handles the receiver's messages.
///
/// [`BlockingActor`] has an example.
pub fn spawn_blocking<A: BlockingActor>(
    actor: A,
    receiver: Receiver<A::Message>,
    kill_switch: &KillSwitch,
) -> ActorHandle {
    let name: Arc<str> = receiver.name().into();
    spawn_thread(name, kill_switch, move |context| run_blocking(actor, receiver, context))
}

fn run_blocking<A: BlockingActor>(
    mut actor: A,
    mut receiver: Receiver<A::Message>,
    context: &Context,
) -> ActorExit {
    loop {
        let deadline = actor.deadline();
        let outcome = if context.kill_switch().is_killed() {
            return ActorExit::Killed;
        } else if is_due(deadline) {
            actor.on_deadline(context)
        } else {
            match receiver.blocking_recv_or_killed(deadline, context.kill_switch()) {
                Some(Received::Message(message)) => actor.handle(message, context),
                Some(Received::TimedOut) => actor.on_deadline(context),
                Some(Received::Closed) => return exit_of(actor.finish(context)),
                None => return ActorExit::Killed,
            }
        };
        if let Err(exit) = outcome {
            return exit;
        }
    }
}

fn exit_of(finished: Result<(), ActorExit>) -> ActorExit {
    finished.err().unwrap_or(ActorExit::Drained)
}

/// Runs `body` as a task under `kill_switch`: for an actor that takes no messages.
///
/// Killed, the body is dropped where it waits. Must be called within a tokio
/// runtime.
///
/// ```
/// use tidecast_actors::{ActorExit, KillSwitch, spawn_task};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let kill_switch = KillSwitch::new();
/// let ticker = spawn_task("ticker", &kill_switch, std::future::pending());
/// kill_switch.kill();
/// assert_eq!(ticker.join().await, ActorExit::Killed);
/// # }
/// ```
pub fn spawn_task(
    name: impl Into<Arc<str>>,
    kill_switch: &KillSwitch,
    body: impl Future<Output = ActorExit> + Send + 'static,
) -> ActorHandle {
    let name = name.into();
    let (ending, exit) = Ending::new(&name, kill_switch);
    let kill_switch = kill_switch.clone();
    tokio::spawn(async move {
        let body = async {
            tokio::select! {
                biased;
                () = kill_switch.killed() => ActorExit::Killed,
                exit = body => exit,
            }
        };
        ending.report(AssertUnwindSafe(body).catch_unwind().await);
    });
    ActorHandle { name, exit, thread: None }
}

/// Runs `body` on a thread of its own: for an actor that blocks and takes no
/// messages, like one that polls a source. It has to ask its kill switch.
///
/// ```
/// use tidecast_actors::{ActorExit, KillSwitch, mailbox, spawn_thread};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (mailbox, mut receiver) = mailbox("numbers", 2);
/// let counter = spawn_thread("counter", &KillSwitch::new(), move |context| {
///     for n in 0..3 {
///         if context.kill_switch().is_killed() {
///             return ActorExit::Killed;
///         }
///         if let Err(closed) = mailbox.blocking_send(n) {
///             return closed.into();
///         }
///     }
///     ActorExit::Quit
/// });
/// while receiver.recv().await.is_some() {}
/// assert_eq!(counter.join().await, ActorExit::Quit);
/// # }
/// ```
pub fn spawn_thread(
    name: impl Into<Arc<str>>,
    kill_switch: &KillSwitch,
    body: impl FnOnce(&Context) -> ActorExit + Send + 'static,
) -> ActorHandle {
    let name = name.into();
    let (ending, exit) = Ending::new(&name, kill_switch);
    let context = Context::new(Arc::clone(&name), kill_switch.clone());
    let spawned = thread::Builder::new().name(name.to_string()).spawn(move || {
        ending.report(panic::catch_unwind(AssertUnwindSafe(|| body(&context))));
    });
    match spawned {
        Ok(thread) => ActorHandle { name, exit, thread: Some(thread) },
        Err(error) => {
            let reason = format!("cannot start a thread for `{name}`: {error}; raise the limit");
            let (sender, exit) = oneshot::channel();
            sender.send(Failure::retriable(reason).into()).ok();
            ActorHandle { name, exit, thread: None }
        }
    }
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
