//! The `potluck` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    potluck::cli::main()
}
