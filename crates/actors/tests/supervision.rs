//! Generations, restarts and their budget, on simulated time.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidecast_actors::{
    ActorExit, Clock, Failure, Generation, Host, KillSwitch, RestartPolicy, Scope, Status,
    Supervisor, SupervisorHandle, join_all, spawn_task,
};
use tokio::sync::watch;

const POLICY: RestartPolicy = RestartPolicy {
    initial_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(4),
    max_restarts: 4,
    window: Duration::from_secs(60),
};

fn lost() -> ActorExit {
    Failure::retriable("connection lost").into()
}

async fn wait_for(status: &mut watch::Receiver<Status>, wanted: &str) -> Status {
    status.wait_for(|status| status.name() == wanted).await.unwrap().clone()
}

fn until(status: &Status) -> Instant {
    match status {
        Status::Backoff { until, .. } => *until,
        other => panic!("not in backoff: {other}"),
    }
}

/// Runs until it is told to drain.
async fn steady(generation: Generation) -> ActorExit {
    generation.set_running();
    let drain = generation.drain.clone();
    let source = spawn_task("source", &generation.scope, |_| async move {
        drain.started().await;
        ActorExit::Drained
    });
    join_all([source], &generation.scope).await
}

#[tokio::test]
async fn restarts_wait_longer_each_time_and_end_with_the_budget() {
    let (clock, time) = Clock::simulated();
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let supervisor = Supervisor::new("p").policy(POLICY).clock(clock.clone()).spawn(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(lost())
    });
    let mut status = supervisor.status();
    for (restart, seconds) in [1, 2, 4, 4].into_iter().enumerate() {
        let backoff = wait_for(&mut status, "backoff").await;
        assert_eq!(started.load(Ordering::SeqCst), restart + 1);
        assert_eq!(until(&backoff) - clock.now(), Duration::from_secs(seconds));
        // A moment too early nothing happens.
        time.advance(Duration::from_secs(seconds) - Duration::from_nanos(1));
        tokio::task::yield_now().await;
        assert_eq!(status.borrow_and_update().name(), "backoff");
        time.advance(Duration::from_nanos(1));
        status.changed().await.unwrap();
    }
    let reason = "the budget of 4 restarts within 60s is spent: connection lost".to_owned();
    assert_eq!(supervisor.join().await, Status::Failed { reason });
    assert_eq!(started.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn restarts_longer_ago_than_the_window_do_not_count() {
    let (clock, time) = Clock::simulated();
    let (fail, failing) = watch::channel(0);
    let supervisor = Supervisor::new("p").policy(POLICY).clock(clock.clone()).spawn(move |g| {
        let mut failing = failing.clone();
        async move {
            g.set_running();
            failing.wait_for(|failed| *failed >= g.number).await.ok();
            lost()
        }
    });
    let mut status = supervisor.status();
    for generation in 1..20 {
        wait_for(&mut status, "running").await;
        time.advance(POLICY.window);
        fail.send_replace(generation);
        let backoff = wait_for(&mut status, "backoff").await;
        assert_eq!(until(&backoff) - clock.now(), POLICY.initial_backoff);
        time.advance(POLICY.initial_backoff);
    }
    supervisor.stop();
    fail.send_replace(u64::MAX);
    assert!(supervisor.join().await.is_final());
}

#[tokio::test]
async fn a_failure_that_a_restart_cannot_mend_ends_the_pipeline_at_once() {
    let supervisor = Supervisor::new("p").spawn(|generation| {
        assert_eq!(generation.number, 1);
        std::future::ready(Failure::fatal("topic `readings` does not exist").into())
    });
    let reason = "topic `readings` does not exist".to_owned();
    assert_eq!(supervisor.join().await, Status::Failed { reason });
}

#[tokio::test]
async fn a_panic_in_one_pipeline_never_stops_another() {
    let (clock, time) = Clock::simulated();
    let process = KillSwitch::new();
    let healthy = Supervisor::new("healthy").kill_switch(&process).spawn(steady);
    let spawn = |name: &'static str, run: fn(Generation) -> ActorExit| -> SupervisorHandle {
        Supervisor::new(name)
            .policy(RestartPolicy { max_restarts: 1, ..POLICY })
            .clock(clock.clone())
            .kill_switch(&process)
            .spawn(move |generation| async move { run(generation) })
    };
    let in_body = spawn("in its body", |_| panic!("in the body"));
    let in_actor = Supervisor::new("in an actor")
        .policy(RestartPolicy { max_restarts: 1, ..POLICY })
        .clock(clock.clone())
        .kill_switch(&process)
        .spawn(|generation| async move {
            let scope = generation.scope;
            let actor = spawn_task("windower", &scope, |_| async { panic!("in an actor") });
            join_all([actor], &scope).await
        });
    for (supervisor, message) in
        [(in_body, "panicked: in the body"), (in_actor, "panicked: windower: in an actor")]
    {
        let mut status = supervisor.status();
        status.wait_for(|status| status.name() == "backoff" || status.is_final()).await.unwrap();
        time.advance(POLICY.max_backoff);
        let last = supervisor.join().await;
        let reason = format!("the budget of 1 restarts within 60s is spent: {message}");
        assert_eq!(last, Status::Failed { reason });
    }
    let mut status = healthy.status();
    assert_eq!(wait_for(&mut status, "running").await, Status::Running { generation: 1 });
    healthy.stop();
    assert_eq!(healthy.join().await, Status::Stopped);
}

