//! The command line.

mod args;
mod config;
mod failure;
mod output;

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
        Command::Config(command) => config::run(&args.global, command, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "potluck", &mut script);
            output.raw(&script)
        }
    }
}
