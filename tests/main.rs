//! Tests of the whole: the command as people run it, on real files and against a
//! real Kafka (`support/broker.rs` says which).
//!
//! They show that the parts are wired and that the promises hold from the
//! outside; what a part does in detail its own crate tests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod backtest;
mod bad_input;
mod batch_forecast;
mod cases;
mod covariates;
mod crash;
mod demo;
mod errors;
mod faults;
mod forecast_formats;
mod formats;
mod group;
mod init;
mod kafka_cases;
mod model;
mod one_meaning;
mod record;
mod repository;
mod secure;
mod service;
mod slow_model;
mod state;
mod support;
mod tail;
mod warm;
