//! `potluck cache verify`

use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use indicatif::{ProgressBar, ProgressStyle};

use super::access::Access;
use super::view::show_cache;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::show_size;
use crate::contents::{Found, VerifiedDocument};

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// Their ids or the beginnings of them, other digests, or URLs; all without one.
    contents: Vec<String>,
    /// Make the index again from the files instead.
    #[arg(long, conflicts_with = "contents", env = "POTLUCK_REBUILD", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    rebuild: bool,
}

/// What was found so far.
struct Tally<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    good: u64,
    bytes: u64,
    bad: u64,
}

pub(super) async fn verify(
    access: &Access,
    args: &VerifyArgs,
    output: &Output,
) -> Result<(), Failure> {
    if args.rebuild {
        return show_cache(&access.rebuild().await?, output);
    }
    let mut tally = Tally::new(output);
    if args.contents.is_empty() {
        verify_all(access, &mut tally).await?;
    } else {
        for name in &args.contents {
            tally.add(&access.verify(name).await?)?;
        }
    }
    tally.end()
}

async fn verify_all(access: &Access, tally: &mut Tally<'_>) -> Result<(), Failure> {
    let cache = access.overview().await?;
    tally.expect(cache.bytes + cache.pinned_bytes + cache.uncached_bytes);
    let mut after: Option<String> = None;
    while let Some(verified) = access.verify_next(after.as_deref()).await? {
        tally.add(&verified)?;
        after = Some(verified.content_id);
    }
    Ok(())
}

impl<'a> Tally<'a> {
    fn new(output: &'a Output) -> Self {
        Self {
            output,
            bar: None,
            good: 0,
            bytes: 0,
            bad: 0,
        }
    }

    /// Shows how far it is of so many bytes.
    fn expect(&mut self, bytes: u64) {
        if self.output.quiet || !self.output.live {
            return;
        }
        let bar = ProgressBar::new(bytes);
        let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    fn add(&mut self, verified: &VerifiedDocument) -> Result<(), Failure> {
        self.bytes += verified.size;
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes);
        }
        if verified.result == Found::Good {
            self.good += 1;
        } else {
            self.bad += 1;
        }
        let write = || match self.output.json {
            true => self.output.json_line(verified),
            false => self.output.line(&line(verified)),
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn end(self) -> Result<(), Failure> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        match self.bad {
            0 => {
                let (good, bytes) = (self.good, show_size(self.bytes));
                self.output
                    .hint(&format!("{good} contents are good, {bytes}"));
                Ok(())
            }
            bad => Err(Failure::failed(format!(
                "{bad} of {} contents are damaged or cannot be read; `potluck events` says more",
                self.good + bad
            ))),
        }
    }
}

fn line(verified: &VerifiedDocument) -> String {
    let (id, reason) = (&verified.content_id, verified.reason.as_deref());
    let reason = reason.unwrap_or_default();
    match (verified.result, verified.bytes_kept) {
        (Found::Good, _) => format!("{id}  good"),
        (Found::Unreadable, _) => format!("{id}  UNREADABLE  {reason}"),
        (Found::Damaged, 0) => format!("{id}  DAMAGED  {reason}; set aside"),
        (Found::Damaged, kept) => {
            let kept = show_size(kept);
            format!("{id}  DAMAGED  {reason}; {kept} of good pieces kept")
        }
    }
}
