//! Time that tests can hold still.

use std::collections::BTreeMap;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Where actors and their supervision take their time from.
///
/// tokio's own paused clock needs a feature that would change tokio for every
/// crate of a test build, and its order of wake-ups is not said; of this one it is:
/// who is due first wakes first, and of equals who began to wait first. So a
/// simulation on one thread goes the same way each time.
///
/// ```
/// use std::time::Duration;
/// use tidecast_actors::Clock;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (clock, time) = Clock::simulated();
/// let deadline = clock.now() + Duration::from_secs(3600);
/// time.advance(Duration::from_secs(3600));
/// clock.sleep_until(deadline).await; // an hour, at once
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    System,
    Simulated(Arc<Mutex<Simulated>>),
}

/// Moves a simulated [`Clock`] and its clones.
#[derive(Clone, Debug)]
pub struct SimulatedTime(Arc<Mutex<Simulated>>);

#[derive(Debug)]
struct Simulated {
    now: Instant,
    /// Who waits until when, and in which order they began.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    /// How long the calls of each host take.
    latencies: BTreeMap<String, Duration>,
}

impl Clock {
    /// Returns the system's monotonic clock.
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    /// Returns a clock that stands still, and what moves it.
    pub fn simulated() -> (Self, SimulatedTime) {
        let simulated = Arc::new(Mutex::new(Simulated {
            now: Instant::now(),
            sleepers: BTreeMap::new(),
            next: 0,
            latencies: BTreeMap::new(),
        }));
        (Self(Kind::Simulated(Arc::clone(&simulated))), SimulatedTime(simulated))
    }

    /// Returns whether it is a simulated one: then nothing runs on threads of its own.
    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.0, Kind::Simulated(_))
    }

    /// Returns the present instant.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Kind::System => Instant::now(),
            Kind::Simulated(simulated) => lock(simulated).now,
        }
    }

    /// Returns how much time has passed since `earlier`.
    pub fn since(&self, earlier: Instant) -> Duration {
        self.now().saturating_duration_since(earlier)
    }

    /// Waits until `deadline`; not at all if it has passed.
    pub async fn sleep_until(&self, deadline: Instant) {
        match &self.0 {
            Kind::System => tokio::time::sleep_until(deadline.into()).await,
            Kind::Simulated(simulated) => {
                let mut sleeper = Sleeper { simulated, deadline, place: None };
                future::poll_fn(|context| sleeper.poll(context.waker())).await;
            }
        }
    }

    /// Waits for `future` until `deadline`; `None` if that comes first.
    pub async fn until<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep_until(deadline) => None,
        }
    }

    /// Waits for as long as a call of the host of this name takes by a simulated
    /// clock; not at all by the system's, where calls take what they take.
    pub(crate) async fn simulate_call(&self, host: &str) {
        let Kind::Simulated(simulated) = &self.0 else { return };
        let until = {
            let simulated = lock(simulated);
            let latencies = simulated.latencies.iter();
            let latency = latencies.filter(|(name, _)| host.starts_with(name.as_str()));
            simulated.now + latency.map(|(_, latency)| *latency).max().unwrap_or_default()
        };
        self.sleep_until(until).await;
    }
}

/// Somebody who waits by a simulated clock; gone, it is forgotten.
struct Sleeper<'a> {
    simulated: &'a Mutex<Simulated>,
    deadline: Instant,
    place: Option<(Instant, u64)>,
}

impl Sleeper<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut simulated = lock(self.simulated);
        if simulated.now >= self.deadline {
            return Poll::Ready(());
        }
        let place = *self.place.get_or_insert_with(|| {
            simulated.next += 1;
            (self.deadline, simulated.next)
        });
        simulated.sleepers.insert(place, waker.clone());
        Poll::Pending
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            lock(self.simulated).sleepers.remove(&place);
        }
    }
}

impl SimulatedTime {
    /// Lets `duration` pass: everything due by then wakes, in order.
    pub fn advance(&self, duration: Duration) {
        let due = {
            let mut simulated = lock(&self.0);
            simulated.now += duration;
            let later = simulated.now + Duration::from_nanos(1);
            let waiting = simulated.sleepers.split_off(&(later, 0));
            std::mem::replace(&mut simulated.sleepers, waiting)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Lets time pass until the next one is due who waits, `most` at most.
    pub fn advance_to_next(&self, most: Duration) {
        let next = {
            let simulated = lock(&self.0);
            let first = simulated.sleepers.first_key_value();
            first.map(|((due, _), _)| due.saturating_duration_since(simulated.now))
        };
        self.advance(next.unwrap_or(most).min(most));
    }

    /// Sets how long each call of the hosts takes whose names begin like this; before,
    /// they take no time.
    pub fn set_latency(&self, hosts: &str, latency: Duration) {
        lock(&self.0).latencies.insert(hosts.to_owned(), latency);
    }
}

fn lock(simulated: &Mutex<Simulated>) -> MutexGuard<'_, Simulated> {
    simulated.lock().unwrap_or_else(PoisonError::into_inner)
}
