//! Bounded mailboxes with a name and a depth.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{self, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Instant;

use metrics::Gauge;
use tokio::sync::mpsc;

use crate::kill_switch::KillSwitch;

/// Returns a mailbox that holds up to `capacity` messages (at least one) and the
/// receiver that empties it.
///
/// Its depth and capacity are published as the gauges
/// `tidecast_mailbox_depth_messages` and `tidecast_mailbox_capacity_messages`
/// with the label `mailbox`; mailboxes of the same name add up.
///
/// ```
/// use tidecast_actors::{TrySendError, mailbox};
/// let (mailbox, mut receiver) = mailbox("windower", 1);
/// mailbox.try_send("first").unwrap();
/// assert!(matches!(mailbox.try_send("second"), Err(TrySendError::Full("second"))));
/// assert_eq!(receiver.try_recv(), Some("first"));
/// ```
pub fn mailbox<M>(name: impl Into<Arc<str>>, capacity: usize) -> (Mailbox<M>, Receiver<M>) {
    let name = name.into();
    let capacity = capacity.max(1);
    let label = [("mailbox", name.to_string())];
    let depth = metrics::gauge!("tidecast_mailbox_depth_messages", &label);
    let capacity_gauge = metrics::gauge!("tidecast_mailbox_capacity_messages", &label);
    // Here every channel of the project is made, and it is bounded.
    let (sender, receiver) = mpsc::channel(capacity);
    let mailbox = Mailbox { name: Arc::clone(&name), sender, depth };
    let counted_capacity = Counted::new(&capacity_gauge, capacity);
    (mailbox, Receiver { name, receiver, _capacity: counted_capacity })
}

/// The sending side of an actor's mailbox; cheap to clone.
///
/// When the last clone is dropped the actor handles what is left and ends as
/// [`Drained`](crate::ActorExit::Drained).
pub struct Mailbox<M> {
    name: Arc<str>,
    sender: mpsc::Sender<Envelope<M>>,
    depth: Gauge,
}

/// A message, counted in the depth gauge for as long as it lies in the mailbox,
/// be it received or thrown away with the mailbox.
struct Envelope<M> {
    message: M,
    _depth: Counted,
}

/// Adds to a gauge until dropped.
struct Counted {
    gauge: Gauge,
    amount: f64,
}

impl Counted {
    fn new(gauge: &Gauge, amount: usize) -> Self {
        let amount = amount as f64;
        gauge.increment(amount);
        Self { gauge: gauge.clone(), amount }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.decrement(self.amount);
    }
}

impl<M> Mailbox<M> {
    /// Sends `message`, waiting while the mailbox is full.
    ///
    /// # Errors
    /// If the receiver is gone; the error holds the message.
    pub async fn send(&self, message: M) -> Result<(), Closed<M>> {
        match self.sender.reserve().await {
            Ok(permit) => {
                permit.send(self.envelope(message));
                Ok(())
            }
            Err(_) => Err(Closed(message)),
        }
    }

    /// Sends `message` if there is room.
    ///
    /// # Errors
    /// If the mailbox is full or the receiver is gone; the error holds the message.
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        match self.sender.try_reserve() {
            Ok(permit) => {
                permit.send(self.envelope(message));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(TrySendError::Full(message)),
            Err(mpsc::error::TrySendError::Closed(())) => Err(TrySendError::Closed(message)),
        }
    }

    /// Sends `message`, blocking the thread while the mailbox is full. For actors
    /// that own a thread; within a task use [`send`](Self::send).
    ///
    /// # Errors
    /// If the receiver is gone; the error holds the message.
    pub fn blocking_send(&self, message: M) -> Result<(), Closed<M>> {
        let mut send = pin!(self.sender.reserve());
        match block_until(None, |context| send.as_mut().poll(context)) {
            Some(Ok(permit)) => {
                permit.send(self.envelope(message));
                Ok(())
            }
            Some(Err(_)) | None => Err(Closed(message)),
        }
    }

    /// Returns the mailbox's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many messages lie in it.
    pub fn depth(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Returns how many messages it can hold.
    pub fn capacity(&self) -> usize {
        self.sender.max_capacity()
    }

    /// Returns whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn envelope(&self, message: M) -> Envelope<M> {
        Envelope { message, _depth: Counted::new(&self.depth, 1) }
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            sender: self.sender.clone(),
            depth: self.depth.clone(),
        }
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({} {}/{})", self.name, self.depth(), self.capacity())
    }
}

