//! Files in, forecasts out: what somebody with a file would notice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap in a test is a failed test"
)]

mod damaged;
mod dialects;
mod helpers;
mod ids;
mod json;
mod listed;
mod reading;
mod tables;
mod times;
mod writing;
