//! Restarting a pipeline by generation, within a budget.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::exit::{ActorExit, Failure};
use crate::generation::Generation;
use crate::kill_switch::{DrainSignal, KillSwitch};
use crate::progress::{Roster, Stalled};
use crate::scope::Scope;
use crate::status::{Status, StatusPublisher};

/// How often a pipeline may be restarted, and how fast.
///
/// The wait before a restart is `initial_backoff`, doubled for every restart that
/// lies within `window`, up to `max_backoff`. It holds no chance: the same
/// failures give the same times.
///
/// ```
/// use std::time::Duration;
/// use tidecast_actors::RestartPolicy;
/// let policy = RestartPolicy { initial_backoff: Duration::from_secs(1), ..Default::default() };
/// assert_eq!(policy.backoff(0), Duration::from_secs(1));
/// assert_eq!(policy.backoff(3), Duration::from_secs(8));
/// assert_eq!(policy.backoff(100), policy.max_backoff);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The wait before the first restart.
    pub initial_backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// How many restarts `window` may hold; at the next failure the pipeline is
    /// given up.
    pub max_restarts: usize,
    /// How long a restart counts.
    pub window: Duration,
}

impl Default for RestartPolicy {
    /// Five restarts within ten minutes, waiting from half a second to 30 seconds.
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            max_restarts: 5,
            window: Duration::from_secs(600),
        }
    }
}

impl RestartPolicy {
    /// Returns the wait before a restart when `recent` others lie within the window.
    pub fn backoff(&self, recent: usize) -> Duration {
        let factor = u32::try_from(recent).ok().and_then(|recent| 2_u32.checked_pow(recent));
        self.initial_backoff.saturating_mul(factor.unwrap_or(u32::MAX)).min(self.max_backoff)
    }
}

/// Runs a pipeline as one generation after another.
///
/// | a generation ends as            | what follows                              |
/// |---------------------------------|-------------------------------------------|
/// | `Drained`, `Quit`               | [`Status::Stopped`]                       |
/// | `Failed`, not retriable         | [`Status::Failed`]                        |
/// | an actor does nothing any more  | [`Status::Stalled`], then as `Failed`, retriable |
/// | otherwise, within the budget    | [`Status::Backoff`], then the next one    |
/// | otherwise, the budget spent     | [`Status::Failed`]                        |
///
/// Two generations never overlap: the next starts when no actor spawned under the
/// kill switch of the last one is left, however long that takes.
///
/// ```
/// use std::time::Duration;
/// use tidecast_actors::{ActorExit, Clock, Failure, Status, Supervisor};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (clock, time) = Clock::simulated();
/// let supervisor = Supervisor::new("load_forecast").clock(clock).spawn(|generation| async move {
///     match generation.number {
///         1 => Failure::retriable("connection lost").into(),
///         _ => ActorExit::Drained,
///     }
/// });
/// let mut status = supervisor.status();
/// status.wait_for(|status| matches!(status, Status::Backoff { .. })).await.unwrap();
/// time.advance(Duration::from_secs(1));
/// assert_eq!(supervisor.join().await, Status::Stopped);
/// # }
/// ```
#[derive(Debug)]
pub struct Supervisor {
    name: Arc<str>,
    policy: RestartPolicy,
    drain_timeout: Duration,
    stall_timeout: Duration,
    clock: Clock,
    kill_switch: KillSwitch,
}

