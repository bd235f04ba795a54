//! One file from its URL to its lease.

use std::sync::Arc;
use std::time::Duration;

use potluck_cache::{CacheError, Facts, FinishError, Lease, Partial, PartialKey, PartialSpec};
use potluck_content::{ContentId, Digest, Entity};
use potluck_plan::{Accounting, ErrorContext};
use tokio::sync::watch;

use crate::engine::Inner;
use crate::engine::fetch::OriginSource;
use crate::engine::key_locks::KeyGuard;
use crate::engine::request::{FileDone, FileRequest, Progress, Stage, TransferError};
use crate::engine::stream_run::stream;
use crate::engine::whole_check::mismatches;
use crate::origin::{OriginMeta, OriginRequest};

/// How often a file that changes under way, or does not add up, is begun again.
const MAX_ATTEMPTS: u32 = 4;

/// How long to wait for the last user of a partial to let go of it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct FileTask {
    pub(crate) inner: Arc<Inner>,
    pub(crate) request: FileRequest,
    pub(crate) shown: watch::Sender<Progress>,
    /// Bytes received by attempts that were given up.
    pub(crate) wasted: u64,
}

/// What is wanted, once the origin has said what there is.
pub(crate) struct Wish {
    pub(crate) source: Arc<OriginSource>,
    pub(crate) entity: Option<Entity>,
    /// Whether peers may be asked and may have it.
    pub(crate) share: bool,
    /// What the whole must hash to.
    pub(crate) digests: Vec<Digest>,
    pub(crate) key: PartialKey,
    /// Whether bytes of an earlier attempt are surely of the same version.
    pub(crate) resumable: bool,
    pub(crate) use_peers: bool,
}

/// How an attempt ended, if not in failure.
pub(crate) enum Attempt {
    Done(Lease, Accounting),
    /// What came does not add up: begin again, with the origin alone.
    Again(Accounting),
}

impl FileTask {
    pub(crate) fn new(
        inner: Arc<Inner>,
        request: FileRequest,
        shown: watch::Sender<Progress>,
    ) -> Self {
        let wasted = request.before.discarded;
        Self {
            inner,
            request,
            shown,
            wasted,
        }
    }

