//! The `tidecast` command.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads when it starts; `MALLOC_CONF` in the environment goes before it.
///
/// A close of many series lets go of much at once and the next one may be an hour away, so
/// what is free goes back to the system within a second (jemalloc: within ten).
#[expect(unsafe_code, reason = "jemalloc finds its settings by this symbol's name")]
#[unsafe(export_name = "malloc_conf")]
pub static SETTINGS: &[u8; 37] = b"dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> std::process::ExitCode {
    tidecast_cli::main()
}
