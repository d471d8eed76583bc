//! Time that tests can hold still.

use std::future;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Where supervision takes its time from.
///
/// tokio's own paused clock needs a feature that would change tokio for every
/// crate of a test build; supervision needs two calls only.
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
    Simulated(watch::Receiver<Instant>),
}

/// Moves a simulated [`Clock`] and its clones.
#[derive(Debug)]
pub struct SimulatedTime(watch::Sender<Instant>);

impl Clock {
    /// Returns the system's monotonic clock.
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    /// Returns a clock that stands still, and what moves it.
    pub fn simulated() -> (Self, SimulatedTime) {
        let (sender, receiver) = watch::channel(Instant::now());
        (Self(Kind::Simulated(receiver)), SimulatedTime(sender))
    }

    /// Returns the present instant.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Kind::System => Instant::now(),
            Kind::Simulated(now) => *now.borrow(),
        }
    }

    /// Waits until `deadline`; not at all if it has passed.
    pub async fn sleep_until(&self, deadline: Instant) {
        match &self.0 {
            Kind::System => tokio::time::sleep_until(deadline.into()).await,
            Kind::Simulated(now) => {
                let reached = now.clone().wait_for(|now| *now >= deadline).await.is_ok();
                if !reached {
                    // Nobody can move this time any more.
                    future::pending::<()>().await;
                }
            }
        }
    }
}

impl SimulatedTime {
    /// Lets `duration` pass: everything due by then wakes.
    pub fn advance(&self, duration: Duration) {
        self.0.send_modify(|now| *now += duration);
    }
}
