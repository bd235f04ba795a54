//! What may be said on the command line.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, Subcommand};
use clap_complete::Shell;

/// A peer-to-peer caching node: downloads come from the machines next door where they
/// can, and from the origin where they must.
#[derive(Debug, Parser)]
#[command(
    name = "potluck",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command. `--data-dir`, `--socket` and every key of the
/// configuration can come from the environment too, as POTLUCK_<NAME>.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// Read this configuration file instead of the usual one.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "POTLUCK_CONFIG",
        hide_env_values = true
    )]
    pub(super) config: Option<PathBuf>,
    /// Where cache, jobs and identity are [env: POTLUCK_DATA_DIR].
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// The daemon's socket [env: POTLUCK_SOCKET].
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// Set any key of the configuration for this command, as peering.enabled=false.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Print JSON: one document, or one object per line for streams.
    #[arg(long, global = true, env = "POTLUCK_JSON", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    pub(super) json: bool,
    /// Print no progress and no hints.
    #[arg(short, long, global = true, env = "POTLUCK_QUIET", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    pub(super) quiet: bool,
    /// Say more about what is done; twice for everything.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Get files: from peers where they have them, else from the origin.
    Get(super::get::GetArgs),
    /// Run the daemon in the foreground.
    Node,
    /// Work with jobs, as in BITS.
    #[command(subcommand)]
    Job(super::job::JobCommand),
    /// Say why a job does not move, and when it is tried again.
    Why(super::why::WhyArgs),
    /// Show the peers of this node.
    Peers(super::peers::PeersArgs),
    /// Show what came from where.
    Stats(super::stats::StatsArgs),
    /// Look at the cache, add to it, remove from it.
    #[command(subcommand)]
    Cache(super::cache::CacheCommand),
    /// Show the event log.
    Events(super::events::EventsArgs),
    /// Write manifests beside files that an origin serves, which prove each
    /// piece of them.
    Publish(super::publish::PublishArgs),
    /// Make, show and join the circle of nodes that trust each other.
    #[command(subcommand)]
    Domain(super::domain::DomainCommand),
    /// Test this node: what works and what does not, when the others are not found.
    Doctor,
    /// Watch an origin and four nodes on this machine share a file: no set-up needed.
    Demo,
    /// Show or check the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// `potluck config`
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Every setting that holds, and who set it.
    Show,
    /// Say whether all settings are right.
    Check,
}
