//! How actors end, and how mailboxes push back.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidecast_actors::{
    Actor, ActorExit, Bounds, Clock, Context, Failure, Host, Mailbox, Message, Scope, TrySendError,
    join_all, mailbox, spawn, spawn_task,
};
use tokio::sync::{Semaphore, oneshot};

impl Message for Order {
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// What a test tells its actor to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Pass(u32),
    Quit,
    Fail,
    Panic,
}

/// Passes numbers on, and does as it is told otherwise.
struct Obedient {
    downstream: Mailbox<u32>,
    finished: Arc<AtomicUsize>,
}

impl Obedient {
    fn judge(order: Order) -> Result<u32, ActorExit> {
        match order {
            Order::Pass(number) => Ok(number),
            Order::Quit => Err(ActorExit::Quit),
            Order::Fail => Err(Failure::fatal("column `kw` is gone").into()),
            Order::Panic => panic!("told to panic"),
        }
    }
}

impl Actor for Obedient {
    type Message = Order;

    async fn handle(&mut self, order: Order, _: &Context) -> Result<(), ActorExit> {
        let number = Self::judge(order)?;
        Ok(self.downstream.send(number).await?)
    }

    async fn finish(self, _: &Context) -> Result<(), ActorExit> {
        self.finished.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Sends `orders` to an actor, and returns what it passed on, how it ended and whether
/// it finished its work.
async fn obey(orders: &[Order]) -> (Vec<u32>, ActorExit, usize) {
    let (downstream, mut passed) = mailbox("passed", 16);
    let (mailbox, receiver) = mailbox("obedient", 16);
    let finished = Arc::new(AtomicUsize::new(0));
    let actor = Obedient { downstream, finished: Arc::clone(&finished) };
    for order in orders {
        mailbox.send(*order).await.unwrap();
    }
    drop(mailbox);
    let exit = spawn(actor, receiver, &Scope::new()).join().await;
    let mut numbers = Vec::new();
    while let Some(number) = passed.recv().await {
        numbers.push(number);
    }
    (numbers, exit, finished.load(Ordering::SeqCst))
}

#[tokio::test]
async fn an_actor_whose_senders_are_gone_handles_the_rest_and_finishes() {
    assert_eq!(
        obey(&[Order::Pass(1), Order::Pass(2), Order::Pass(3)]).await,
        (vec![1, 2, 3], ActorExit::Drained, 1)
    );
}

#[tokio::test]
async fn a_handler_ends_its_actor_with_a_value_and_nothing_more_is_handled() {
    assert_eq!(
        obey(&[Order::Pass(1), Order::Quit, Order::Pass(2)]).await,
        (vec![1], ActorExit::Quit, 0)
    );
    let failed = ActorExit::from(Failure::fatal("column `kw` is gone"));
    assert_eq!(
        obey(&[Order::Pass(1), Order::Fail, Order::Pass(2)]).await,
        (vec![1], failed.clone(), 0)
    );
}

#[tokio::test]
async fn a_panic_is_a_value_too() {
    let panicked = ActorExit::Panicked("told to panic".to_owned());
    assert_eq!(
        obey(&[Order::Pass(1), Order::Panic, Order::Pass(2)]).await,
        (vec![1], panicked.clone(), 0)
    );
}

#[tokio::test]
async fn an_actor_ends_when_its_downstream_is_gone() {
    let (downstream, passed) = mailbox("passed", 1);
    let (mailbox, receiver) = mailbox("obedient", 1);
    drop(passed);
    let actor = Obedient { downstream, finished: Arc::default() };
    let handle = spawn(actor, receiver, &Scope::new());
    mailbox.send(Order::Pass(1)).await.unwrap();
    assert_eq!(handle.join().await, ActorExit::DownstreamGone);
}

#[tokio::test]
async fn a_kill_switch_ends_actors_that_wait_for_messages_or_for_room() {
    let scope = Scope::new();
    let (downstream, passed) = mailbox("passed", 1);
    let (mailbox, receiver) = mailbox("obedient", 4);
    let stuck = spawn(Obedient { downstream, finished: Arc::default() }, receiver, &scope);
    for number in 0..3 {
        mailbox.send(Order::Pass(number)).await.unwrap();
    }
    // The reader of `passed` is an actor that waits and never reads on.
    let reader = spawn_task("reader", &scope, |_| async move {
        let _passed = passed;
        std::future::pending().await
    });
    let (idle_mailbox, idle_receiver) = tidecast_actors::mailbox("idle", 1);
    let downstream = tidecast_actors::mailbox("nowhere", 1).0;
    let idle = spawn(Obedient { downstream, finished: Arc::default() }, idle_receiver, &scope);

    scope.kill();
    assert_eq!(stuck.join().await, ActorExit::Killed);
    assert_eq!(reader.join().await, ActorExit::Killed);
    assert_eq!(idle.join().await, ActorExit::Killed);
    scope.kill_switch().gone().await;
    assert!(mailbox.is_closed() && idle_mailbox.is_closed());
}

#[tokio::test]
async fn a_full_mailbox_holds_its_sender_back_until_there_is_room() {
    let (mailbox, mut receiver) = mailbox::<i32>("narrow", 2);
    mailbox.try_send(1).unwrap();
    mailbox.try_send(2).unwrap();
    assert_eq!((mailbox.depth(), mailbox.capacity()), (2, 2));
    assert!(matches!(mailbox.try_send(3), Err(TrySendError::Full(3))));

    let mut waiting = std::pin::pin!(mailbox.send(3));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(receiver.recv().await, Some(1));
    assert!(futures::poll!(&mut waiting).is_ready());
    assert_eq!((receiver.recv().await, receiver.recv().await), (Some(2), Some(3)));
}

/// A message that says how much it weighs.
#[derive(Debug, PartialEq)]
struct Bytes(usize);

impl Message for Bytes {
    fn bytes(&self) -> usize {
        self.0
    }
}

#[tokio::test]
async fn a_mailbox_is_bounded_in_bytes_and_takes_at_least_one_message() {
    let bounds = Bounds { messages: 100, bytes: 10 << 10 };
    let (mailbox, mut receiver) = mailbox("narrow", bounds);
    let is_full =
        |bytes: usize| matches!(mailbox.try_send(Bytes(bytes)), Err(TrySendError::Full(_)));
    // Larger than all there is room for: it goes alone.
    mailbox.try_send(Bytes(1 << 30)).unwrap();
    assert!(is_full(1 << 10));
    assert!(!is_full(100), "below a KiB it weighs nothing");
    assert_eq!(receiver.recv().await, Some(Bytes(1 << 30)));
    for _ in 0..10 {
        mailbox.try_send(Bytes(1 << 10)).unwrap();
    }
    assert!(is_full(1 << 10));
    let mut waiting = std::pin::pin!(mailbox.send(Bytes(2 << 10)));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(receiver.recv().await, Some(Bytes(100)));
    receiver.recv().await.unwrap();
    assert!(futures::poll!(&mut waiting).is_pending(), "one KiB is free");
    receiver.recv().await.unwrap();
    assert!(futures::poll!(&mut waiting).is_ready());
    // Who waits for room learns that nobody will make any.
    let mut waiting = std::pin::pin!(mailbox.send(Bytes(5 << 10)));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(receiver);
    assert!(waiting.await.is_err());
}

proptest! {
    /// Whatever is sent, no more lies in a mailbox than it may hold or one message does.
    #[test]
    fn what_lies_in_a_mailbox_never_weighs_more_than_its_bounds(
        steps in prop::collection::vec(prop::option::of(0usize..40 << 10), 1..200),
        messages in 1usize..8,
        kibibytes in 1usize..20,
    ) {
        let bounds = Bounds { messages, bytes: kibibytes << 10 };
        let (mailbox, mut receiver) = mailbox("narrow", bounds);
        let mut inside = VecDeque::new();
        for step in steps {
            match step {
                Some(bytes) => {
                    let sent = mailbox.try_send(Bytes(bytes)).is_ok();
                    if sent {
                        inside.push_back(bytes);
                    }
                    let heavy = |bytes: &&usize| **bytes >= 1 << 10;
                    prop_assert!(sent || inside.len() == messages || inside.iter().any(|b| heavy(&b)));
                }
                None => prop_assert_eq!(receiver.try_recv().map(|m| m.0), inside.pop_front()),
            }
            prop_assert!(inside.len() <= messages);
            let whole: usize = inside.iter().map(|bytes| bytes >> 10).sum();
            let heavy = inside.iter().filter(|bytes| **bytes >= 1 << 10).count();
            prop_assert!(whole <= kibibytes || heavy == 1, "{inside:?}");
        }
    }
}

#[tokio::test]
async fn a_slow_actor_bounds_what_its_sender_gets_ahead() {
    /// Handles one message per permit.
    struct Slow(Arc<Semaphore>, Arc<AtomicUsize>);
    impl Actor for Slow {
        type Message = ();
        async fn handle(&mut self, (): (), _: &Context) -> Result<(), ActorExit> {
            self.0.acquire().await.map_err(|_| ActorExit::Quit)?.forget();
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let (permits, handled) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (mailbox, receiver) = mailbox("slow", 3);
    let handle = spawn(Slow(Arc::clone(&permits), Arc::clone(&handled)), receiver, &Scope::new());
    let (ahead, is_ahead) = oneshot::channel();
    let count = Arc::clone(&handled);
    let sender = spawn_task("sender", &Scope::new(), |_| async move {
        let mut furthest = 0;
        for sent in 1..=50 {
            if mailbox.send(()).await.is_err() {
                return ActorExit::DownstreamGone;
            }
            furthest = furthest.max(sent - count.load(Ordering::SeqCst));
        }
        ahead.send(furthest).map_or(ActorExit::DownstreamGone, |()| ActorExit::Quit)
    });
    for _ in 0..50 {
        permits.add_permits(1);
        tokio::task::yield_now().await;
    }
    assert_eq!(sender.join().await, ActorExit::Quit);
    assert_eq!(handle.join().await, ActorExit::Drained);
    // Three in the mailbox, one in the actor's hands, one handled but not yet counted.
    assert!(is_ahead.await.unwrap() <= 5);
    assert_eq!(handled.load(Ordering::SeqCst), 50);
}

#[tokio::test]
async fn a_deadline_goes_before_messages() {
    /// Is due after its first message, and quits when asked twice.
    struct Punctual {
        due: Option<Instant>,
        seen: Vec<&'static str>,
        report: Option<oneshot::Sender<Vec<&'static str>>>,
    }
    impl Punctual {
        fn note(&mut self, what: &'static str) -> Result<(), ActorExit> {
            self.seen.push(what);
            self.due = (what == "message" && self.seen.len() == 1).then(Instant::now);
            let all_seen = self.seen.len() == 3;
            let Some(report) = self.report.take_if(|_| all_seen) else { return Ok(()) };
            report.send(std::mem::take(&mut self.seen)).map_err(|_| ActorExit::DownstreamGone)
        }
    }
    impl Actor for Punctual {
        type Message = ();
        async fn handle(&mut self, (): (), _: &Context) -> Result<(), ActorExit> {
            self.note("message")
        }
        fn deadline(&self) -> Option<Instant> {
            self.due
        }
        async fn on_deadline(&mut self, _: &Context) -> Result<(), ActorExit> {
            self.note("deadline")
        }
    }
    let (mailbox, receiver) = mailbox("punctual", 2);
    let (report, seen) = oneshot::channel();
    mailbox.try_send(()).unwrap();
    mailbox.try_send(()).unwrap();
    drop(mailbox);
    let actor = Punctual { due: None, seen: Vec::new(), report: Some(report) };
    assert_eq!(spawn(actor, receiver, &Scope::new()).join().await, ActorExit::Drained);
    assert_eq!(seen.await.unwrap(), ["message", "deadline", "message"]);
}

#[tokio::test]
async fn a_generation_ends_with_the_cause_not_with_what_followed() {
    // Whatever the order in which the actors are joined, the panic is the cause.
    for turn in 0..3 {
        let scope = Scope::new();
        let (mailbox, mut receiver) = mailbox::<()>("middle", 1);
        let mut actors = vec![
            spawn_task("source", &scope, |_| async move {
                while mailbox.send(()).await.is_ok() {}
                ActorExit::DownstreamGone
            }),
            spawn_task("middle", &scope, |_| async move {
                receiver.recv().await;
                panic!("index out of bounds")
            }),
            spawn_task("sink", &scope, |_| std::future::pending()),
        ];
        actors.rotate_left(turn);
        let exit = join_all(actors, &scope).await;
        assert_eq!(exit, ActorExit::Panicked("middle: index out of bounds".to_owned()));
    }
}

#[tokio::test]
async fn a_switch_waits_for_the_actors_below_it_only() {
    let process = Scope::new();
    let (one, other) = (process.child(), process.child());
    let (release, released) = oneshot::channel::<()>();
    let first = spawn_task("first", &one, |_| std::future::pending());
    let second = spawn_task("second", &other, |_| async move {
        released.await.ok();
        ActorExit::Quit
    });
    one.kill();
    one.kill_switch().gone().await;
    assert!(futures::poll!(std::pin::pin!(process.kill_switch().gone())).is_pending());
    release.send(()).unwrap();
    process.kill_switch().gone().await;
    assert_eq!((first.join().await, second.join().await), (ActorExit::Killed, ActorExit::Quit));
}

#[tokio::test]
async fn a_host_is_called_in_order_outlives_a_panic_and_counts_until_it_is_dropped() {
    struct Slow(Vec<u32>, Arc<AtomicUsize>);
    impl Drop for Slow {
        fn drop(&mut self) {
            for _ in 0..1000 {
                std::thread::yield_now();
            }
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (scope, dropped) = (Scope::new(), Arc::new(AtomicUsize::new(0)));
    let mut host = Host::new("list", &scope, Slow(Vec::new(), Arc::clone(&dropped)));
    let (first, second) = (host.call(|list| list.0.push(1)), host.call(|list| list.0.push(2)));
    assert_eq!((second.await, first.await), (Ok(()), Ok(())));
    let panicked = host.call(|_| panic!("no more room")).await;
    assert_eq!(panicked, Err::<(), _>(ActorExit::Panicked("no more room".to_owned())));
    assert_eq!(host.call(|list| list.0.clone()).await, Ok(vec![1, 2]));
    scope.kill();
    drop(host);
    scope.kill_switch().gone().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_takes_long_is_a_stall_and_a_full_mailbox_is_not() {
    /// Has its host work on each message.
    struct Busy(Host<()>);
    impl Actor for Busy {
        type Message = u32;
        async fn handle(&mut self, _: u32, _: &Context) -> Result<(), ActorExit> {
            self.0.call(|()| ()).await
        }
    }
    /// Passes messages on.
    struct Through(Mailbox<u32>);
    impl Actor for Through {
        type Message = u32;
        async fn handle(&mut self, message: u32, context: &Context) -> Result<(), ActorExit> {
            context.send(&self.0, message).await
        }
    }
    let (clock, time) = Clock::simulated();
    let scope = Scope::new().with_clock(clock);
    time.set_latency("disk", Duration::from_secs(50));
    let (to_busy, receiver) = mailbox("busy", 1);
    let _busy = spawn(Busy(Host::new("disk-1", &scope, ())), receiver, &scope);
    let (to_through, receiver) = mailbox("through", 1);
    let _through = spawn(Through(to_busy), receiver, &scope);
    for message in 0..4 {
        to_through.send(message).await.unwrap();
    }
    tokio::task::yield_now().await;
    let patience = Duration::from_secs(40);
    assert_eq!(scope.roster().stalled(patience), None);
    time.advance(patience);
    let stalled = scope.roster().stalled(patience).unwrap();
    assert_eq!((&*stalled.actor, stalled.since), ("busy", patience));
    let other = Scope::new().with_clock(scope.clock().clone());
    other.roster().depend_on(scope.roster());
    assert_eq!(other.roster().stalled(patience), Some(stalled));
    time.advance(Duration::from_secs(10));
    tokio::task::yield_now().await;
    assert_eq!(scope.roster().stalled(patience), None, "it is at the next message");
}

#[test]
fn the_depth_gauge_follows_messages_sent_received_and_thrown_away() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let published = recorder.handle();
    let gauge = |noun: &str| {
        let text = published.render();
        let name = format!("tidecast_mailbox_{noun}_messages{{mailbox=\"windower\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok())
    };
    metrics::with_local_recorder(&recorder, || {
        // Two partitions' mailboxes of one name add up.
        let (first, mut first_receiver) = mailbox::<i32>("windower", 4);
        let (second, second_receiver) = mailbox("windower", 4);
        for number in 0..3 {
            first.try_send(number).unwrap();
            second.try_send(number).unwrap();
        }
        assert_eq!((gauge("depth"), gauge("capacity")), (Some(6.0), Some(8.0)));
        first_receiver.try_recv();
        assert_eq!(gauge("depth"), Some(5.0));
        drop((second, second_receiver));
        assert_eq!((gauge("depth"), gauge("capacity")), (Some(2.0), Some(4.0)));
    });
}