struct LetsGoSlowly {
    number: u64,
    ended: Arc<Mutex<Vec<u64>>>,
    alive: Arc<AtomicUsize>,
}

impl Drop for LetsGoSlowly {
    fn drop(&mut self) {
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        self.ended.lock().unwrap().push(self.number);
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn generations_never_overlap_even_when_a_body_forgets_its_actors() {
    let (clock, time) = Clock::simulated();
    let alive = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(Mutex::new(Vec::new()));
    let supervisor = Supervisor::new("p").policy(POLICY).clock(clock).spawn({
        let (alive, most, ended) = (Arc::clone(&alive), Arc::clone(&most), Arc::clone(&ended));
        move |generation: Generation| {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (alive, ended) = (Arc::clone(&alive), Arc::clone(&ended));
            let number = generation.number;
            // Holds the model, say, and takes its time to let go once killed.
            let on_thread = Scope::new().with_kill_switch(generation.scope.kill_switch().clone());
            drop(Host::new("model", &on_thread, LetsGoSlowly { number, ended, alive }));
            std::future::ready(lost())
        }
    });
    let mut status = supervisor.status();
    for generation in 1..=4 {
        wait_for(&mut status, "backoff").await;
        assert_eq!(ended.lock().unwrap().last(), Some(&generation));
        time.advance(POLICY.max_backoff);
        status.changed().await.unwrap();
    }
    assert!(matches!(supervisor.join().await, Status::Failed { .. }));
    assert_eq!((most.load(Ordering::SeqCst), alive.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_stop_drains_what_is_under_way() {
    let (sent, mut received) = tidecast_actors::mailbox::<u32>("published", 64);
    let supervisor = Supervisor::new("p").spawn(move |generation: Generation| {
        let sent = sent.clone();
        async move {
            let (mailbox, mut receiver) = tidecast_actors::mailbox("batches", 64);
            for number in 0..10 {
                mailbox.try_send(number).unwrap();
            }
            let drain = generation.drain.clone();
            let source = spawn_task("source", &generation.scope, |_| async move {
                let _mailbox = mailbox;
                drain.started().await;
                ActorExit::Quit
            });
            generation.set_running();
            generation.drain.started().await;
            let publisher = spawn_task("publisher", &generation.scope, |_| async move {
                while let Some(number) = receiver.recv().await {
                    if sent.send(number).await.is_err() {
                        return ActorExit::DownstreamGone;
                    }
                }
                ActorExit::Drained
            });
            join_all([source, publisher], &generation.scope).await
        }
    });
    wait_for(&mut supervisor.status(), "running").await;
    supervisor.stop();
    assert_eq!(supervisor.join().await, Status::Stopped);
    let mut numbers = Vec::new();
    while let Some(number) = received.recv().await {
        numbers.push(number);
    }
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stop_that_does_not_drain_in_time_is_killed_and_says_so() {
    let (clock, time) = Clock::simulated();
    let supervisor = Supervisor::new("p")
        .drain_timeout(Duration::from_secs(30))
        .clock(clock)
        .spawn(|generation: Generation| async move {
            generation.set_running();
            let deaf = spawn_task("deaf", &generation.scope, |_| std::future::pending());
            join_all([deaf], &generation.scope).await
        });
    let mut status = supervisor.status();
    wait_for(&mut status, "running").await;
    supervisor.stop();
    assert_eq!(wait_for(&mut status, "draining").await, Status::Draining { generation: 1 });
    tokio::task::yield_now().await;
    time.advance(Duration::from_secs(30));
    let reason = "did not drain within 30s and was killed".to_owned();
    assert_eq!(supervisor.join().await, Status::Failed { reason });
}

#[tokio::test]
async fn a_stop_during_backoff_does_not_wait_for_it() {
    let (clock, _time) = Clock::simulated();
    let supervisor = Supervisor::new("p").clock(clock).spawn(|_| std::future::ready(lost()));
    wait_for(&mut supervisor.status(), "backoff").await;
    supervisor.stop();
    assert_eq!(supervisor.join().await, Status::Stopped);
}

#[tokio::test]
async fn a_failure_while_draining_is_not_taken_for_a_clean_stop() {
    let supervisor = Supervisor::new("p").spawn(|generation: Generation| async move {
        generation.set_running();
        generation.drain.started().await;
        lost()
    });
    wait_for(&mut supervisor.status(), "running").await;
    supervisor.stop();
    assert_eq!(supervisor.join().await, Status::Failed { reason: "connection lost".to_owned() },);
}

#[tokio::test]
async fn killing_the_process_ends_a_pipeline_whose_body_is_deaf() {
    let process = KillSwitch::new();
    let supervisor = Supervisor::new("p").kill_switch(&process).spawn(|generation| async move {
        generation.set_running();
        std::future::pending().await
    });
    wait_for(&mut supervisor.status(), "running").await;
    process.kill();
    assert_eq!(supervisor.join().await, Status::Stopped);
}

#[tokio::test]
async fn a_generation_whose_actor_does_nothing_any_more_ends_says_so_and_is_followed() {
    let (clock, time) = Clock::simulated();
    let supervisor = Supervisor::new("p")
        .policy(POLICY)
        .stall_timeout(Duration::from_secs(80))
        .clock(clock)
        .spawn(|generation: Generation| async move {
            generation.set_running();
            let sink = spawn_task("publisher", &generation.scope, |context| async move {
                context.progress().made();
                std::future::pending().await
            });
            join_all([sink], &generation.scope).await
        });
    let mut status = supervisor.status();
    wait_for(&mut status, "running").await;
    let mut passed = Duration::ZERO;
    let reason = loop {
        if let Status::Backoff { reason, .. } = &*status.borrow_and_update() {
            break reason.clone();
        }
        tokio::task::yield_now().await;
        passed += Duration::from_secs(1);
        time.advance(Duration::from_secs(1));
    };
    assert!(reason.starts_with("publisher has been at one message for 8"), "{reason}");
    assert!(passed >= Duration::from_secs(80), "{passed:?}");
    time.advance(POLICY.max_backoff);
    wait_for(&mut status, "running").await;
    supervisor.kill();
    assert!(supervisor.join().await.is_final());
}