impl Supervisor {
    /// Returns a supervisor with the default policy, a drain timeout of 30 seconds and a
    /// stall timeout of ten minutes. `name` is the label `pipeline` of its metrics.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            policy: RestartPolicy::default(),
            drain_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(600),
            clock: Clock::system(),
            kill_switch: KillSwitch::new(),
        }
    }

    /// Sets how often and how fast to restart.
    #[must_use]
    pub fn policy(self, policy: RestartPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Sets how long a stop may drain before the generation is killed.
    #[must_use]
    pub fn drain_timeout(self, drain_timeout: Duration) -> Self {
        Self { drain_timeout, ..self }
    }

    /// Sets for how long an actor may be at one message before the generation is killed.
    #[must_use]
    pub fn stall_timeout(self, stall_timeout: Duration) -> Self {
        Self { stall_timeout, ..self }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Hangs all generations on a child of `kill_switch`; thrown, it ends the
    /// pipeline for good.
    #[must_use]
    pub fn kill_switch(self, kill_switch: &KillSwitch) -> Self {
        Self { kill_switch: kill_switch.child(), ..self }
    }

    /// Starts the first generation. Must be called within a tokio runtime.
    ///
    /// `run` is called once per generation. It spawns its actors under the
    /// generation's scope, calls [`Generation::set_running`] when they are
    /// up, and returns how they ended ([`join_all`](crate::join_all)).
    pub fn spawn<F, R>(self, run: F) -> SupervisorHandle
    where
        F: FnMut(Generation) -> R + Send + 'static,
        R: Future<Output = ActorExit> + Send + 'static,
    {
        let (status, _) = watch::channel(Status::Starting { generation: 1 });
        let stop = DrainSignal::new();
        let handle = SupervisorHandle {
            name: Arc::clone(&self.name),
            status: status.subscribe(),
            stop: stop.clone(),
            kill_switch: self.kill_switch.clone(),
            task: None,
        };
        let publisher = StatusPublisher::new(&self.name, status);
        let task = tokio::spawn(self.supervise(run, publisher, stop));
        SupervisorHandle { task: Some(task), ..handle }
    }

    async fn supervise<F, R>(self, mut run: F, status: StatusPublisher, stop: DrainSignal) -> Status
    where
        F: FnMut(Generation) -> R + Send + 'static,
        R: Future<Output = ActorExit> + Send + 'static,
    {
        let mut restarts = Restarts { policy: self.policy, recent: VecDeque::new() };
        let mut number = 1;
        let last = loop {
            status.set(Status::Starting { generation: number });
            let generation = Generation {
                number,
                scope: Scope::new()
                    .with_clock(self.clock.clone())
                    .with_kill_switch(self.kill_switch.child()),
                drain: DrainSignal::new(),
                status: status.clone(),
            };
            let exit = self.run_generation(&mut run, generation, &status, &stop).await;
            let stopping = stop.is_draining() || self.kill_switch.is_killed();
            match restarts.decide(exit, stopping, self.clock.now()) {
                Decision::End(last) => break last,
                Decision::Restart { until, reason } => {
                    tracing::warn!(pipeline = %self.name, generation = number, %reason, "generation ended, restarting");
                    status.set(Status::Backoff { until, reason });
                    tokio::select! {
                        biased;
                        () = stop.started() => break Status::Stopped,
                        () = self.kill_switch.killed() => break Status::Stopped,
                        () = self.clock.sleep_until(until) => {}
                    }
                    status.restarted();
                    number += 1;
                }
            }
        };
        match &last {
            Status::Failed { reason } => {
                tracing::error!(pipeline = %self.name, generation = number, %reason, "pipeline failed");
            }
            _ => tracing::info!(pipeline = %self.name, generation = number, "pipeline stopped"),
        }
        status.set(last.clone());
        last
    }

    /// Runs one generation until all its actors are gone.
    async fn run_generation<F, R>(
        &self,
        run: &mut F,
        generation: Generation,
        status: &StatusPublisher,
        stop: &DrainSignal,
    ) -> ActorExit
    where
        F: FnMut(Generation) -> R,
        R: Future<Output = ActorExit>,
    {
        let number = generation.number;
        let scope = generation.scope.clone();
        let drain = generation.drain.clone();
        tracing::info!(pipeline = %self.name, generation = number, "generation starting");
        let body = AssertUnwindSafe(async { run(generation).await }).catch_unwind();
        let exit = tokio::select! {
            biased;
            // Not left to the body: it may be waiting for something else.
            () = self.kill_switch.killed() => ActorExit::Killed,
            ended = body => ended.unwrap_or_else(|payload| ActorExit::from_panic(payload.as_ref())),
            overdue = self.drain_when_told(number, &drain, status, stop) => overdue,
            stalled = self.watch(scope.roster()) => {
                status.stalled(&stalled);
                let Stalled { actor, since } = stalled;
                let reason = format!(
                    "{actor} has been at one message for {} s, longer than it may \
                     (`pipeline.stall_timeout`)",
                    since.as_secs()
                );
                tracing::error!(pipeline = %self.name, generation = number, %reason, "stalled");
                status.set(Status::Stalled { reason: reason.clone() });
                Failure::retriable(reason).into()
            }
        };
        // Whatever the body left behind goes now, before anything follows.
        scope.kill();
        self.wait_until_gone(scope.kill_switch(), number).await;
        exit
    }

    /// Returns the actor that does nothing any more, when there is one.
    async fn watch(&self, roster: &Roster) -> Stalled {
        let beat = (self.stall_timeout / 8).max(Duration::from_millis(10));
        loop {
            self.clock.sleep_until(self.clock.now() + beat).await;
            if let Some(stalled) = roster.stalled(self.stall_timeout) {
                return stalled;
            }
        }
    }

    /// Passes a stop on to the sources; returns when the time to drain is over.
    async fn drain_when_told(
        &self,
        generation: u64,
        drain: &DrainSignal,
        status: &StatusPublisher,
        stop: &DrainSignal,
    ) -> ActorExit {
        stop.started().await;
        status.set(Status::Draining { generation });
        drain.start();
        self.clock.sleep_until(self.clock.now() + self.drain_timeout).await;
        let reason = format!("did not drain within {:?} and was killed", self.drain_timeout);
        Failure::fatal(reason).into()
    }

    /// Waits for the last actor of a killed generation, and says so when it lingers.
    async fn wait_until_gone(&self, kill_switch: &KillSwitch, generation: u64) {
        let mut gone = pin!(kill_switch.gone());
        loop {
            let deadline = self.clock.now() + self.drain_timeout.max(Duration::from_secs(1));
            tokio::select! {
                biased;
                () = &mut gone => return,
                () = self.clock.sleep_until(deadline) => {
                    tracing::error!(pipeline = %self.name, generation, "killed actors are still busy; if this repeats, restart the process");
                }
            }
        }
    }
}

/// The restarts that still count against the budget.
struct Restarts {
    policy: RestartPolicy,
    recent: VecDeque<Instant>,
}

enum Decision {
    End(Status),
    Restart { until: Instant, reason: String },
}

impl Restarts {
    fn decide(&mut self, exit: ActorExit, stopping: bool, now: Instant) -> Decision {
        if exit.is_orderly() || (stopping && exit == ActorExit::Killed) {
            return Decision::End(Status::Stopped);
        }
        let reason = match &exit {
            ActorExit::Failed(failure) => failure.reason.clone(),
            other => other.to_string(),
        };
        if stopping || !exit.is_retriable() {
            return Decision::End(Status::Failed { reason });
        }
        let window = self.policy.window;
        self.recent.retain(|restart| now.duration_since(*restart) < window);
        if self.recent.len() >= self.policy.max_restarts {
            let reason = format!(
                "the budget of {} restarts within {window:?} is spent: {reason}",
                self.policy.max_restarts
            );
            return Decision::End(Status::Failed { reason });
        }
        let until = now + self.policy.backoff(self.recent.len());
        self.recent.push_back(until);
        Decision::Restart { until, reason }
    }
}

/// A supervised pipeline. Dropped, it leaves the pipeline running.
#[derive(Debug)]
#[must_use = "a pipeline is stopped and its ending learnt through the handle"]
pub struct SupervisorHandle {
    name: Arc<str>,
    status: watch::Receiver<Status>,
    stop: DrainSignal,
    kill_switch: KillSwitch,
    task: Option<JoinHandle<Status>>,
}

impl SupervisorHandle {
    /// Returns the pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where the pipeline stands, now and whenever it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Asks the pipeline to drain and stop; killed when the drain timeout is over.
    pub fn stop(&self) {
        self.stop.start();
    }

    /// Ends the pipeline at once.
    pub fn kill(&self) {
        self.kill_switch.kill();
    }

    /// Waits until the pipeline has ended; returns its last status.
    pub async fn join(mut self) -> Status {
        match self.task.take() {
            Some(task) => task.await.unwrap_or_else(|error| Status::Failed {
                reason: format!("the supervisor itself ended: {error}"),
            }),
            None => self.status.borrow().clone(),
        }
    }
}
