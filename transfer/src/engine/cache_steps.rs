//! What a transfer does with the cache: looks, opens, finishes.

use std::time::Duration;

use potluck_cache::{Cache, CacheError, Facts, FinishError, Lease, Partial, PartialSpec};
use potluck_content::{ContentId, Digest};
use potluck_plan::{Accounting, ErrorContext};

use crate::engine::file_task::{FileTask, blocking};
use crate::engine::request::{Stage, TransferError};
use crate::engine::whole_check::mismatches;
use crate::engine::wish::Wish;

/// How long to wait for the last user of a partial to let go of it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl FileTask {
    /// Looks in the own cache.
    pub(super) async fn cached(&self, wish: &Wish) -> Result<Option<Lease>, TransferError> {
        let cache = self.inner.cache.clone();
        let (digests, size) = (wish.digests.clone(), wish.size());
        let (entity, job_alone) = (wish.entity.clone(), wish.job_alone);
        let facts = wish.facts(wish.share && !job_alone);
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
                let found = lease.facts();
                // Whoever knows a digest does not get what another job got for itself.
                if job_alone && !found.validated && found.entities.is_empty() {
                    continue;
                }
                let known = found.entities;
                for entity in facts.entities.iter().filter(|e| !known.contains(e)) {
                    cache.link_entity(entity, &id)?;
                }
                // Writes nothing where nothing is new.
                cache.update(&id, |known| {
                    known.validated |= facts.validated;
                    for digest in &facts.digests {
                        known.add_digest(digest);
                    }
                })?;
                return Ok(Some(lease));
            }
            Ok(None)
        })
        .await
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
                // Nor can a stream go on in what was cut into pieces.
                let other_kind = spec.size.is_none() && partial.layout().is_some();
                if !other_kind && (resumable || partial.held_bytes() == 0) {
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

    /// Makes a content of a partial whose pieces are all there; nothing when they do not
    /// make what is wanted.
    pub(crate) async fn finish(
        &self,
        wish: &Wish,
        partial: Partial,
        proven: Option<ContentId>,
        accounting: Accounting,
    ) -> Result<Option<Lease>, TransferError> {
        self.show(|progress| {
            progress.stage = Stage::Checking;
            progress.accounting = accounting;
        });
        let expected = wish.content().or(proven);
        let facts = wish.facts(wish.names(&accounting));
        let (cache, digests) = (self.inner.cache.clone(), wish.digests.clone());
        blocking(move || {
            // A stream was not checked on its way: until it is, nothing is said of it.
            let checked = partial.layout().is_some();
            let known = if checked {
                facts.clone()
            } else {
                Facts {
                    origin_mtime: facts.origin_mtime,
                    ..Facts::default()
                }
            };
            let lease = match partial.finish_with(expected, &known) {
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
            if !check_lease(&lease, &digests)?.is_empty() {
                forget_nameless(&cache, lease)?;
                return Ok(None);
            }
            if !checked {
                cache.update(&lease.id(), |known| known.merge(&facts))?;
            }
            Ok(Some(lease))
        })
        .await
    }
}

/// Removes what came and is not what was wanted, unless it was here before and is
/// known for something else.
fn forget_nameless(cache: &Cache, lease: Lease) -> Result<(), TransferError> {
    let (id, facts) = (lease.id(), lease.facts());
    drop(lease);
    let known =
        facts.validated || facts.pinned || !facts.entities.is_empty() || !facts.digests.is_empty();
    if !known {
        cache.remove(&id)?;
    }
    Ok(())
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
