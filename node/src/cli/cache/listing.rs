//! `potluck cache list`

use std::time::{Duration, SystemTime};

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::access::Access;
use super::view::{content_rows, partial_rows};
use crate::cli::daemon::duration;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::parse_size;
use crate::contents::{ContentDocument, PageQuery};
use crate::timestamp::rfc3339;

/// Contents that are shown to people at once.
const SCREEN: usize = 100;
/// Contents that are asked for at once.
const PAGE: usize = 1_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only of this URL.
    #[arg(long, env = "POTLUCK_URL", hide_env_values = true)]
    url: Option<String>,
    /// Only with this in one of their URLs. Reads a file for each content that the other
    /// conditions leave.
    #[arg(
        long,
        value_name = "TEXT",
        env = "POTLUCK_CONTAINS",
        hide_env_values = true
    )]
    contains: Option<String>,
    /// Only of at least this size, such as 10 MiB.
    #[arg(long, value_name = "SIZE", value_parser = size, env = "POTLUCK_MIN_SIZE", hide_env_values = true)]
    min_size: Option<u64>,
    /// Only of at most this size.
    #[arg(long, value_name = "SIZE", value_parser = size, env = "POTLUCK_MAX_SIZE", hide_env_values = true)]
    max_size: Option<u64>,
    /// Only those that nobody used for so long, such as 30d.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "POTLUCK_UNUSED_FOR", hide_env_values = true)]
    unused_for: Option<Duration>,
    /// Only those that came longer ago than this.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "POTLUCK_OLDER_THAN", hide_env_values = true)]
    older_than: Option<Duration>,
    /// Only those of this state; of several, those that are all of it. `partial` lists the
    /// unfinished contents instead.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        env = "POTLUCK_STATE",
        hide_env_values = true
    )]
    state: Vec<State>,
    /// Show so many at most; without it people are shown 100 and programs all.
    #[arg(long, value_name = "N", env = "POTLUCK_LIMIT", hide_env_values = true)]
    limit: Option<usize>,
    /// Go on after this content.
    #[arg(
        long,
        value_name = "CONTENT",
        env = "POTLUCK_AFTER",
        hide_env_values = true
    )]
    after: Option<String>,
    /// Show all.
    #[arg(long, conflicts_with = "limit", env = "POTLUCK_ALL", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    all: bool,
}

/// A state of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Validated,
    NotValidated,
    Pinned,
    NotPinned,
    InUse,
    NotInUse,
    Partial,
}

pub(super) async fn list(access: &Access, args: &ListArgs, output: &Output) -> Result<(), Failure> {
    if args.state.contains(&State::Partial) {
        let partials = access.partials().await?;
        if output.json {
            return output.json(&partials);
        }
        return partial_rows(&partials, output);
    }
    let limit = match (args.limit, args.all || output.json) {
        (Some(limit), _) => limit,
        (None, true) => usize::MAX,
        (None, false) => SCREEN,
    };
    let mut query = query(args);
    let mut writer = Writer { output, shown: 0 };
    let more = loop {
        let left = limit - writer.shown;
        // One more than is shown tells whether there are more.
        let wanted = left.saturating_add(1).min(PAGE);
        query.limit = Some(wanted);
        let mut page = access.page(&query).await?;
        let is_last = page.len() < wanted;
        let more = page.len() > left;
        page.truncate(left);
        if let Some(last) = page.last() {
            query.after = Some(last.content_id.clone());
        }
        writer.write(&page)?;
        if more || is_last {
            break more;
        }
    };
    writer.end()?;
    if more && !output.json {
        let after = query.after.unwrap_or_default();
        output.hint(&format!(
            "there are more: go on with --after {after}, or list --all of them"
        ));
    }
    Ok(())
}

fn query(args: &ListArgs) -> PageQuery {
    let now = SystemTime::now();
    let ago = |age: Option<Duration>| {
        let time = age.map(|age| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
        time.map(rfc3339)
    };
    let mut query = PageQuery {
        url: args.url.clone(),
        url_part: args.contains.clone(),
        min_size: args.min_size,
        max_size: args.max_size,
        accessed_before: ago(args.unused_for),
        added_before: ago(args.older_than),
        after: args.after.clone(),
        ..PageQuery::default()
    };
    for state in &args.state {
        match state {
            State::Validated => query.validated = Some(true),
            State::NotValidated => query.validated = Some(false),
            State::Pinned => query.pinned = Some(true),
            State::NotPinned => query.pinned = Some(false),
            State::InUse => query.in_use = Some(true),
            State::NotInUse => query.in_use = Some(false),
            State::Partial => {}
        }
    }
    query
}

/// Writes page after page, as one JSON array or as tables.
struct Writer<'a> {
    output: &'a Output,
    shown: usize,
}

impl Writer<'_> {
    fn write(&mut self, page: &[ContentDocument]) -> Result<(), Failure> {
        if self.output.json {
            let mut text = String::new();
            for (n, content) in (self.shown..).zip(page) {
                text.push_str(if n == 0 { "[\n" } else { ",\n" });
                text.push_str(&serde_json::to_string(content).map_err(std::io::Error::from)?);
            }
            self.output.raw(text.as_bytes())?;
        } else if !page.is_empty() || self.shown == 0 {
            content_rows(page, self.output)?;
        }
        self.shown += page.len();
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        match (self.output.json, self.shown) {
            (false, _) => Ok(()),
            (true, 0) => self.output.line("[]"),
            (true, _) => self.output.line("\n]"),
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a size such as 4096, 10 MiB or 1 GB".to_owned())
}
