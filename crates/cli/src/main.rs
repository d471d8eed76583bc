//! The `tidecast` command.

fn main() -> std::process::ExitCode {
    tidecast_cli::main()
}
