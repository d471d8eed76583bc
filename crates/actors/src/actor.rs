//! What an actor is.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use crate::exit::ActorExit;
use crate::kill_switch::KillSwitch;

/// What an actor's handlers get to know of the outside.
#[derive(Clone, Debug)]
pub struct Context {
    name: Arc<str>,
    kill_switch: KillSwitch,
}

impl Context {
    pub(crate) fn new(name: Arc<str>, kill_switch: KillSwitch) -> Self {
        Self { name, kill_switch }
    }

    /// Returns the actor's name: that of its mailbox, or the one it was spawned with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the switch the actor hangs on. Who computes for long asks it now
    /// and then.
    pub fn kill_switch(&self) -> &KillSwitch {
        &self.kill_switch
    }
}

/// A value that handles messages one at a time, as a task ([`spawn`](crate::spawn)).
///
/// Killed, it is dropped where it waits: at any `.await` within its methods.
///
/// ```
/// use tidecast_actors::{Actor, ActorExit, Context, KillSwitch, mailbox, spawn};
///
/// struct Sum(u64, tokio::sync::oneshot::Sender<u64>);
/// impl Actor for Sum {
///     type Message = u64;
///     async fn handle(&mut self, message: u64, _: &Context) -> Result<(), ActorExit> {
///         self.0 += message;
///         Ok(())
///     }
///     async fn finish(self, _: &Context) -> Result<(), ActorExit> {
///         self.1.send(self.0).map_err(|_| ActorExit::DownstreamGone)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (result, sum) = tokio::sync::oneshot::channel();
/// let (mailbox, receiver) = mailbox("sum", 8);
/// let handle = spawn(Sum(0, result), receiver, &KillSwitch::new());
/// for n in 1..=10 {
///     mailbox.send(n).await.unwrap();
/// }
/// drop(mailbox);
/// assert_eq!(handle.join().await, ActorExit::Drained);
/// assert_eq!(sum.await, Ok(55));
/// # }
/// ```
pub trait Actor: Send + Sized + 'static {
    /// What it is sent.
    type Message: Send + 'static;

    /// Handles one message. An error ends the actor with that value.
    fn handle(
        &mut self,
        message: Self::Message,
        context: &Context,
    ) -> impl Future<Output = Result<(), ActorExit>> + Send;

    /// Returns when [`on_deadline`](Self::on_deadline) is due; asked before each
    /// wait. A deadline goes before messages.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what was due. Must move the deadline on.
    fn on_deadline(
        &mut self,
        _context: &Context,
    ) -> impl Future<Output = Result<(), ActorExit>> + Send {
        async { Ok(()) }
    }

    /// Completes what is under way: all senders are gone and all messages handled.
    /// Not called when the actor ends in another way.
    fn finish(self, _context: &Context) -> impl Future<Output = Result<(), ActorExit>> + Send {
        async { Ok(()) }
    }
}

/// An actor whose handlers block; it owns an OS thread
/// ([`spawn_blocking`](crate::spawn_blocking)).
///
/// Killed, it ends before its next message or deadline; a handler that takes long
/// asks [`Context::kill_switch`].
///
/// ```
/// use std::time::{Duration, Instant};
/// use tidecast_actors::{ActorExit, BlockingActor, Context, KillSwitch, mailbox, spawn_blocking};
///
/// /// Gathers messages for a moment, then writes them together.
/// #[derive(Default)]
/// struct Batcher {
///     waiting: Vec<String>,
///     due: Option<Instant>,
/// }
/// impl Batcher {
///     fn write(&mut self) {
///         self.due = None;
///         self.waiting.clear();
///     }
/// }
/// impl BlockingActor for Batcher {
///     type Message = String;
///     fn handle(&mut self, message: String, _: &Context) -> Result<(), ActorExit> {
///         self.waiting.push(message);
///         self.due.get_or_insert(Instant::now() + Duration::from_millis(5));
///         Ok(())
///     }
///     fn deadline(&self) -> Option<Instant> {
///         self.due
///     }
///     fn on_deadline(&mut self, _: &Context) -> Result<(), ActorExit> {
///         self.write();
///         Ok(())
///     }
///     fn finish(mut self, _: &Context) -> Result<(), ActorExit> {
///         self.write();
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (mailbox, receiver) = mailbox("batcher", 8);
/// let handle = spawn_blocking(Batcher::default(), receiver, &KillSwitch::new());
/// mailbox.send("a".to_owned()).await.unwrap();
/// drop(mailbox);
/// assert_eq!(handle.join().await, ActorExit::Drained);
/// # }
/// ```
pub trait BlockingActor: Send + Sized + 'static {
    /// What it is sent.
    type Message: Send + 'static;

    /// Handles one message. An error ends the actor with that value.
    ///
    /// # Errors
    /// The way in which the actor ends.
    fn handle(&mut self, message: Self::Message, context: &Context) -> Result<(), ActorExit>;

    /// Returns when [`on_deadline`](Self::on_deadline) is due; asked before each
    /// wait. A deadline goes before messages.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what was due. Must move the deadline on.
    ///
    /// # Errors
    /// The way in which the actor ends.
    fn on_deadline(&mut self, _context: &Context) -> Result<(), ActorExit> {
        Ok(())
    }

    /// Completes what is under way: all senders are gone and all messages handled.
    /// Not called when the actor ends in another way.
    ///
    /// # Errors
    /// The way in which the actor ends.
    fn finish(self, _context: &Context) -> Result<(), ActorExit> {
        Ok(())
    }
}
