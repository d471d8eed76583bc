//! Sources and sinks against brokers: librdkafka's mock where a fault has to be
//! injected or its limits do not matter, a real Apache Kafka for what only that
//! does: transactions, fencing, both group protocols.

#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

#[path = "../../../../tests/support/broker.rs"]
mod broker;

mod common;
mod errors;
mod formats;
mod groups;
mod letters;
mod mock;
mod transactions;
