//! Actors: bounded mailboxes, endings as values, a kill switch, supervision by
//! generation.
//!
//! An actor is a value with a [`Mailbox`] in front of it. It runs as a task
//! ([`spawn`]) or, when it blocks, on a thread of its own ([`spawn_blocking`],
//! [`spawn_thread`]). It never shares its state; others send it messages.
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
//! use tidecast_actors::{Actor, ActorExit, Context, KillSwitch, mailbox, spawn};
//!
//! struct Doubler {
//!     downstream: tidecast_actors::Mailbox<i64>,
//! }
//!
//! impl Actor for Doubler {
//!     type Message = i64;
//!     async fn handle(&mut self, message: i64, _: &Context) -> Result<(), ActorExit> {
//!         self.downstream.send(2 * message).await?; // `Closed` becomes `DownstreamGone`
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (downstream, mut results) = mailbox("results", 4);
//! let (numbers, receiver) = mailbox("doubler", 4);
//! let doubler = spawn(Doubler { downstream }, receiver, &KillSwitch::new());
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
mod kill_switch;
mod mailbox;
mod spawn;
mod status;
mod supervisor;

pub use actor::{Actor, BlockingActor, Context};
pub use clock::{Clock, SimulatedTime};
pub use exit::{ActorExit, Failure};
pub use generation::{Generation, join_all};
pub use kill_switch::{DrainSignal, KillSwitch};
pub use mailbox::{Closed, Mailbox, Received, Receiver, TrySendError, mailbox};
pub use spawn::{ActorHandle, spawn, spawn_blocking, spawn_task, spawn_thread};
pub use status::Status;
pub use supervisor::{RestartPolicy, Supervisor, SupervisorHandle};
