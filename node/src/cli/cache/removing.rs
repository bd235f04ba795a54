//! `potluck cache remove`, `invalidate` and `clear`

use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;

use super::access::Access;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::show_size;
use crate::contents::PageQuery;

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArgs {
    /// Their ids or the beginnings of them, other digests, or URLs.
    #[arg(required_unless_present = "url")]
    contents: Vec<String>,
    /// Everything that this URL ever named; may be given several times.
    #[arg(long, env = "POTLUCK_URL", hide_env_values = true)]
    url: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ClearArgs {
    /// Pinned contents too.
    #[arg(long, env = "POTLUCK_PINNED", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    pinned: bool,
    /// Do not ask.
    #[arg(long, env = "POTLUCK_YES", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    yes: bool,
}

pub(super) async fn remove(
    access: &Access,
    args: &RemoveArgs,
    output: &Output,
) -> Result<(), Failure> {
    let mut removed = Vec::new();
    for name in &args.contents {
        let id = access.show(name).await?.content_id;
        access.remove(&id).await?;
        told(&id, output)?;
        removed.push(id);
    }
    for url in &args.url {
        let before = removed.len();
        loop {
            let query = PageQuery {
                url: Some(url.clone()),
                ..PageQuery::default()
            };
            let page = access.page(&query).await?;
            if page.is_empty() {
                break;
            }
            for content in page {
                access.remove(&content.content_id).await?;
                told(&content.content_id, output)?;
                removed.push(content.content_id);
            }
        }
        if removed.len() == before {
            return Err(Failure::failed(format!("the cache holds nothing of {url}")));
        }
    }
    if !output.json {
        return Ok(());
    }
    match &removed[..] {
        [one] if args.url.is_empty() => output.json(&json!({ "removed": one })),
        all => output.json(&json!({ "removed": all })),
    }
}

pub(super) async fn invalidate(
    access: &Access,
    names: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let mut removed = Vec::new();
    for name in names {
        let invalidated = access.invalidate(name).await?;
        told(&invalidated.content_id, output)?;
        for job in &invalidated.jobs {
            output.hint(&format!(
                "job {job} waited for it: see `potluck job show {job}`"
            ));
        }
        removed.push(invalidated);
    }
    super::one_or_many(&removed, output)
}

pub(super) async fn clear(
    access: &Access,
    args: &ClearArgs,
    output: &Output,
) -> Result<(), Failure> {
    if !args.yes {
        confirm(access, args.pinned).await?;
    }
    let cleared = access.clear(args.pinned).await?;
    if output.json {
        return output.json(&cleared);
    }
    output.line(&format!(
        "removed {} contents, {}",
        cleared.contents,
        show_size(cleared.bytes)
    ))?;
    if cleared.contents_left > 0 {
        output.hint(&format!(
            "{} contents stay, {}: they are {}in use",
            cleared.contents_left,
            show_size(cleared.bytes_left),
            if args.pinned { "" } else { "pinned or " }
        ));
    }
    Ok(())
}

async fn confirm(access: &Access, pinned: bool) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(
            "this removes every content that is not in use: say --yes",
        ));
    }
    let cache = access.overview().await?;
    let (contents, bytes) = if pinned {
        (
            cache.contents + cache.pinned,
            cache.bytes + cache.pinned_bytes,
        )
    } else {
        (cache.contents, cache.bytes)
    };
    eprint!("Remove {contents} contents, {}? [y/N] ", show_size(bytes));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::failed("nothing was removed"))
}

fn told(id: &str, output: &Output) -> Result<(), Failure> {
    if output.json {
        return Ok(());
    }
    output.line(&format!("{id} is removed"))
}
