//! `potluck cache`: through the daemon, which has the cache open; without one on the
//! data directory itself.

mod access;
mod listing;
mod removing;
mod verifying;
mod view;

use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::FalseyValueParser;
use serde_json::json;

use super::args::Global;
use super::config::load;
use super::failure::Failure;
use super::output::Output;
use access::Access;
use listing::ListArgs;
use removing::{ClearArgs, RemoveArgs};
use verifying::VerifyArgs;

/// `potluck cache`. CONTENT is an id (b3:HEX) or the beginning of one, another digest
/// (sha256:HEX), or a URL.
#[derive(Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// List what the cache holds, in the order of the ids.
    List(Box<ListArgs>),
    /// Show one content, or the cache as a whole.
    Show {
        /// Its id or the beginning of it, another digest, or a URL.
        content: Option<String>,
    },
    /// Put files into the cache, for peers and later downloads, and print their ids.
    Add {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Keep them whatever the limits say.
        #[arg(long, env = "POTLUCK_PIN", value_parser = FalseyValueParser::new(), hide_env_values = true)]
        pin: bool,
    },
    /// Read contents again and compare them with what they were; the exit status is 1 when
    /// something was damaged. What is damaged is not served any more.
    Verify(VerifyArgs),
    /// Keep contents whatever the limits say.
    Pin {
        /// Their ids or the beginnings of them, other digests, or URLs.
        #[arg(required = true)]
        contents: Vec<String>,
    },
    /// Keep contents no longer than the limits say.
    Unpin {
        /// Their ids or the beginnings of them, other digests, or URLs.
        #[arg(required = true)]
        contents: Vec<String>,
    },
    /// Vouch for contents: peers may have them from now on.
    Validate {
        /// Their ids or the beginnings of them, other digests, or URLs.
        #[arg(required = true)]
        contents: Vec<String>,
    },
    /// Remove contents that are not what they should be.
    Invalidate {
        /// Their ids or the beginnings of them, other digests, or URLs.
        #[arg(required = true)]
        contents: Vec<String>,
    },
    /// Remove contents, pinned or not.
    Remove(RemoveArgs),
    /// Remove everything that is not pinned or in use.
    Clear(ClearArgs),
}

pub(super) async fn run(
    global: &Global,
    command: &CacheCommand,
    output: &Output,
) -> Result<(), Failure> {
    let access = Access::open(&load(global)?.settings).await?;
    let done = carry_out(&access, command, output).await;
    access.close();
    done
}

async fn carry_out(
    access: &Access,
    command: &CacheCommand,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        CacheCommand::List(args) => listing::list(access, args, output).await,
        CacheCommand::Show { content: None } => view::show_cache(&access.overview().await?, output),
        CacheCommand::Show {
            content: Some(name),
        } => view::show(&access.show(name).await?, output),
        CacheCommand::Add { files, pin } => add(access, files, *pin, output).await,
        CacheCommand::Verify(args) => verifying::verify(access, args, output).await,
        CacheCommand::Pin { contents } => pin(access, contents, true, output).await,
        CacheCommand::Unpin { contents } => pin(access, contents, false, output).await,
        CacheCommand::Validate { contents } => validate(access, contents, output).await,
        CacheCommand::Invalidate { contents } => {
            removing::invalidate(access, contents, output).await
        }
        CacheCommand::Remove(args) => removing::remove(access, args, output).await,
        CacheCommand::Clear(args) => removing::clear(access, args, output).await,
    }
}

async fn add(
    access: &Access,
    files: &[PathBuf],
    pin: bool,
    output: &Output,
) -> Result<(), Failure> {
    let mut added = Vec::new();
    for file in files {
        let content = access.add(file, pin).await?;
        if !output.json {
            output.line(&format!("{}  {}", content.content_id, file.display()))?;
        }
        added.push(content);
    }
    one_or_many(&added, output)
}

async fn pin(
    access: &Access,
    names: &[String],
    pinned: bool,
    output: &Output,
) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for name in names {
        let content = access.pin(name, pinned).await?;
        if !output.json {
            let word = if pinned { "pinned" } else { "no longer pinned" };
            output.line(&format!("{} is {word}", content.content_id))?;
        }
        changed.push(content);
    }
    one_or_many(&changed, output)
}

async fn validate(access: &Access, names: &[String], output: &Output) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for name in names {
        let content = access.validate(name).await?;
        if !output.json {
            output.line(&format!("{} is validated", content.content_id))?;
        }
        changed.push(content);
    }
    one_or_many(&changed, output)
}

/// What was asked of one thing is told as one document, of several as a list.
fn one_or_many<T: serde::Serialize>(done: &[T], output: &Output) -> Result<(), Failure> {
    match done {
        _ if !output.json => Ok(()),
        [one] => output.json(one),
        many => output.json(&json!(many)),
    }
}
