//! Panics inside of crates that decode become errors.
//!
//! A damaged Parquet file can make its decoder panic: an index out of range, a
//! number that does not fit. So can two Avro records whose lists of nulls say to be longer
//! than Arrow counts. What is in a file or record is nobody's bug here, so it is
//! caught where the decoder is called, and nothing is printed.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `decode`; a panic in it is an error with the panic's words.
///
/// What `decode` changes must not be used after an error.
///
/// # Errors
/// If `decode` panics.
pub fn guarded<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    silence_guarded_threads();
    let was_guarded = IS_GUARDED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(decode));
    IS_GUARDED.set(was_guarded);
    outcome.map_err(|payload| {
        let words = payload
            .downcast_ref::<&str>()
            .map(|words| (*words).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        words.unwrap_or_else(|| "no reason given".to_owned())
    })
}

/// The hook that prints panics belongs to the process: it is called as before
/// for every thread that is not decoding.
fn silence_guarded_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !IS_GUARDED.get() {
                print(panicked);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(guarded(|| 7), Ok(7));
        let numbers: Vec<u8> = Vec::new();
        let outcome = guarded(|| {
            assert!(!numbers.is_empty(), "at row {}", numbers.len());
        });
        assert_eq!(outcome, Err("at row 0".to_owned()));
        assert!(!IS_GUARDED.get());
    }
}
