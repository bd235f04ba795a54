//! One file from its URL to its lease.

use std::sync::Arc;

use http::Method;
use potluck_cache::Lease;
use potluck_plan::{Accounting, OriginTrouble};
use tokio::sync::watch;

use crate::engine::Inner;
use crate::engine::key_locks::KeyGuard;
use crate::engine::once::judged;
use crate::engine::request::{FileDone, FileRequest, Progress, Stage, TransferError};
use crate::engine::stream_run::stream;
use crate::engine::wish::{Wish, mismatch};
use crate::origin::{OriginBody, OriginMeta, OriginRequest, RangeSupport};

/// How often a file that changes under way, or does not add up, is begun again.
const MAX_ATTEMPTS: u32 = 4;
/// After so many changes under way a single answer is taken as it is: where several servers
/// have one name, their answers may never agree.
const MAX_CHANGES: u32 = 2;

pub(crate) struct FileTask {
    pub(crate) inner: Arc<Inner>,
    pub(crate) request: FileRequest,
    pub(crate) shown: watch::Sender<Progress>,
    /// Bytes received by attempts that were given up.
    pub(crate) wasted: u64,
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
        let options = Arc::clone(&self.request.options);
        let origin = origin.with_options(options, self.request.owner)?;
        let mut use_peers = self.request.use_peers;
        let mut packed = false;
        let mut changes = 0;
        // What another method did is not done again just because something came of it.
        let asks = *origin.method() == Method::GET;
        for left in (0..MAX_ATTEMPTS).rev() {
            let (wish, opened) = if changes < MAX_CHANGES {
                let asked = self.inner.origin.meta(&origin).await;
                let mut meta = asked.map_err(|e| self.failed(e.into()))?;
                if packed {
                    meta.set_packed();
                }
                (self.wish(&origin, meta, use_peers), None)
            } else {
                self.show(|progress| progress.note(OriginTrouble::Inconsistent));
                let asked = self.inner.origin.get_any(&origin).await;
                let (meta, body) = asked.map_err(|e| self.failed(e.into()))?;
                (self.wish_apart(&origin, meta), Some(body))
            };
            self.show(|progress| {
                progress.size = wish.source.meta.size;
                progress.validator.clone_from(&wish.source.meta.validator);
                for trouble in troubles(&wish.source.meta) {
                    progress.note(trouble);
                }
            });
            let attempted = match self.request.ranges.clone() {
                Some(ranges) => Box::pin(self.attempt_ranges(&wish, &ranges, opened)).await,
                None => self.attempt(&wish, opened).await,
            };
            match attempted {
                Ok(Attempt::Done(lease, accounting)) => {
                    return Ok(self.done(&wish, lease, accounting));
                }
                Ok(Attempt::Again(accounting)) if left > 0 && asks => {
                    use_peers = false;
                    self.give_up(accounting);
                }
                Ok(Attempt::Again(accounting)) => {
                    self.give_up(accounting);
                    return Err(self.failed(mismatch(&wish, &wish.digests)));
                }
                Err(error) if error.code == "origin_changed" && left > 0 && asks => {
                    tracing::info!(url = %origin.url(), %error, "begun again");
                    self.show(|progress| progress.note(OriginTrouble::Changed));
                    packed = false;
                    changes += 1;
                    self.give_up(error.accounting);
                }
                Err(error) if error.code == "origin_encoded" && left > 0 && asks => {
                    tracing::info!(url = %origin.url(), %error, "begun again");
                    packed = true;
                    self.give_up(error.accounting);
                }
                Err(error) => return Err(self.failed(judged(error, origin.method()))),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Fetches what is wanted. `opened` is the answer that brings the whole of it, where
    /// that has come already.
    pub(super) async fn attempt(
        &self,
        wish: &Wish,
        opened: Option<OriginBody>,
    ) -> Result<Attempt, TransferError> {
        let own = self.shown.subscribe();
        let guard = self.inner.locks.take(&wish.key, &own, |other| {
            self.show(|progress| {
                progress.stage = Stage::Joined;
                progress.size = progress.size.or(other.size);
                let theirs = other.accounting.total();
                progress.accounting = self.before();
                let more = theirs.saturating_sub(progress.accounting.total());
                progress.accounting.add_cached(more);
            });
        });
        let guard = guard.await;
        if let Some(lease) = self.cached(wish).await? {
            let accounting = self.before().resumed(lease.size());
            return Ok(Attempt::Done(lease, accounting));
        }
        if let Some(body) = opened {
            return self.by_stream(wish, guard, Some(body)).await;
        }
        if let Some(attempt) = Box::pin(self.by_pieces(wish, guard)).await? {
            return Ok(attempt);
        }
        // Nobody says how long it is.
        let guard = self.inner.locks.take(&wish.key, &own, |_| {}).await;
        self.by_stream(wish, guard, None).await
    }

    async fn by_stream(
        &self,
        wish: &Wish,
        _guard: KeyGuard,
        opened: Option<OriginBody>,
    ) -> Result<Attempt, TransferError> {
        self.show(|progress| progress.stage = Stage::Transferring);
        let mut partial = self.open(wish, None).await?;
        if let Some(size) = wish.source.meta.size {
            partial = partial.foretold(size);
        }
        // Whatever came before, this begins at the start.
        let mut accounting = self.before().wasted();
        let limits = (&self.inner.rates, self.request.job, self.request.priority);
        let shown = |accounting| self.show(|progress| progress.accounting = accounting);
        let source = &wish.source;
        let finished = async {
            let body = match opened {
                Some(body) => body,
                None => {
                    let asked = source.client.get(&source.request, &source.meta, None);
                    asked.await?
                }
            };
            let partial = stream(body, partial, limits, &mut accounting, shown).await?;
            self.finish(wish, partial, None, accounting).await
        };
        let finished = finished.await;
        // All of it is the origin's, so the next time would be no better.
        let finished = finished.and_then(|lease| lease.ok_or(mismatch(wish, &wish.digests)));
        match finished {
            Ok(lease) => Ok(Attempt::Done(lease, accounting)),
            Err(mut error) => {
                error.accounting = accounting.wasted();
                Err(error)
            }
        }
    }

    /// What earlier tries and attempts counted.
    pub(super) fn before(&self) -> Accounting {
        Accounting {
            discarded: self.wasted,
            ..self.request.before
        }
    }

    fn done(&self, wish: &Wish, lease: Lease, accounting: Accounting) -> FileDone {
        self.show(|progress| {
            progress.size = Some(lease.size());
            progress.accounting = accounting;
        });
        // Parts of a file are not the file.
        let share = wish.share && self.request.ranges.is_none();
        let known = lease.facts().entities;
        FileDone {
            content_id: lease.id(),
            size: lease.size(),
            validator: wish.source.meta.validator.clone(),
            mtime: wish.source.meta.modified,
            troubles: self.shown.borrow().troubles.clone(),
            final_url: wish.source.redirected(),
            response_headers: wish.source.meta.fields.clone(),
            entity: wish.entity.clone().filter(|it| share && known.contains(it)),
            shareable: share,
            accounting,
            swarm: self.shown.borrow().swarm,
            lease,
        }
    }

    /// Counts everything of an attempt as wasted.
    fn give_up(&mut self, accounting: Accounting) {
        // One that moved nothing counts nothing.
        self.wasted = accounting.received().max(self.before().received());
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
            // Nothing was moved: what earlier attempts counted still holds.
            error.accounting = self.before();
        }
        tracing::debug!(code = error.code, %error, "transfer failed");
        error
    }

    pub(crate) fn show(&self, change: impl FnOnce(&mut Progress)) {
        self.shown.send_modify(change);
    }
}

/// What makes an origin hard to fetch from, by what it says of a file.
fn troubles(meta: &OriginMeta) -> Vec<OriginTrouble> {
    let mut troubles = Vec::new();
    if meta.old {
        troubles.push(OriginTrouble::Http10);
    }
    if meta.packed {
        // That it has no length and no parts follows.
        troubles.push(OriginTrouble::Encoded);
    } else {
        if meta.size.is_none() {
            troubles.push(OriginTrouble::NoLength);
        }
        if meta.ranges == RangeSupport::No {
            troubles.push(OriginTrouble::NoRanges);
        }
        if meta.validator.is_none() {
            troubles.push(OriginTrouble::NoValidator);
        }
    }
    troubles
}

/// Does blocking work off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| TransferError::internal(&error))?
}
