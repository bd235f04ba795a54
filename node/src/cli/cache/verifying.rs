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
use crate::contents::{PageQuery, VerifiedDocument};

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
    let mut query = PageQuery::default();
    loop {
        let page = access.page(&query).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        query.after = Some(last.content_id.clone());
        for content in page {
            match access.verify(&content.content_id).await {
                Ok(verified) => tally.add(&verified)?,
                // It may have gone since it was listed.
                Err(error) => match access.show(&content.content_id).await {
                    Ok(_) => tally.unreadable(&content.content_id, &error)?,
                    Err(_) => continue,
                },
            }
        }
    }
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
        if verified.good {
            self.good += 1;
        } else {
            self.bad += 1;
        }
        self.write(verified, || line(verified))
    }

    fn write(
        &self,
        document: &impl serde::Serialize,
        line: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let write = || match self.output.json {
            true => self.output.json_line(document),
            false => self.output.line(&line()),
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn unreadable(&mut self, content: &str, error: &Failure) -> Result<(), Failure> {
        self.bad += 1;
        let fields = serde_json::json!({
            "content_id": content, "good": false, "reason": error.to_string(),
        });
        self.write(&fields, || format!("{content}  UNREADABLE  {error}"))
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
    let id = &verified.content_id;
    let Some(reason) = &verified.reason else {
        return format!("{id}  good");
    };
    let kept = match verified.bytes_kept {
        0 => "set aside".to_owned(),
        kept => format!("{} of good pieces kept", show_size(kept)),
    };
    format!("{id}  DAMAGED  {reason}; {kept}")
}
