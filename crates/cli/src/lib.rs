//! The `tidecast` command: arguments, configuration and what people see. What it
//! runs is the engine's.

pub mod arguments;
pub mod choices;
pub mod commands;
pub mod config;
pub mod demo;
pub mod logging;
pub mod output;
pub mod plot;
pub mod print;
pub mod screen;
mod shutdown;
pub mod tail;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Command};
use crate::print::note;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("error: {}", in_words(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Returns an error with its causes; one that the words before it have already is not
/// said again.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let log = arguments.log.as_deref();
    match &arguments.command {
        Command::Demo(demo) => commands::demo::run(demo, log),
        Command::Init(init) => commands::init::run(init),
        Command::Run(run) => commands::run::run(run, log),
        Command::Tail(tail) => commands::tail::run(tail, log),
        Command::Check(check) => commands::plan::check(check),
        Command::Explain(explain) => commands::plan::explain_plans(explain),
        Command::Forecast(forecast) => commands::forecast::run(forecast, log),
        Command::Backtest(backtest) => commands::backtest::run(backtest, log),
        Command::Model(model) => commands::model::run(model),
        Command::Bench(bench) => commands::bench::run(bench, log),
        Command::State(state) => commands::state::run(state),
        Command::Config(config) => commands::print_configuration(config),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "tidecast", &mut script);
            print::line(format_args!("{}", String::from_utf8_lossy(&script)));
            Ok(())
        }
        Command::Man { folder } => std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
            .with_context(|| format!("cannot write manual pages to `{}`", folder.display())),
    }
}
