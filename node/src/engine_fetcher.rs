//! Jobs meet the transfer engine.

use std::time::{Duration, SystemTime};

use potluck_cache::{CacheError, PartialKey, PartialSpec};
use potluck_content::{ContentId, Entity};
use potluck_plan::{ErrorContext, JobError, Retry, SwarmCounts};
use potluck_transfer::{EngineHandle, FileDone, Progress, Stage, TransferError};
use tokio::sync::watch;

use crate::jobs::{
    Fetch, FetchError, FetchPhase, FetchProgress, FetchRequest, Fetched, Fetcher, JobId,
};

/// How long to wait for a stopped transfer to let go of its file.
const FORGET_TRIES: u32 = 50;
const FORGET_PAUSE: Duration = Duration::from_millis(100);

/// Fetches files with the engine.
pub(crate) struct EngineFetcher(pub(crate) EngineHandle);

impl Fetcher for EngineFetcher {
    fn fetch(&self, request: FetchRequest) -> Fetch {
        let name = name_of(&request);
        let mut file = potluck_transfer::FileRequest::new(request.url, name);
        file.headers = request.headers;
        file.owner = Some(request.owner);
        file.options = request.options;
        file.ranges = request.ranges;
        file.checksum = request.checksum;
        file.for_itself = request.for_itself;
        file.use_peers = request.use_peers;
        file.priority = request.priority;
        file.job = request.job;
        file.before = request.before;
        file.swarm_before = request.swarm_before;
        file.destination = request.destination;
        let mut transfer = self.0.transfer(file);
        let mut source = transfer.progress();
        let (shown, progress) = watch::channel(FetchProgress::default());
        let outcome = Box::pin(async move {
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = transfer.outcome() => break outcome,
                    Ok(()) = source.changed() => {
                        shown.send_replace(seen(&source.borrow_and_update()));
                    }
                }
            };
            let swarm = source.borrow().swarm;
            outcome.map(fetched).map_err(|error| failed(error, swarm))
        });
        Fetch { progress, outcome }
    }

    fn sync(&self) -> Result<(), JobError> {
        match self.0.cache().sync_contents() {
            // Whose it was sees it by the lease; all others are durable.
            Ok(()) | Err(CacheError::Lost { .. }) => Ok(()),
            Err(error) => {
                let context = ErrorContext::LocalFile;
                Err(JobError::new("cache_failed", context, error.to_string()))
            }
        }
    }

    fn validate(&self, content: &ContentId, entity: Option<&Entity>) {
        // A content that did not fit into the cache is gone: then nobody gets it.
        if let Err(error) = self.0.validate(content, entity) {
            tracing::debug!(%content, %error, "not validated");
        }
    }

    fn forget(&self, request: &FetchRequest, version: Option<&Entity>) {
        let name = name_of(request);
        let mut keys = vec![PartialKey::Private(name.clone())];
        if let Some(version) = version {
            keys.push(PartialKey::Private(format!("{name} {}", version.key())));
            if let Some(ranges) = &request.ranges {
                keys.push(potluck_transfer::ranges_key(&name, Some(version), ranges));
            }
        }
        for key in keys {
            self.abandon(&key);
        }
    }
}

impl EngineFetcher {
    fn abandon(&self, key: &PartialKey) {
        for _ in 0..FORGET_TRIES {
            let spec = PartialSpec {
                key: key.clone(),
                size: None,
                manifest: None,
            };
            match self.0.cache().partial(spec) {
                Ok(partial) => return partial.abandon(),
                // The transfer that was stopped has not let go of it yet.
                Err(CacheError::Busy(_)) => std::thread::sleep(FORGET_PAUSE),
                Err(error) => {
                    tracing::debug!(%key, %error, "an unfinished file stays");
                    return;
                }
            }
        }
    }
}

/// The same over restarts: unfinished files are kept under it.
fn name_of(request: &FetchRequest) -> String {
    format!("{}-{}", JobId::from_key(request.job), request.file)
}

fn seen(progress: &Progress) -> FetchProgress {
    FetchProgress {
        connected: progress.stage != Stage::Asking,
        phase: match progress.stage {
            Stage::Asking => FetchPhase::Asking,
            Stage::Joined => FetchPhase::Joined,
            Stage::Searching => FetchPhase::Searching,
            Stage::Transferring => FetchPhase::Flowing,
            Stage::Checking => FetchPhase::Checking,
        },
        size: progress.size,
        validator: progress.validator.clone(),
        accounting: progress.accounting,
        swarm: progress.swarm,
        troubles: progress.troubles.clone(),
    }
}

fn fetched(done: FileDone) -> Fetched {
    Fetched {
        lease: done.lease,
        validator: done.validator,
        mtime: done.mtime,
        troubles: done.troubles,
        final_url: done.final_url,
        response_headers: done.response_headers,
        entity: done.entity,
        shareable: done.shareable,
        accounting: done.accounting,
        swarm: done.swarm,
    }
}

fn failed(error: TransferError, swarm: SwarmCounts) -> FetchError {
    let retry = match (error.retryable, error.retry_after) {
        (false, _) => Retry::Never,
        (true, after) => Retry::At(after.map(later)),
    };
    FetchError {
        error: JobError::new(error.code, error.context, error.message),
        retry,
        accounting: error.accounting,
        swarm,
    }
}

fn later(after: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_add(after).unwrap_or(now)
}
