//! What an actor is.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use crate::clock::Clock;
use crate::exit::ActorExit;
use crate::mailbox::{Mailbox, Message};
use crate::progress::Progress;
use crate::scope::Scope;

/// What an actor's handlers get to know of the outside.
#[derive(Clone, Debug)]
pub struct Context {
    name: Arc<str>,
    scope: Scope,
    progress: Progress,
}

impl Context {
    pub(crate) fn new(name: Arc<str>, scope: Scope) -> Self {
        let progress = scope.enlist(&name);
        Self { name, scope, progress }
    }

    /// Returns the actor's name: that of its mailbox, or the one it was spawned with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the actor was born under.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the clock to go by.
    pub fn clock(&self) -> &Clock {
        self.scope.clock()
    }

    /// Returns where the actor shows that it gets on.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Sends a message on. The time that this waits for room counts as the
    /// receiver's, not as this actor's.
    ///
    /// # Errors
    /// [`ActorExit::DownstreamGone`] if the receiver is gone.
    pub async fn send<M: Message>(&self, to: &Mailbox<M>, message: M) -> Result<(), ActorExit> {
        Ok(self.progress.while_waiting(to.send(message)).await?)
    }
}

/// A value that handles messages one at a time, as a task ([`spawn`](crate::spawn)).
///
/// Killed, it is dropped where it waits: at any `.await` within its methods. What
/// blocks it keeps in a [`Host`](crate::Host).
///
/// ```
/// use tidecast_actors::{Actor, ActorExit, Context, Scope, mailbox, spawn};
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
/// let handle = spawn(Sum(0, result), receiver, &Scope::new());
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
    type Message: Message;

    /// Handles one message. An error ends the actor with that value.
    fn handle(
        &mut self,
        message: Self::Message,
        context: &Context,
    ) -> impl Future<Output = Result<(), ActorExit>> + Send;

    /// Returns when [`on_deadline`](Self::on_deadline) is due by the scope's clock; asked
    /// before each wait. A deadline goes before messages.
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