/// The receiving side of a mailbox: one actor owns it.
pub struct Receiver<M> {
    name: Arc<str>,
    receiver: mpsc::Receiver<Envelope<M>>,
    _capacity: Counted,
}

/// What a wait with a deadline brought.
///
/// ```
/// use std::time::Instant;
/// use tidecast_actors::{Received, mailbox};
/// let (mailbox, mut receiver) = mailbox::<()>("forecaster", 1);
/// assert_eq!(receiver.blocking_recv_until(Instant::now()), Received::TimedOut);
/// drop(mailbox);
/// assert_eq!(receiver.blocking_recv_until(Instant::now()), Received::Closed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<M> {
    /// A message.
    Message(M),
    /// Nothing came in time.
    TimedOut,
    /// All senders are gone and the mailbox is empty: nothing will come.
    Closed,
}

impl<M> Receiver<M> {
    /// Waits for the next message; `None` once all senders are gone and the rest
    /// has been received. Loses nothing when dropped before it is ready.
    pub async fn recv(&mut self) -> Option<M> {
        self.receiver.recv().await.map(|envelope| envelope.message)
    }

    /// Returns the next message if there is one.
    pub fn try_recv(&mut self) -> Option<M> {
        self.receiver.try_recv().ok().map(|envelope| envelope.message)
    }

    /// Waits for the next message, blocking the thread; `None` as for
    /// [`recv`](Self::recv). For actors that own a thread.
    pub fn blocking_recv(&mut self) -> Option<M> {
        block_until(None, |context| self.poll_recv(context)).flatten()
    }

    /// Waits for the next message until `deadline`, blocking the thread.
    pub fn blocking_recv_until(&mut self, deadline: Instant) -> Received<M> {
        match block_until(Some(deadline), |context| self.poll_recv(context)) {
            Some(Some(message)) => Received::Message(message),
            Some(None) => Received::Closed,
            None => Received::TimedOut,
        }
    }

    /// Refuses further messages; those already in the mailbox can be received.
    pub fn close(&mut self) {
        self.receiver.close();
    }

    /// Returns the mailbox's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many messages lie in it.
    pub fn depth(&self) -> usize {
        self.receiver.len()
    }

    fn poll_recv(&mut self, context: &mut task::Context<'_>) -> Poll<Option<M>> {
        self.receiver.poll_recv(context).map(|received| received.map(|envelope| envelope.message))
    }

    /// Like [`blocking_recv_until`](Self::blocking_recv_until), and returns
    /// `None` as soon as `kill_switch` is thrown.
    pub(crate) fn blocking_recv_or_killed(
        &mut self,
        deadline: Option<Instant>,
        kill_switch: &KillSwitch,
    ) -> Option<Received<M>> {
        let mut killed = pin!(kill_switch.killed());
        let received = block_until(deadline, |context| {
            if killed.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            self.poll_recv(context).map(Some)
        });
        match received {
            Some(None) => None,
            Some(Some(Some(message))) => Some(Received::Message(message)),
            Some(Some(None)) => Some(Received::Closed),
            None => Some(Received::TimedOut),
        }
    }
}

impl<M> fmt::Debug for Receiver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({} {}/{})", self.name, self.depth(), self.receiver.max_capacity())
    }
}

/// The receiver of a mailbox is gone. Holds the message that could not be sent.
///
/// ```
/// use tidecast_actors::{Closed, mailbox};
/// let (mailbox, receiver) = mailbox("publisher", 1);
/// drop(receiver);
/// assert_eq!(mailbox.blocking_send(7), Err(Closed(7)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiving actor is gone")]
pub struct Closed<M>(pub M);

/// A message could not be sent at once. Holds the message.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<M> {
    /// The mailbox holds as many messages as it can.
    #[error("the mailbox is full")]
    Full(M),
    /// The receiver is gone.
    #[error("the receiving actor is gone")]
    Closed(M),
}

// By hand: an error can be printed whether or not its message can.
impl<M> fmt::Debug for Closed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

impl<M> fmt::Debug for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

/// Wakes a thread that waits in [`block_until`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks the thread until `poll` is ready; `None` if the deadline comes first.
///
/// tokio's own blocking calls know neither a deadline nor a kill switch, and this
/// needs no runtime.
fn block_until<T>(
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut task::Context<'_>) -> Poll<T>,
) -> Option<T> {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = task::Context::from_waker(&waker);
    loop {
        if let Poll::Ready(ready) = poll(&mut context) {
            return Some(ready);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(left) if left.is_zero() => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}
