//! The one place that writes to standard output.
//!
//! A reader that closes the pipe (`tidecast … | head`) is not an error.

use std::fmt;
use std::io::Write;

/// Prints a line to standard output.
pub fn line(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").is_err() {
        // Nobody reads any more; there is nobody to tell either.
        std::process::exit(0);
    }
}

/// Prints a line to standard error: progress and remarks, never results.
pub fn note(text: fmt::Arguments<'_>) {
    let _unread = writeln!(std::io::stderr().lock(), "{text}");
}
