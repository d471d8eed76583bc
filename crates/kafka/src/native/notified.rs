//! A producer that can be waited for.
//!
//! `BaseProducer::poll` takes all of the time it is given, whatever comes, and runs in
//! circles through what is left of the last millisecond, because librdkafka counts whole
//! ones. To wait with it until messages are delivered is a row of very short waits, and
//! a core is busy all the while. librdkafka can tell, though, when its queue of events
//! is no longer empty.

use std::ffi::c_void;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka_sys as native;

/// A producer and what tells that it has events.
pub(crate) struct NotifiedProducer<C: ProducerContext> {
    queue: NonNull<native::rd_kafka_queue_t>,
    signal: Arc<Signal>,
    /// Dropped after the queue, as librdkafka demands.
    producer: BaseProducer<C>,
}

// SAFETY: librdkafka's queues may be used from any thread, and so may the rest.
unsafe impl<C: ProducerContext> Send for NotifiedProducer<C> {}

/// Raised by librdkafka's threads, waited for by ours.
#[derive(Default)]
struct Signal {
    is_raised: Mutex<bool>,
    raised: Condvar,
}

impl Signal {
    fn raise(&self) {
        *self.is_raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.raised.notify_all();
    }

    fn lower(&self) {
        *self.is_raised.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Returns when it is raised, or after `wait`.
    fn wait(&self, wait: Duration) {
        let is_raised = self.is_raised.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.raised.wait_timeout_while(is_raised, wait, |is_raised| !*is_raised);
        drop(outcome.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Called while librdkafka holds the queue's lock: it must not call back.
unsafe extern "C" fn raise(_: *mut native::rd_kafka_t, signal: *mut c_void) {
    // SAFETY: the producer, which keeps the signal, takes this callback away before it
    // lets go of it; librdkafka does that under the lock that it calls under.
    unsafe { &*signal.cast::<Signal>() }.raise();
}

impl<C: ProducerContext> NotifiedProducer<C> {
    /// Returns `producer`, told of its events; `None` if it has no queue of them.
    pub(crate) fn new(producer: BaseProducer<C>) -> Option<Self> {
        // SAFETY: the client lives at least as long as `producer`, which we keep.
        let queue = unsafe { native::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        let queue = NonNull::new(queue)?;
        let signal = Arc::new(Signal::default());
        let opaque = Arc::as_ptr(&signal).cast_mut().cast();
        // SAFETY: the queue is alive, and the signal is until the callback is gone.
        unsafe { native::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(raise), opaque) };
        Some(Self { queue, signal, producer })
    }

    /// Serves all events that are there: deliveries, errors, logs. If there are none,
    /// waits up to `wait` for the first.
    pub(crate) fn serve(&self, wait: Duration) {
        // librdkafka tells only of the first event in an empty queue. The signal is
        // lowered before the look, so what comes between look and wait has raised it.
        self.signal.lower();
        if self.is_empty() {
            self.signal.wait(wait);
        }
        while !self.is_empty() {
            self.producer.poll(Duration::ZERO); // one event
        }
    }

    fn is_empty(&self) -> bool {
        // SAFETY: the queue is alive as long as `self`.
        unsafe { native::rd_kafka_queue_length(self.queue.as_ptr()) == 0 }
    }
}

impl<C: ProducerContext> Deref for NotifiedProducer<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl<C: ProducerContext> Drop for NotifiedProducer<C> {
    fn drop(&mut self) {
        // SAFETY: the reference that `rd_kafka_queue_get_main` gave is given back only
        // here, while the client is still alive; behind the first call nothing holds the
        // signal's address any more.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            native::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::ClientConfig;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext};

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(400);

    /// Returns a producer on a broker of its own that takes its time.
    fn slow() -> NotifiedProducer<DefaultProducerContext> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1").set("linger.ms", "0");
        let producer: BaseProducer = config.create().unwrap();
        producer.client().mock_cluster().unwrap().create_topic("t", 1, 1).unwrap();
        let producer = NotifiedProducer::new(producer).unwrap();
        deliver(&producer);
        producer.client().mock_cluster().unwrap().broker_round_trip_time(1, ROUND_TRIP).unwrap();
        producer
    }

    fn deliver(producer: &NotifiedProducer<DefaultProducerContext>) {
        producer.send(BaseRecord::<(), str>::to("t").payload("x")).map_err(|(e, _)| e).unwrap();
        while producer.in_flight_count() > 0 {
            producer.serve(Duration::from_secs(30));
        }
    }

    #[test]
    fn a_wait_ends_with_the_delivery() {
        let producer = slow();
        let began = Instant::now();
        deliver(&producer);
        let taken = began.elapsed();
        assert!(taken >= ROUND_TRIP / 2 && taken < Duration::from_secs(10), "{taken:?}");
    }

    #[test]
    fn a_wait_for_nothing_takes_its_time() {
        let producer = slow();
        let began = Instant::now();
        producer.serve(Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50));
    }

    /// Polling in steps of a millisecond, the thread that waits took a whole core.
    #[cfg(target_os = "linux")]
    #[test]
    fn who_waits_does_not_spin() {
        let on_cpu = || {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
            Duration::from_nanos(nanoseconds.unwrap())
        };
        let producer = slow();
        let before = on_cpu();
        deliver(&producer);
        let used = on_cpu() - before;
        assert!(used < ROUND_TRIP / 8, "{used:?} of work in {ROUND_TRIP:?} of waiting");
    }
}
