//! Actors: bounded mailboxes, endings as values, a kill switch, supervision by
//! generation.
//!
//! An actor is a value with a [`Mailbox`] in front of it, which is bounded in messages
//! and in bytes. It runs as a task ([`spawn`]) and never blocks: what has to (a client
//! of librdkafka, a model) is a value on a thread of its own, which the actor calls
//! ([`Host`]). It never shares its state; others send it messages.
//!
//! # How an actor ends
//!
//! | what happens                                   | [`ActorExit`]    |
//! |------------------------------------------------|------------------|
//! | every [`Mailbox`] is dropped, the rest is handled, `finish` succeeds | `Drained` |
//! | it has nothing more to do                      | `Quit`           |
//! | its [`KillSwitch`] is thrown                   | `Killed`         |
//! | it sends to a mailbox whose receiver is gone   | `DownstreamGone` |
//! | it returns a failure                           | `Failed`         |
//! | it panics                                      | `Panicked`       |
//!
//! Endings travel the way of the data: when a source stops, its mailbox drops,
//! the next actor drains, and so on to the sink. Nobody parses a message to learn
//! why something ended.
//!
//! # Generations
//!
//! A [`Supervisor`] runs a pipeline as one *generation* after another. Actors are
//! never restarted alone: a generation ends whole, is waited for until the last
//! of its actors is gone (a model must not be in memory twice), and the next one
//! starts from what was committed. [`RestartPolicy`] says how often.
//!
//! ```
//! use tidecast_actors::{Actor, ActorExit, Context, Scope, mailbox, spawn};
//!
//! struct Doubler {
//!     downstream: tidecast_actors::Mailbox<u32>,
//! }
//!
//! impl Actor for Doubler {
//!     type Message = u32;
//!     async fn handle(&mut self, message: u32, context: &Context) -> Result<(), ActorExit> {
//!         context.send(&self.downstream, 2 * message).await
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (downstream, mut results) = mailbox("results", 4);
//! let (numbers, receiver) = mailbox("doubler", 4);
//! let doubler = spawn(Doubler { downstream }, receiver, &Scope::new());
//!
//! numbers.send(21).await.unwrap();
//! drop(numbers); // nothing more will come: the actor drains
//!
//! assert_eq!(results.recv().await, Some(42));
//! assert_eq!(results.recv().await, None);
//! assert_eq!(doubler.join().await, ActorExit::Drained);
//! # }
//! ```

mod actor;
mod clock;
mod exit;
mod generation;
mod host;
mod kill_switch;
mod mailbox;
mod progress;
mod scope;
mod spawn;
mod status;
mod supervisor;

pub use actor::{Actor, Context};
pub use clock::{Clock, SimulatedTime};
pub use exit::{ActorExit, Failure};
pub use generation::{Generation, join_all};
pub use host::{Call, Host};
pub use kill_switch::{DrainSignal, KillSwitch};
pub use mailbox::{Bounds, Closed, Mailbox, Message, Receiver, TrySendError, mailbox};
pub use progress::{Progress, Roster, Stalled};
pub use scope::Scope;
pub use spawn::{ActorHandle, spawn, spawn_task};
pub use status::Status;
pub use supervisor::{RestartPolicy, Supervisor, SupervisorHandle};
