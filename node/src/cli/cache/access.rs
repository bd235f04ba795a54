//! Where the contents are asked for.

use std::path::Path;

use potluck_cache::{Cache, CacheError};
use serde_json::json;

use crate::cli::daemon;
use crate::cli::failure::Failure;
use crate::client::{Client, escaped};
use crate::config::Settings;
use crate::contents::{
    CacheDocument, ClearedDocument, ContentDocument, Contents, ContentsError, InvalidatedDocument,
    PageQuery, PartialDocument, VerifiedDocument,
};
use crate::events::{EventLog, EventWriter};

/// The daemon, or the data directory itself where no daemon has it.
pub(super) enum Access {
    Daemon(Client),
    Here(Box<Here>),
}

/// An open cache with its event log.
pub(super) struct Here {
    cache: Cache,
    contents: Contents,
    events: EventLog,
    writer: EventWriter,
}

impl Access {
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        match daemon::client_if_any(settings).await? {
            Some(client) => Ok(Self::Daemon(client)),
            None => Ok(Self::Here(Box::new(Here::open(settings)?))),
        }
    }

    /// Makes durable what was done.
    pub(super) fn close(self) {
        if let Self::Here(here) = self {
            here.contents.log_notices();
            here.cache.flush();
            here.events.stop();
            here.writer.join();
        }
    }

    pub(super) async fn overview(&self) -> Result<CacheDocument, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.get("/v1/cache").await?),
            Self::Here(here) => Ok(here.contents.overview()?),
        }
    }

    pub(super) async fn page(&self, query: &PageQuery) -> Result<Vec<ContentDocument>, Failure> {
        match self {
            Self::Daemon(client) => {
                let path = format!("/v1/cache/contents{}", query.to_query());
                // Looking for a part of a URL reads many sidecars.
                Ok(client.patient().get(&path).await?)
            }
            Self::Here(here) => Ok(here.contents.page(query)?),
        }
    }

    pub(super) async fn partials(&self) -> Result<Vec<PartialDocument>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.get("/v1/cache/partials").await?),
            Self::Here(here) => Ok(here.contents.partials()?),
        }
    }

    pub(super) async fn show(&self, name: &str) -> Result<ContentDocument, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.patient().get(&path(name)).await?),
            Self::Here(here) => Ok(here.contents.show(name)?),
        }
    }

    pub(super) async fn add(&self, file: &Path, pin: bool) -> Result<ContentDocument, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot add {}: {error}", file.display()))
        };
        let full = std::path::absolute(file).map_err(|error| failed(&error))?;
        match self {
            Self::Daemon(client) => {
                let wanted = json!({ "path": full, "pinned": pin });
                Ok(client.patient().post("/v1/cache/contents", &wanted).await?)
            }
            Self::Here(here) => (here.contents.add(&full, pin)).map_err(|error| failed(&error)),
        }
    }

    pub(super) async fn pin(&self, name: &str, pinned: bool) -> Result<ContentDocument, Failure> {
        match self {
            Self::Daemon(client) => {
                let wanted = json!({ "pinned": pinned });
                Ok(client.patient().patch(&path(name), &wanted).await?)
            }
            Self::Here(here) => Ok(here.contents.pin(name, pinned)?),
        }
    }

    pub(super) async fn validate(&self, name: &str) -> Result<ContentDocument, Failure> {
        match self {
            Self::Daemon(client) => {
                let path = format!("{}/validate", path(name));
                Ok(client.patient().order(&path).await?)
            }
            Self::Here(here) => Ok(here.contents.validate(name)?),
        }
    }

    pub(super) async fn invalidate(&self, name: &str) -> Result<InvalidatedDocument, Failure> {
        match self {
            Self::Daemon(client) => {
                let path = format!("{}/invalidate", path(name));
                Ok(client.patient().order(&path).await?)
            }
            // Jobs that miss it fetch it again when the daemon begins.
            Self::Here(here) => Ok(InvalidatedDocument {
                content_id: here.contents.invalidate(name)?.to_string(),
                jobs: Vec::new(),
            }),
        }
    }

    pub(super) async fn verify(&self, name: &str) -> Result<VerifiedDocument, Failure> {
        match self {
            Self::Daemon(client) => {
                let path = format!("{}/verify", path(name));
                Ok(client.patient().order(&path).await?)
            }
            Self::Here(here) => Ok(here.contents.verify(name)?),
        }
    }

    pub(super) async fn verify_next(
        &self,
        after: Option<&str>,
    ) -> Result<Option<VerifiedDocument>, Failure> {
        match self {
            Self::Daemon(client) => {
                let after = after.map(|id| format!("?after={}", escaped(id)));
                let path = format!("/v1/cache/verify{}", after.unwrap_or_default());
                Ok(client.patient().order(&path).await?)
            }
            Self::Here(here) => Ok(here.contents.verify_next(after)?),
        }
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Daemon(client) => Ok(client.patient().delete(&path(name)).await?),
            Self::Here(here) => Ok(here.contents.remove(name).map(drop)?),
        }
    }

    pub(super) async fn clear(&self, pinned: bool) -> Result<ClearedDocument, Failure> {
        match self {
            Self::Daemon(client) => {
                let path = format!("/v1/cache/contents?pinned={pinned}");
                Ok(client.patient().delete_many(&path).await?)
            }
            Self::Here(here) => Ok(here.contents.clear(pinned)?),
        }
    }

    pub(super) async fn rebuild(&self) -> Result<CacheDocument, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.patient().order("/v1/cache/rebuild").await?),
            Self::Here(here) => Ok(here.contents.rebuild()?),
        }
    }
}

impl Here {
    fn open(settings: &Settings) -> Result<Self, Failure> {
        let dir = &settings.data_dir;
        let failed = |error: &dyn std::fmt::Display| {
            Failure::failed(format!(
                "cannot open the cache in {}: {error}",
                dir.display()
            ))
        };
        make_private(dir).map_err(|error| failed(&error))?;
        let config = settings.cache_config().map_err(|error| failed(&error))?;
        let cache = Cache::open(config).map_err(|error| match error {
            CacheError::InUse { .. } => Failure::failed(format!(
                "{error}: no daemon answers on {}, so name its socket with --socket",
                settings.control.socket.display()
            )),
            error => failed(&error),
        })?;
        let log = EventLog::open(&dir.join("events"));
        let (events, writer) = log.map_err(|error| failed(&error))?;
        Ok(Self {
            contents: Contents::new(cache.clone(), events.clone()),
            cache,
            events,
            writer,
        })
    }
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn path(name: &str) -> String {
    format!("/v1/cache/contents/{}", escaped(name))
}

impl From<ContentsError> for Failure {
    fn from(error: ContentsError) -> Self {
        Self::failed(error.to_string())
    }
}
