//! The window operator, the context rings and the windower.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod calendar;
mod contexts;
mod covariates;
mod harness;
#[path = "../support/models.rs"]
mod models;
mod operator;
mod parts;
mod planned;
mod properties;
mod replay;
mod restored;
mod snapshot;
