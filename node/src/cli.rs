//! The command line.

mod args;
mod cache;
mod config;
mod credentials;
mod daemon;
mod doctor;
mod domain;
mod embedded;
mod events;
mod failure;
mod get;
mod job;
mod job_view;
mod logging;
mod node;
mod open_files;
mod output;
mod peers;
mod publish;
mod stats;
mod url_pattern;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use failure::{Exit, Failure};
use output::Output;

/// Runs the program with the words it was called with.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let wrong = error.use_stderr();
            // Nobody left to tell when even this fails.
            let _ = error.print();
            return if wrong {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let output = Output::new(&args.global);
    logging::begin(&args);
    match run(&args, &output) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has gone: `potluck events | head`.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("potluck: {failure}");
            failure.exit().into()
        }
    }
}

fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    match &args.command {
        Command::Get(get) => wait_for(get::run(&args.global, get, output)),
        Command::Node => wait_for(node::run(&args.global)),
        Command::Job(command) => wait_for(job::run(&args.global, command, output)),
        Command::Why(why) => wait_for(why::run(&args.global, why, output)),
        Command::Peers(peers) => wait_for(peers::run(&args.global, peers, output)),
        Command::Stats(stats) => wait_for(stats::run(&args.global, stats, output)),
        Command::Cache(command) => wait_for(cache::run(&args.global, command, output)),
        Command::Events(events) => wait_for(events::run(&args.global, events, output)),
        Command::Domain(command) => wait_for(domain::run(&args.global, command, output)),
        Command::Doctor => wait_for(doctor::run(&args.global, output)),
        Command::Publish(publish) => publish::run(publish, output),
        Command::Demo => wait_for(async {
            let shown = Box::pin(crate::demo::run(args.global.json)).await;
            shown.map_err(|error| Failure::failed(format!("the demo: {error:#}")))
        }),
        Command::Config(command) => config::run(&args.global, command, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "potluck", &mut script);
            output.raw(&script)
        }
    }
}

/// Runs a command that waits for things.
fn wait_for(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(command);
    // Whatever still reads a dead disk must not keep us here.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}