    pub(crate) async fn run(mut self) -> Result<FileDone, TransferError> {
        let origin = OriginRequest::new(&self.request.url, &self.request.headers)?;
        let mut use_peers = self.request.use_peers;
        for left in (0..MAX_ATTEMPTS).rev() {
            let meta = self
                .inner
                .origin
                .meta(&origin)
                .await
                .map_err(|e| self.failed(e.into()))?;
            let wish = self.wish(&origin, meta, use_peers);
            self.show(|progress| {
                progress.size = wish.source.meta.size;
                progress.validator.clone_from(&wish.source.meta.validator);
            });
            match self.attempt(&wish).await {
                Ok(Attempt::Done(lease, accounting)) => {
                    return Ok(self.done(&wish, lease, accounting));
                }
                Ok(Attempt::Again(accounting)) if left > 0 => {
                    use_peers = false;
                    self.give_up(accounting);
                }
                Ok(Attempt::Again(accounting)) => {
                    self.give_up(accounting);
                    return Err(self.failed(mismatch(&wish, &wish.digests)));
                }
                Err(error) if error.code == "origin_changed" && left > 0 => {
                    tracing::info!(url = %origin.url(), %error, "begun again");
                    self.give_up(error.accounting);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn attempt(&self, wish: &Wish) -> Result<Attempt, TransferError> {
        let own = self.shown.subscribe();
        let guard = self.inner.locks.take(&wish.key, &own, |other| {
            self.show(|progress| {
                progress.stage = Stage::Joined;
                progress.size = progress.size.or(other.size);
                progress.accounting = Accounting::default();
                progress.accounting.add_cached(other.accounting.total());
            });
        });
        let guard = guard.await;
        if let Some(lease) = self.cached(wish).await? {
            let mut accounting = Accounting {
                discarded: self.wasted,
                ..Accounting::default()
            };
            accounting.add_cached(lease.size());
            return Ok(Attempt::Done(lease, accounting));
        }
        if let Some(attempt) = Box::pin(self.by_pieces(wish, guard)).await? {
            return Ok(attempt);
        }
        // Nobody says how long it is.
        let guard = self.inner.locks.take(&wish.key, &own, |_| {}).await;
        self.by_stream(wish, guard).await
    }

    async fn by_stream(&self, wish: &Wish, _guard: KeyGuard) -> Result<Attempt, TransferError> {
        self.show(|progress| progress.stage = Stage::Transferring);
        let partial = self.open(wish, None).await?;
        let mut accounting = Accounting {
            discarded: self.wasted,
            ..Accounting::default()
        };
        let limits = (&self.inner.rates, self.request.job, self.request.priority);
        let shown = |accounting| self.show(|progress| progress.accounting = accounting);
        let streamed = stream(&wish.source, partial, limits, &mut accounting, shown).await;
        let partial = streamed.map_err(|mut error| {
            error.accounting = Accounting {
                discarded: accounting.origin,
                ..Accounting::default()
            };
            error
        })?;
        self.finish(wish, partial, None, accounting).await
    }

    /// Makes a content of a partial whose pieces are all there.
    pub(crate) async fn finish(
        &self,
        wish: &Wish,
        partial: Partial,
        proven: Option<ContentId>,
        accounting: Accounting,
    ) -> Result<Attempt, TransferError> {
        self.show(|progress| {
            progress.stage = Stage::Checking;
            progress.accounting = accounting;
        });
        let expected = wish.content().or(proven);
        let facts = wish.facts();
        let (cache, digests) = (self.inner.cache.clone(), wish.digests.clone());
        let finished = blocking(move || {
            let lease = match partial.finish_with(expected, &facts) {
                Ok(lease) => lease,
                Err(FinishError::WrongContent { partial, .. }) => {
                    partial.abandon();
                    return Ok(None);
                }
                Err(FinishError::Cache { source, .. }) => return Err(TransferError::from(source)),
                Err(error @ FinishError::Incomplete { .. }) => {
                    let context = ErrorContext::LocalFile;
                    return Err(TransferError::new(
                        "cache_failed",
                        context,
                        error.to_string(),
                        true,
                    ));
                }
            };
            // Pieces were checked before; this is for what came as a stream.
            if check_lease(&lease, &digests)?.is_empty() {
                return Ok(Some(lease));
            }
            let id = lease.id();
            drop(lease);
            cache.remove(&id)?;
            Ok(None)
        })
        .await?;
        Ok(match finished {
            Some(lease) => Attempt::Done(lease, accounting),
            None => Attempt::Again(accounting),
        })
    }

    /// Opens the partial, once its last user has let go of it.
    pub(crate) async fn open(
        &self,
        wish: &Wish,
        size: Option<u64>,
    ) -> Result<Partial, TransferError> {
        let deadline = tokio::time::Instant::now() + BUSY_TIMEOUT;
        loop {
            let spec = PartialSpec {
                key: wish.key.clone(),
                size,
                manifest: None,
            };
            let (cache, resumable) = (self.inner.cache.clone(), wish.resumable);
            let opened = tokio::task::spawn_blocking(move || {
                let partial = cache.partial(spec.clone())?;
                if resumable || partial.held_bytes() == 0 {
                    return Ok(partial);
                }
                partial.abandon();
                cache.partial(spec)
            });
            match opened
                .await
                .map_err(|error| TransferError::internal(&error))?
            {
                Err(CacheError::Busy(_)) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Looks in the own cache.
    async fn cached(&self, wish: &Wish) -> Result<Option<Lease>, TransferError> {
        let cache = self.inner.cache.clone();
        let (digests, size) = (wish.digests.clone(), wish.source.meta.size);
        let (entity, facts) = (wish.entity.clone(), wish.facts());
        blocking(move || {
            let by_digest = digests
                .iter()
                .filter_map(|digest| cache.find_digest(digest));
            let by_entity = entity
                .as_ref()
                .and_then(|entity| cache.find_entity(&entity.key()));
            let candidates: Vec<_> = by_digest.chain(by_entity).collect();
            for id in candidates {
                let Some(lease) = cache.lease(&id) else {
                    continue;
                };
                if size.is_some_and(|size| size != lease.size())
                    || !check_lease(&lease, &digests)?.is_empty()
                {
                    continue;
                }
                let known = lease.facts();
                let news = facts
                    .entities
                    .iter()
                    .any(|entity| !known.entities.contains(entity))
                    || (facts.validated && !known.validated);
                if news {
                    for entity in &facts.entities {
                        cache.link_entity(entity, &id)?;
                    }
                    cache.update(&id, |known| known.validated |= facts.validated)?;
                }
                return Ok(Some(lease));
            }
            Ok(None)
        })
        .await
    }

    fn wish(&self, origin: &OriginRequest, meta: OriginMeta, use_peers: bool) -> Wish {
        let share = meta.shareable || self.request.share_personal;
        let entity = meta.entity();
        let mut digests: Vec<_> = self.request.checksum.into_iter().collect();
        digests.extend(
            meta.digests
                .iter()
                .copied()
                .filter(|d| Some(*d) != self.request.checksum),
        );
        let name = &self.request.name;
        let (key, resumable) = match (&entity, share) {
            (Some(entity), true) => (PartialKey::Entity(entity.key()), true),
            (Some(entity), false) => (
                PartialKey::Private(format!("{name} {}", entity.key())),
                true,
            ),
            (None, _) => (PartialKey::Private(name.clone()), false),
        };
        let (client, request) = (self.inner.origin.clone(), origin.clone());
        let source = Arc::new(OriginSource {
            client,
            request,
            meta,
        });
        Wish {
            source,
            entity,
            share,
            digests,
            key,
            resumable,
            use_peers: use_peers && share,
        }
    }

    fn done(&self, wish: &Wish, lease: Lease, accounting: Accounting) -> FileDone {
        self.show(|progress| {
            progress.size = Some(lease.size());
            progress.accounting = accounting;
        });
        FileDone {
            content_id: lease.id(),
            size: lease.size(),
            validator: wish.source.meta.validator.clone(),
            mtime: wish.source.meta.modified,
            entity: wish.entity.clone().filter(|_| wish.share),
            shareable: wish.share,
            accounting,
            lease,
        }
    }

    /// Counts everything of an attempt as wasted.
    fn give_up(&mut self, accounting: Accounting) {
        self.wasted = accounting.total() + accounting.discarded;
        self.request.before = Accounting::default();
        let discarded = self.wasted;
        self.show(|progress| {
            progress.accounting = Accounting {
                discarded,
                ..Accounting::default()
            };
        });
    }

    fn failed(&self, mut error: TransferError) -> TransferError {
        if error.accounting == Accounting::default() {
            error.accounting.discarded = self.wasted;
        }
        tracing::debug!(url = %self.request.url, code = error.code, %error, "transfer failed");
        error
    }

    pub(crate) fn show(&self, change: impl FnOnce(&mut Progress)) {
        self.shown.send_modify(change);
    }
}

impl Wish {
    /// The content, when a digest names it.
    pub(crate) fn content(&self) -> Option<ContentId> {
        self.digests.iter().find_map(|digest| match digest {
            Digest::B3(id) => Some(*id),
            _ => None,
        })
    }

    /// What is known of the content once it is complete and its digests are checked.
    fn facts(&self) -> Facts {
        Facts {
            validated: self.share && !self.digests.is_empty(),
            entities: self.entity.iter().filter(|_| self.share).cloned().collect(),
            digests: if self.share {
                self.digests.clone()
            } else {
                Vec::new()
            },
            origin_mtime: self.source.meta.modified,
            ..Facts::default()
        }
    }
}

/// The error of a whole that is not what its digests say.
pub(crate) fn mismatch(wish: &Wish, wrong: &[Digest]) -> TransferError {
    let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    let message = format!("{} is not {}", wish.source.meta.url, wrong.join(", "));
    TransferError::new("checksum_mismatch", ErrorContext::Origin, message, false)
}

/// The digests that a lease does not have.
fn check_lease(lease: &Lease, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
    let known = lease.facts().digests;
    let mut wrong: Vec<_> = digests
        .iter()
        .filter(|digest| matches!(digest, Digest::B3(id) if *id != lease.id()))
        .copied()
        .collect();
    let unknown: Vec<_> = digests
        .iter()
        .filter(|digest| !known.contains(digest))
        .copied()
        .collect();
    let found = mismatches(&unknown, lease.size(), |buffer, at| {
        let read = lease.read_at(buffer, at)?;
        (read == buffer.len())
            .then_some(())
            .ok_or(std::io::ErrorKind::UnexpectedEof.into())
    });
    wrong.extend(found.map_err(|error| {
        let message = format!("{} cannot be read: {error}", lease.id());
        TransferError::new("cache_failed", ErrorContext::LocalFile, message, true)
    })?);
    Ok(wrong)
}

/// Does blocking work off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| TransferError::internal(&error))?
}
