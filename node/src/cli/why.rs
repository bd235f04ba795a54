//! `potluck why`

use clap::Args;

use super::args::Global;
use super::config::load;
use super::daemon::{self, show_time};
use super::failure::Failure;
use super::job_view::plain;
use super::output::Output;
use crate::client::escaped;
use crate::jobs::Why;

/// `potluck why`
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The job: its id or the beginning of it.
    job: String,
}

pub(super) async fn run(global: &Global, args: &WhyArgs, output: &Output) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let client = daemon::client(&settings).await?;
    let path = format!("/v1/jobs/{}/why", escaped(&args.job));
    let why: Why = client.get(&path).await?;
    if output.json {
        return output.json(&why);
    }
    output.line(&format!(
        "{} is {}: {}",
        why.id,
        why.state,
        plain(&why.reason)
    ))?;
    if let Some(at) = &why.retry_at {
        output.line(&format!("it is tried again {}", show_time(at)))?;
    }
    if let Some(when) = &why.retry_when {
        output.line(&format!("it is tried again {when}"))?;
    }
    for note in &why.notes {
        output.line(&plain(note))?;
    }
    Ok(())
}
