//! `potluck cache`: through the daemon, which has the cache open; without one on the
//! data directory itself.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use potluck_cache::{Cache, CacheError};
use potluck_content::ContentId;
use serde_json::json;

use super::args::Global;
use super::config::load;
use super::daemon::{self, show_time};
use super::failure::Failure;
use super::job_view::plain;
use super::output::Output;
use crate::api::ContentDocument;
use crate::client::Client;
use crate::config::{Settings, show_size};

/// `potluck cache`
#[derive(Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// List what the cache holds.
    List,
    /// Show one content.
    Show {
        /// Its id, as b3:HEX.
        content: ContentId,
    },
    /// Put a file into the cache, for peers and later downloads, and print its id.
    Add {
        /// The file.
        file: PathBuf,
    },
    /// Remove a content.
    Remove {
        /// Its id, as b3:HEX.
        content: ContentId,
    },
}

/// Where the contents are asked for.
enum Access {
    Daemon(Client),
    Here(Cache),
}

pub(super) async fn run(
    global: &Global,
    command: &CacheCommand,
    output: &Output,
) -> Result<(), Failure> {
    let settings = load(global)?.settings;
    let access = match daemon::client_if_any(&settings).await? {
        Some(client) => Access::Daemon(client),
        None => Access::Here(open(&settings)?),
    };
    let done = carry_out(&access, command, output).await;
    if let Access::Here(cache) = &access {
        cache.flush();
    }
    done
}

async fn carry_out(
    access: &Access,
    command: &CacheCommand,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        CacheCommand::List => list(&access.list().await?, output),
        CacheCommand::Show { content } => show(&access.show(content).await?, output),
        CacheCommand::Add { file } => {
            let content = access.add(file).await?;
            if output.json {
                return output.json(&content);
            }
            output.line(&format!("{}  {}", content.content_id, file.display()))
        }
        CacheCommand::Remove { content } => {
            access.remove(content).await?;
            if output.json {
                return output.json(&json!({ "removed": content.to_string() }));
            }
            output.line(&format!("{content} is removed"))
        }
    }
}

impl Access {
    async fn list(&self) -> Result<Vec<ContentDocument>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.get("/v1/cache/contents").await?),
            Self::Here(cache) => Ok(cache.list().iter().map(ContentDocument::from).collect()),
        }
    }

    async fn show(&self, content: &ContentId) -> Result<ContentDocument, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.get(&path(content)).await?),
            Self::Here(cache) => match cache.show(content) {
                Some(record) => Ok(ContentDocument::from(&record)),
                None => Err(not_held(content)),
            },
        }
    }

    async fn add(&self, file: &Path) -> Result<ContentDocument, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot add {}: {error}", file.display()))
        };
        let full = std::path::absolute(file).map_err(|error| failed(&error))?;
        match self {
            Self::Daemon(client) => {
                let wanted = json!({ "path": full });
                Ok(client.patient().post("/v1/cache/contents", &wanted).await?)
            }
            Self::Here(cache) => match cache.add_file(&full, |_| {}) {
                Ok(record) => Ok(ContentDocument::from(&record)),
                Err(error) => Err(failed(&error)),
            },
        }
    }

    async fn remove(&self, content: &ContentId) -> Result<(), Failure> {
        match self {
            Self::Daemon(client) => Ok(client.delete(&path(content)).await?),
            Self::Here(cache) => match cache.remove(content) {
                Ok(true) => Ok(()),
                Ok(false) => Err(not_held(content)),
                Err(error) => Err(Failure::failed(error.to_string())),
            },
        }
    }
}

fn open(settings: &Settings) -> Result<Cache, Failure> {
    let dir = &settings.data_dir;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!(
            "cannot open the cache in {}: {error}",
            dir.display()
        ))
    };
    make_private(dir).map_err(|error| failed(&error))?;
    let disk = rustix::fs::statvfs(dir).map_err(|error| failed(&error))?;
    let disk = disk.f_blocks.saturating_mul(disk.f_frsize);
    let config = potluck_cache::Config {
        dir: dir.clone(),
        max_size: settings.cache.max_size.on_disk_of(disk),
        max_age: settings.cache.max_age,
    };
    Cache::open(config).map_err(|error| match error {
        CacheError::InUse { .. } => Failure::failed(format!(
            "{error}: no daemon answers on {}, so name its socket with --socket",
            settings.control.socket.display()
        )),
        error => failed(&error),
    })
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn path(content: &ContentId) -> String {
    format!("/v1/cache/contents/{content}")
}

fn not_held(content: &ContentId) -> Failure {
    Failure::failed(format!("the cache does not hold {content}"))
}

fn list(contents: &[ContentDocument], output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(&contents);
    }
    let rows: Vec<Vec<String>> = contents
        .iter()
        .map(|content| {
            vec![
                content.content_id.clone(),
                show_size(content.size),
                show_time(&content.accessed),
                state(content),
                content
                    .urls
                    .last()
                    .map(|url| plain(url))
                    .unwrap_or_default(),
            ]
        })
        .collect();
    output.table(&["content", "size", "last used", "state", "url"], &rows)
}

fn show(content: &ContentDocument, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(content);
    }
    let mut rows = vec![
        ("content", content.content_id.clone()),
        (
            "size",
            format!("{} ({} bytes)", show_size(content.size), content.size),
        ),
        ("state", state(content)),
        ("added", show_time(&content.added)),
        ("last used", show_time(&content.accessed)),
    ];
    rows.extend(
        content
            .digests
            .iter()
            .map(|digest| ("digest", digest.clone())),
    );
    rows.extend(content.urls.iter().map(|url| ("url", plain(url))));
    for (key, value) in rows {
        output.line(&format!("{key:<9} {value}"))?;
    }
    Ok(())
}

fn state(content: &ContentDocument) -> String {
    let words = [
        (content.validated, "validated"),
        (!content.validated, "not validated"),
        (content.pinned, "pinned"),
        (content.in_use, "in use"),
    ];
    let words: Vec<&str> = words
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, word)| *word)
        .collect();
    words.join(", ")
}
