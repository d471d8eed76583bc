//! The one place with `unsafe`: librdkafka's batch call, which rdkafka does not
//! wrap, two look-ups that go with it, and a producer that can be waited for.
//!
//! Taking thousands of messages in one call costs half of what taking them one
//! by one does. The messages of all partitions are forwarded to a queue of our
//! own, because the consumer's queue also carries rebalances and errors as
//! events, and the batch call would swallow those.
#![allow(unsafe_code, reason = "rdkafka 0.39 has no call that takes messages in batches")]

mod notified;

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys::{self as native, RDKafkaRespErr};

pub(crate) use self::notified::NotifiedProducer;

/// A queue to which partitions' messages are forwarded.
pub(crate) struct BatchQueue<C: ConsumerContext> {
    queue: NonNull<native::rd_kafka_queue_t>,
    buffer: Vec<*mut native::rd_kafka_message_t>,
    /// Dropped after the queue, as librdkafka demands.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues and messages may be used from any thread; `buffer`
// holds no live pointers between calls.
unsafe impl<C: ConsumerContext> Send for BatchQueue<C> {}

impl<C: ConsumerContext> BatchQueue<C> {
    /// Returns an empty queue that takes up to `capacity` messages at a time.
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>, capacity: usize) -> Option<Self> {
        // SAFETY: the client lives at least as long as `consumer`, which we keep.
        let queue = unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Self { queue: NonNull::new(queue)?, buffer: Vec::with_capacity(capacity), consumer })
    }

    /// Makes the partition's messages come to this queue. To be called before
    /// the partition is assigned.
    pub(crate) fn forward(&self, topic: &str, partition: i32) -> bool {
        self.redirect(topic, partition, self.queue.as_ptr())
    }

    /// Leaves the partition's further messages in its own queue, up to librdkafka's
    /// bounds (`queued.max.messages.kbytes`); then it fetches no more. Pausing would
    /// throw away what was fetched.
    pub(crate) fn keep_back(&self, topic: &str, partition: i32) -> bool {
        self.redirect(topic, partition, std::ptr::null_mut())
    }

    fn redirect(&self, topic: &str, partition: i32, to: *mut native::rd_kafka_queue_t) -> bool {
        let Ok(topic) = CString::new(topic) else { return false };
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client is alive, `topic` ends with a NUL, and `to` is our queue,
        // which is alive, or null, which ends the forwarding. The
        // partition's queue is reference counted: forwarding keeps what it
        // needs, so our reference is given back at once.
        unsafe {
            let source = native::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if source.is_null() {
                return false;
            }
            native::rd_kafka_queue_forward(source, to);
            native::rd_kafka_queue_destroy(source);
        }
        true
    }

    /// Takes the messages that are there, up to the capacity. If there are none
    /// waits up to `wait` for the first and then up to `linger` for more.
    pub(crate) fn take(&mut self, wait: Duration, linger: Duration) -> Messages<'_> {
        let capacity = self.buffer.capacity();
        self.fill(Duration::ZERO, capacity);
        if self.buffer.is_empty() && !wait.is_zero() {
            // The batch call returns only when it has all it was asked for or
            // the time is up; so the first message is waited for alone.
            self.fill(wait, 1);
            if !self.buffer.is_empty() {
                self.fill(linger, capacity.saturating_sub(1));
            }
        }
        Messages { buffer: &mut self.buffer }
    }

    fn fill(&mut self, wait: Duration, most: usize) {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let room = self.buffer.spare_capacity_mut();
        let most = most.min(room.len());
        // SAFETY: `room` has space for `most` pointers; the call initialises as
        // many as it returns (-1 on error, which then means none).
        unsafe {
            let taken = native::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                wait_ms,
                room.as_mut_ptr().cast(),
                most,
            );
            let taken = usize::try_from(taken).unwrap_or(0);
            self.buffer.set_len(self.buffer.len() + taken);
        }
    }
}

impl<C: ConsumerContext> Drop for BatchQueue<C> {
    fn drop(&mut self) {
        // SAFETY: created by `rd_kafka_queue_new` and destroyed only here, while
        // the client is still alive.
        unsafe { native::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// What a client knows of a partition without asking the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The position behind everything that was taken, transaction markers and
    /// aborted records included; `None` before the first.
    pub(crate) position: Option<i64>,
    /// The end that the newest fetch reported; with `read_committed` the end of
    /// what is decided.
    pub(crate) end: Option<i64>,
}

/// Returns how far the reading of a partition has come.
pub(crate) fn progress<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
) -> Progress {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the list has one element with a topic that
    // ends with a NUL, and the two numbers outlive the call.
    let position = unsafe {
        native::rd_kafka_position(client.native_ptr(), list.ptr());
        let element = (*list.ptr()).elems;
        native::rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            (*element).topic,
            partition,
            &mut low,
            &mut high,
        );
        (*element).offset
    };
    let known = |offset: i64| (offset >= 0).then_some(offset);
    Progress { position: known(position), end: known(high) }
}

