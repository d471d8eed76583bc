//! What a value written by others means: one rule for files and topics.
//!
//! - [`time`]: texts and numbers that are times, and their unit.
//!
//! Architecture invariant: this crate knows bytes and Arrow, not where they
//! come from: no file, no broker, no SQL.

pub mod time;
