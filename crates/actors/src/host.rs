//! Values that block, on threads of their own.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::exit::{ActorExit, Failure};
use crate::scope::Scope;

/// A value whose methods block, on a thread of its own, and the way to call it.
///
/// An actor is a task and never blocks: what it has to wait for on a thread (a client
/// of librdkafka, a model) it hosts. The thread counts as an actor of the scope until
/// the value is dropped there: whoever waits for
/// [`KillSwitch::gone`](crate::KillSwitch::gone) waits for it. A call that is under way
/// when its actor is killed runs to its end.
///
/// By a simulated clock there is no thread: a call takes the time that
/// [`SimulatedTime::set_latency`](crate::SimulatedTime::set_latency) says, and then none.
///
/// ```
/// use tidecast_actors::{Host, Scope};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut file = Host::new("file", &Scope::new(), Vec::new());
/// file.call(|lines: &mut Vec<&str>| lines.push("a")).await.unwrap();
/// assert_eq!(file.call(|lines| lines.len()).await, Ok(1));
/// # }
/// ```
pub struct Host<T> {
    name: Arc<str>,
    scope: Scope,
    place: Place<T>,
}

enum Place<T> {
    Thread(mpsc::Sender<Work<T>>),
    /// Beside whoever calls.
    Here(Arc<Mutex<T>>),
    /// The system gave no thread, for this reason.
    Nowhere(String),
}

type Work<T> = Box<dyn FnOnce(&mut T) + Send>;

/// What a call of a [`Host`] comes to. Dropped, the call is made all the same.
pub type Call<R> = Pin<Box<dyn Future<Output = Result<R, ActorExit>> + Send>>;

impl<T: Send + 'static> Host<T> {
    /// Moves `value` to a thread of its own.
    pub fn new(name: impl Into<Arc<str>>, scope: &Scope, value: T) -> Self {
        let name = name.into();
        let place = if scope.clock().is_simulated() {
            Place::Here(Arc::new(Mutex::new(value)))
        } else {
            on_thread(&name, scope, value)
        };
        Self { name, scope: scope.clone(), place }
    }

    /// Calls the value. One call is made after the other.
    ///
    /// # Errors
    /// If an earlier call or this one panicked, or two others wait still.
    pub fn call<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Call<R> {
        match &self.place {
            Place::Here(value) => {
                let (value, clock) = (Arc::clone(value), self.scope.clock().clone());
                let name = Arc::clone(&self.name);
                Box::pin(async move {
                    clock.simulate_call(&name).await;
                    let mut value = value.lock().unwrap_or_else(PoisonError::into_inner);
                    Ok(work(&mut value))
                })
            }
            Place::Thread(sender) => {
                let (reply, answer) = oneshot::channel();
                let work: Work<T> = Box::new(move |value| {
                    let result = panic::catch_unwind(AssertUnwindSafe(|| work(value)));
                    // Whoever called may have been killed meanwhile.
                    reply.send(result).ok();
                });
                let sent = sender.try_send(work).is_ok();
                let name = Arc::clone(&self.name);
                Box::pin(async move {
                    match answer.await {
                        Ok(result) => result.map_err(|payload| panicked(payload.as_ref())),
                        Err(_) if sent => Err(gone(&name)),
                        Err(_) => {
                            let reason = format!("`{name}` is still busy with earlier calls");
                            Err(Failure::retriable(reason).into())
                        }
                    }
                })
            }
            Place::Nowhere(reason) => {
                let failure = Failure::retriable(reason);
                Box::pin(async move { Err(failure.into()) })
            }
        }
    }
}

fn panicked(payload: &(dyn Any + Send)) -> ActorExit {
    ActorExit::from_panic(payload)
}

fn gone(name: &str) -> ActorExit {
    Failure::retriable(format_args!("`{name}` ended in an earlier call")).into()
}

fn on_thread<T: Send + 'static>(name: &Arc<str>, scope: &Scope, mut value: T) -> Place<T> {
    // One call under way and one that waits behind it.
    let (sender, mut receiver) = mpsc::channel::<Work<T>>(2);
    let alive = scope.kill_switch().alive_guard();
    let spawned = thread::Builder::new().name(name.to_string()).spawn(move || {
        while let Some(work) = receiver.blocking_recv() {
            work(&mut value);
        }
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(value)));
        if dropped.is_err() {
            tracing::error!("what a thread held panicked while it ended");
        }
        drop(alive);
    });
    match spawned {
        Ok(_) => Place::Thread(sender),
        Err(error) => Place::Nowhere(format!(
            "cannot start a thread for `{name}`: {error}; raise the limit of threads"
        )),
    }
}

impl<T> fmt::Debug for Host<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.name)
    }
}
