//! Mailboxes with a name, bounded in messages and in bytes.

use std::fmt;
use std::sync::Arc;

use metrics::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What can lie in a mailbox.
pub trait Message: Send + 'static {
    /// Returns about how many bytes of memory it holds on to.
    fn bytes(&self) -> usize;
}

macro_rules! messages_of_no_weight {
    ($($type:ty),*) => {$(
        impl Message for $type {
            fn bytes(&self) -> usize {
                size_of::<Self>()
            }
        }
    )*};
}

messages_of_no_weight!((), i32, u32, u64, &'static str);

impl Message for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// How much a mailbox holds before its senders wait.
///
/// ```
/// use tidecast_actors::Bounds;
/// assert_eq!(Bounds::from(4), Bounds { messages: 4, ..Bounds::default() });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages, at least one.
    pub messages: usize,
    /// Bytes of them all, in whole KiB; a message that is larger waits until the
    /// mailbox is empty and then goes in alone.
    pub bytes: usize,
}

impl Default for Bounds {
    /// 4 messages and 32 MiB.
    fn default() -> Self {
        Self { messages: 4, bytes: 32 << 20 }
    }
}

impl From<usize> for Bounds {
    fn from(messages: usize) -> Self {
        Self { messages, ..Self::default() }
    }
}

/// What bytes are counted in: a message below this weighs nothing.
const WEIGHT_BYTES: usize = 1 << 10;

/// Returns a mailbox of these bounds and the receiver that empties it.
///
/// Its depth and capacity are published as the gauges
/// `tidecast_mailbox_depth_messages`, `tidecast_mailbox_capacity_messages` and
/// `tidecast_mailbox_depth_bytes` with the label `mailbox`; mailboxes of the same
/// name add up.
///
/// ```
/// use tidecast_actors::{TrySendError, mailbox};
/// let (mailbox, mut receiver) = mailbox("windower", 1);
/// mailbox.try_send("first").unwrap();
/// assert!(matches!(mailbox.try_send("second"), Err(TrySendError::Full("second"))));
/// assert_eq!(receiver.try_recv(), Some("first"));
/// ```
pub fn mailbox<M: Message>(
    name: impl Into<Arc<str>>,
    bounds: impl Into<Bounds>,
) -> (Mailbox<M>, Receiver<M>) {
    let (name, bounds) = (name.into(), bounds.into());
    let capacity = bounds.messages.max(1);
    let label = [("mailbox", name.to_string())];
    let gauges = Gauges {
        messages: metrics::gauge!("tidecast_mailbox_depth_messages", &label),
        bytes: metrics::gauge!("tidecast_mailbox_depth_bytes", &label),
    };
    let capacity_gauge = metrics::gauge!("tidecast_mailbox_capacity_messages", &label);
    // Here every channel between actors is made, and it is bounded.
    let (sender, receiver) = mpsc::channel(capacity);
    let most = u32::try_from(bounds.bytes / WEIGHT_BYTES).unwrap_or(u32::MAX).max(1);
    let weights = Arc::new(Semaphore::new(most as usize));
    let room = Room { weights, most };
    let mailbox = Mailbox { name: Arc::clone(&name), sender, room: room.clone(), gauges };
    let counted_capacity = Counted::new(&capacity_gauge, capacity);
    (mailbox, Receiver { name, receiver, room, _capacity: counted_capacity })
}

/// The bytes that a mailbox has room for.
#[derive(Clone)]
struct Room {
    weights: Arc<Semaphore>,
    most: u32,
}

impl Room {
    /// Returns the part of it that a message takes; `None` for one that weighs nothing.
    fn weight_of(&self, bytes: usize) -> Option<u32> {
        let weight = u32::try_from(bytes / WEIGHT_BYTES).unwrap_or(u32::MAX);
        (weight > 0).then(|| weight.min(self.most))
    }
}

#[derive(Clone)]
struct Gauges {
    messages: Gauge,
    bytes: Gauge,
}

/// The sending side of an actor's mailbox; cheap to clone.
///
/// When the last clone is dropped the actor handles what is left and ends as
/// [`Drained`](crate::ActorExit::Drained).
pub struct Mailbox<M> {
    name: Arc<str>,
    sender: mpsc::Sender<Envelope<M>>,
    room: Room,
    gauges: Gauges,
}

/// A message, counted in the depth gauges for as long as it lies in the mailbox,
/// be it received or thrown away with the mailbox.
struct Envelope<M> {
    message: M,
    _room: Option<OwnedSemaphorePermit>,
    _messages: Counted,
    _bytes: Counted,
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

impl<M: Message> Mailbox<M> {
    /// Sends `message`, waiting while the mailbox is full.
    ///
    /// # Errors
    /// If the receiver is gone; the error holds the message.
    pub async fn send(&self, message: M) -> Result<(), Closed<M>> {
        let bytes = message.bytes();
        let Ok(slot) = self.sender.reserve().await else { return Err(Closed(message)) };
        let room = match self.room.weight_of(bytes) {
            None => None,
            Some(weight) => match Arc::clone(&self.room.weights).acquire_many_owned(weight).await {
                Ok(permit) => Some(permit),
                Err(_) => return Err(Closed(message)),
            },
        };
        slot.send(self.envelope(message, bytes, room));
        Ok(())
    }

    /// Sends `message` if there is room.
    ///
    /// # Errors
    /// If the mailbox is full or the receiver is gone; the error holds the message.
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        use mpsc::error::TrySendError as NoSlot;
        use tokio::sync::TryAcquireError as NoRoom;
        let bytes = message.bytes();
        let slot = match self.sender.try_reserve() {
            Ok(slot) => slot,
            Err(NoSlot::Full(())) => return Err(TrySendError::Full(message)),
            Err(NoSlot::Closed(())) => return Err(TrySendError::Closed(message)),
        };
        let room = match self.room.weight_of(bytes) {
            None => None,
            Some(weight) => match Arc::clone(&self.room.weights).try_acquire_many_owned(weight) {
                Ok(permit) => Some(permit),
                Err(NoRoom::NoPermits) => return Err(TrySendError::Full(message)),
                Err(NoRoom::Closed) => return Err(TrySendError::Closed(message)),
            },
        };
        slot.send(self.envelope(message, bytes, room));
        Ok(())
    }

    fn envelope(
        &self,
        message: M,
        bytes: usize,
        room: Option<OwnedSemaphorePermit>,
    ) -> Envelope<M> {
        Envelope {
            message,
            _room: room,
            _messages: Counted::new(&self.gauges.messages, 1),
            _bytes: Counted::new(&self.gauges.bytes, bytes),
        }
    }
}

impl<M> Mailbox<M> {
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
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            sender: self.sender.clone(),
            room: self.room.clone(),
            gauges: self.gauges.clone(),
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
    room: Room,
    _capacity: Counted,
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.close();
    }
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

    /// Refuses further messages; those already in the mailbox can be received.
    pub fn close(&mut self) {
        self.receiver.close();
        self.room.weights.close();
    }

    /// Returns the mailbox's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many messages lie in it.
    pub fn depth(&self) -> usize {
        self.receiver.len()
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
/// use tidecast_actors::mailbox;
/// let (mailbox, receiver) = mailbox::<u32>("publisher", 1);
/// drop(receiver);
/// assert!(matches!(mailbox.try_send(7), Err(tidecast_actors::TrySendError::Closed(7))));
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