/// Returns what the elements of a list of committed offsets carry beside the
/// offset, in the list's order. rdkafka's own accessor panics on bytes that are
/// no text, which another program may have committed.
pub(crate) fn metadata(list: &TopicPartitionList) -> Vec<String> {
    // SAFETY: `list` owns `cnt` elements at `elems` and is borrowed meanwhile.
    let elements = unsafe {
        let list = &*list.ptr();
        match usize::try_from(list.cnt) {
            Ok(count) if !list.elems.is_null() => slice::from_raw_parts(list.elems, count),
            _ => &[],
        }
    };
    elements
        .iter()
        .map(|element| {
            let bytes = bytes(element.metadata.cast(), element.metadata_size).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        })
        .collect()
}

/// Returns the consumer's generation and member id in its group, or `None` while
/// it is in no group.
pub(crate) fn membership<C: ClientContext>(client: &Client<C>) -> Option<(i32, String)> {
    // SAFETY: the client is alive; the metadata is ours to destroy, after its
    // member id was copied.
    unsafe {
        let metadata = NonNull::new(native::rd_kafka_consumer_group_metadata(client.native_ptr()))?;
        let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata.as_ptr());
        let member = native::rd_kafka_consumer_group_metadata_member_id(metadata.as_ptr());
        let member = match member.is_null() {
            true => String::new(),
            false => CStr::from_ptr(member).to_string_lossy().into_owned(),
        };
        native::rd_kafka_consumer_group_metadata_destroy(metadata.as_ptr());
        (generation >= 0 && !member.is_empty()).then_some((generation, member))
    }
}

/// Lets groups of the mock cluster inside `client`, if there is one, form
/// without waiting for more members.
pub(crate) fn join_mock_groups_at_once<C: ClientContext>(client: &Client<C>) {
    // SAFETY: the client is alive, and the cluster lives as long as it.
    unsafe {
        let cluster = native::rd_kafka_handle_mock_cluster(client.native_ptr());
        if !cluster.is_null() {
            native::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
    }
}

/// Messages taken from a queue; given back to librdkafka when dropped.
pub(crate) struct Messages<'a> {
    buffer: &'a mut Vec<*mut native::rd_kafka_message_t>,
}

impl Messages<'_> {
    /// Returns the messages, in the order they were fetched.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.buffer.iter().filter_map(|pointer| {
            NonNull::new(*pointer).map(|message| Message { message, _lives: PhantomData })
        })
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.buffer.drain(..) {
            // SAFETY: each came from the batch call, is ours, and nothing
            // borrows from it any more, as views borrow from `self`.
            unsafe { native::rd_kafka_message_destroy(message) }
        }
    }
}

/// One message, or an error that came in the place of one.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    message: NonNull<native::rd_kafka_message_t>,
    _lives: PhantomData<&'a native::rd_kafka_message_t>,
}

impl<'a> Message<'a> {
    fn get(&self) -> &'a native::rd_kafka_message_t {
        // SAFETY: not null, and alive while the `Messages` of `'a` is.
        unsafe { self.message.as_ref() }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.get().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.get().offset
    }

    /// Returns the error that this is instead of a message.
    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        let error = self.get().err;
        (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    /// Returns librdkafka's words about [`error`](Self::error).
    pub(crate) fn reason(&self) -> String {
        // SAFETY: for a consumer's message this is its payload or a static
        // text, NUL-terminated in both cases, or null.
        unsafe {
            let text = native::rd_kafka_message_errstr(self.message.as_ptr());
            if text.is_null() {
                return String::new();
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }

    pub(crate) fn payload(&self) -> Option<&'a [u8]> {
        let message = self.get();
        bytes(message.payload.cast(), message.len)
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        let message = self.get();
        bytes(message.key.cast(), message.key_len)
    }

    /// Returns the value of the last header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        let name = CString::new(name).ok()?;
        let mut headers = std::ptr::null_mut();
        let (mut value, mut size) = (std::ptr::null(), 0);
        // SAFETY: the message is alive and keeps its headers, and the value of one is its; the
        // places that are written to outlive the calls.
        unsafe {
            let none = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
            let message = self.message.as_ptr();
            if native::rd_kafka_message_headers(message, &mut headers) != none {
                return None;
            }
            let found =
                native::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size);
            if found != none {
                return None;
            }
        }
        bytes(value.cast(), size)
    }

    /// Returns the record's timestamp in milliseconds since the epoch.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, `kind` outlives the call.
        let timestamp =
            unsafe { native::rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        (timestamp >= 0).then_some(timestamp)
    }
}

fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: librdkafka gives `length` bytes at `start`, which live as long as
    // the message; callers narrow `'a` to that.
    Some(unsafe { slice::from_raw_parts(start, length) })
}
