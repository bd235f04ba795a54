//! The log: on standard error, for the daemon's operator and for whoever looks closely.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::args::{Args, Command};

/// Begins to log: as RUST_LOG says, else as -v and -q do.
pub(super) fn begin(args: &Args) {
    let is_daemon = matches!(args.command, Command::Node);
    let level = match (is_daemon, args.global.quiet, args.global.verbose) {
        (true, false, 0) | (false, _, 1) => "info",
        (true, true, 0) => "warn",
        (true, _, 1) | (false, _, 2) => "debug",
        (_, _, 0) => "error",
        _ => "trace",
    };
    // Others' crates say much that only their authors understand.
    let quiet = "warn,sled=error,libp2p_swarm=error,yamux=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        let own = [
            "potluck",
            "potluck_cache",
            "potluck_discovery",
            "potluck_transfer",
        ];
        let own: Vec<String> = own.iter().map(|name| format!("{name}={level}")).collect();
        let others = if level == "error" { "error" } else { quiet };
        EnvFilter::new(format!("{others},{}", own.join(",")))
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
