//! How actors end, and how mailboxes push back.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidecast_actors::{
    Actor, ActorExit, BlockingActor, Context, Failure, KillSwitch, Mailbox, TrySendError, join_all,
    mailbox, spawn, spawn_blocking, spawn_task, spawn_thread,
};
use tokio::sync::{Semaphore, oneshot};

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

impl BlockingActor for Obedient {
    type Message = Order;

    fn handle(&mut self, order: Order, _: &Context) -> Result<(), ActorExit> {
        let number = Self::judge(order)?;
        Ok(self.downstream.blocking_send(number)?)
    }

    fn finish(self, _: &Context) -> Result<(), ActorExit> {
        self.finished.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Sends `orders` to an actor on a task and to one on a thread, and returns what
/// each passed on, how each ended and whether each finished its work.
async fn obey(orders: &[Order]) -> [(Vec<u32>, ActorExit, usize); 2] {
    let run = async |blocking: bool| {
        let (downstream, mut passed) = mailbox("passed", 16);
        let (mailbox, receiver) = mailbox("obedient", 16);
        let finished = Arc::new(AtomicUsize::new(0));
        let actor = Obedient { downstream, finished: Arc::clone(&finished) };
        for order in orders {
            mailbox.send(*order).await.unwrap();
        }
        drop(mailbox);
        let handle = if blocking {
            spawn_blocking(actor, receiver, &KillSwitch::new())
        } else {
            spawn(actor, receiver, &KillSwitch::new())
        };
        let exit = handle.join().await;
        let mut numbers = Vec::new();
        while let Some(number) = passed.recv().await {
            numbers.push(number);
        }
        (numbers, exit, finished.load(Ordering::SeqCst))
    };
    [run(false).await, run(true).await]
}

#[tokio::test]
async fn an_actor_whose_senders_are_gone_handles_the_rest_and_finishes() {
    for outcome in obey(&[Order::Pass(1), Order::Pass(2), Order::Pass(3)]).await {
        assert_eq!(outcome, (vec![1, 2, 3], ActorExit::Drained, 1));
    }
}

#[tokio::test]
async fn a_handler_ends_its_actor_with_a_value_and_nothing_more_is_handled() {
    for outcome in obey(&[Order::Pass(1), Order::Quit, Order::Pass(2)]).await {
        assert_eq!(outcome, (vec![1], ActorExit::Quit, 0));
    }
    let failed = ActorExit::from(Failure::fatal("column `kw` is gone"));
    for outcome in obey(&[Order::Pass(1), Order::Fail, Order::Pass(2)]).await {
        assert_eq!(outcome, (vec![1], failed.clone(), 0));
    }
}

#[tokio::test]
async fn a_panic_is_a_value_too() {
    let panicked = ActorExit::Panicked("told to panic".to_owned());
    for outcome in obey(&[Order::Pass(1), Order::Panic, Order::Pass(2)]).await {
        assert_eq!(outcome, (vec![1], panicked.clone(), 0));
    }
}

#[tokio::test]
async fn an_actor_ends_when_its_downstream_is_gone() {
    for blocking in [false, true] {
        let (downstream, passed) = mailbox("passed", 1);
        let (mailbox, receiver) = mailbox("obedient", 1);
        drop(passed);
        let actor = Obedient { downstream, finished: Arc::default() };
        let handle = if blocking {
            spawn_blocking(actor, receiver, &KillSwitch::new())
        } else {
            spawn(actor, receiver, &KillSwitch::new())
        };
        mailbox.send(Order::Pass(1)).await.unwrap();
        assert_eq!(handle.join().await, ActorExit::DownstreamGone);
    }
}

#[tokio::test]
async fn a_kill_switch_ends_actors_that_wait_for_messages_or_for_room() {
    for blocking in [false, true] {
        let kill_switch = KillSwitch::new();
        let (downstream, passed) = mailbox("passed", 1);
        let (mailbox, receiver) = mailbox("obedient", 4);
        let actor = Obedient { downstream, finished: Arc::default() };
        let stuck = if blocking {
            spawn_blocking(actor, receiver, &kill_switch)
        } else {
            spawn(actor, receiver, &kill_switch)
        };
        for number in 0..3 {
            mailbox.send(Order::Pass(number)).await.unwrap();
        }
        // The reader of `passed` is an actor that waits and never reads on.
        let reader = spawn_task("reader", &kill_switch, async move {
            let _passed = passed;
            std::future::pending().await
        });
        let (idle_mailbox, idle_receiver) = tidecast_actors::mailbox("idle", 1);
        let idle = spawn_blocking(
            Obedient {
                downstream: tidecast_actors::mailbox("nowhere", 1).0,
                finished: Arc::default(),
            },
            idle_receiver,
            &kill_switch,
        );

        kill_switch.kill();
        assert_eq!(stuck.join().await, ActorExit::Killed, "blocking: {blocking}");
        assert_eq!(reader.join().await, ActorExit::Killed);
        assert_eq!(idle.join().await, ActorExit::Killed);
        kill_switch.gone().await;
        assert!(mailbox.is_closed() && idle_mailbox.is_closed());
    }
}

#[tokio::test]
async fn a_full_mailbox_holds_its_sender_back_until_there_is_room() {
    let (mailbox, mut receiver) = mailbox("narrow", 2);
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
    let handle =
        spawn(Slow(Arc::clone(&permits), Arc::clone(&handled)), receiver, &KillSwitch::new());
    let (ahead, is_ahead) = oneshot::channel();
    let sender = spawn_thread("sender", &KillSwitch::new(), {
        let handled = Arc::clone(&handled);
        move |_| {
            let mut furthest = 0;
            for sent in 1..=50 {
                if mailbox.blocking_send(()).is_err() {
                    return ActorExit::DownstreamGone;
                }
                furthest = furthest.max(sent - handled.load(Ordering::SeqCst));
            }
            ahead.send(furthest).map_or(ActorExit::DownstreamGone, |()| ActorExit::Quit)
        }
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
    impl BlockingActor for Punctual {
        type Message = ();
        fn handle(&mut self, (): (), _: &Context) -> Result<(), ActorExit> {
            self.note("message")
        }
        fn deadline(&self) -> Option<Instant> {
            self.due
        }
        fn on_deadline(&mut self, _: &Context) -> Result<(), ActorExit> {
            self.note("deadline")
        }
    }
    for blocking in [false, true] {
        let (mailbox, receiver) = mailbox("punctual", 2);
        let (report, seen) = oneshot::channel();
        mailbox.try_send(()).unwrap();
        mailbox.try_send(()).unwrap();
        drop(mailbox);
        let actor = Punctual { due: None, seen: Vec::new(), report: Some(report) };
        let handle = if blocking {
            spawn_blocking(actor, receiver, &KillSwitch::new())
        } else {
            spawn(actor, receiver, &KillSwitch::new())
        };
        assert_eq!(handle.join().await, ActorExit::Drained);
        assert_eq!(seen.await.unwrap(), ["message", "deadline", "message"]);
    }
}

#[tokio::test]
async fn a_generation_ends_with_the_cause_not_with_what_followed() {
    // Whatever the order in which the actors are joined, the panic is the cause.
    for turn in 0..3 {
        let kill_switch = KillSwitch::new();
        let (mailbox, mut receiver) = mailbox::<()>("middle", 1);
        let mut actors = vec![
            spawn_task("source", &kill_switch, async move {
                while mailbox.send(()).await.is_ok() {}
                ActorExit::DownstreamGone
            }),
            spawn_task("middle", &kill_switch, async move {
                receiver.recv().await;
                panic!("index out of bounds")
            }),
            spawn_task("sink", &kill_switch, std::future::pending()),
        ];
        actors.rotate_left(turn);
        let exit = join_all(actors, &kill_switch).await;
        assert_eq!(exit, ActorExit::Panicked("middle: index out of bounds".to_owned()));
    }
}

#[tokio::test]
async fn a_switch_waits_for_the_actors_below_it_only() {
    let process = KillSwitch::new();
    let (one, other) = (process.child(), process.child());
    let (release, released) = oneshot::channel::<()>();
    let first = spawn_task("first", &one, std::future::pending());
    let second = spawn_task("second", &other, async move {
        released.await.ok();
        ActorExit::Quit
    });
    one.kill();
    one.gone().await;
    assert!(futures::poll!(std::pin::pin!(process.gone())).is_pending());
    release.send(()).unwrap();
    process.gone().await;
    assert_eq!((first.join().await, second.join().await), (ActorExit::Killed, ActorExit::Quit));
}

#[test]
fn a_blocking_wait_ends_at_its_deadline_and_not_before() {
    let (mailbox, mut receiver) = mailbox::<()>("quiet", 1);
    let deadline = Instant::now() + Duration::from_millis(1);
    assert_eq!(receiver.blocking_recv_until(deadline), tidecast_actors::Received::TimedOut);
    assert!(Instant::now() >= deadline);
    drop(mailbox);
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
        let (first, mut first_receiver) = mailbox("windower", 4);
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
