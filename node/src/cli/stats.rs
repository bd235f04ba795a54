//! `potluck stats`

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::args::Global;
use super::config::load;
use super::daemon::{self, show_time};
use super::failure::Failure;
use super::output::Output;
use crate::api::StatsDocument;
use crate::config::show_size;
use crate::stats::Stats;

/// `potluck stats`
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Only the last so many days; 36h counts from the day that it began on.
    #[arg(long, value_name = "D", value_parser = daemon::duration, env = "POTLUCK_SINCE", hide_env_values = true)]
    since: Option<Duration>,
}

pub(super) async fn run(global: &Global, args: &StatsArgs, output: &Output) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let stats = match daemon::client_if_any(&settings).await? {
        Some(client) => {
            let path = match args.since {
                Some(since) => format!("/v1/stats?since={}", since.as_secs()),
                None => "/v1/stats".to_owned(),
            };
            client.get(&path).await?
        }
        None => {
            let now = SystemTime::now();
            let path = settings.data_dir.join("stats.json");
            // What may not be read must not look like nothing.
            match File::open(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let message = format!("cannot read {}: {error}", path.display());
                    return Err(Failure::failed(message));
                }
                _ => {}
            }
            let stats = Stats::open(&path, now);
            let since = args.since.and_then(|since| now.checked_sub(since));
            StatsDocument::of(&stats, since, 0)
        }
    };
    show(&stats, output)
}

fn show(stats: &StatsDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(stats);
    }
    let saved = stats
        .bytes_from_peers
        .saturating_add(stats.bytes_from_cache);
    let got = saved.saturating_add(stats.bytes_from_origin);
    let savings = match got {
        0 => "-".to_owned(),
        got => format!(
            "{} ({:.0} % did not come from an origin)",
            show_size(saved),
            saved as f64 / got as f64 * 100.0
        ),
    };
    let rows = [
        ("since", show_time(&stats.since)),
        ("from peers", show_size(stats.bytes_from_peers)),
        ("from origins", show_size(stats.bytes_from_origin)),
        ("from the cache", show_size(stats.bytes_from_cache)),
        ("saved", savings),
        ("discarded", show_size(stats.bytes_discarded)),
        ("served to peers", show_size(stats.bytes_served)),
        ("jobs completed", stats.jobs_completed.to_string()),
        ("peers now", stats.peers.to_string()),
    ];
    for (key, value) in rows {
        output.line(&format!("{key:<16} {value}"))?;
    }
    Ok(())
}
