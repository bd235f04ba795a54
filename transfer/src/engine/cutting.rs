//! A file of ranges, cut from the whole.
//!
//! An origin that sends no parts, or does not say how long the file is, gives the whole
//! or nothing. Then the whole is fetched as any other file is, from peers too, and what
//! was asked for is cut from it. The same when the whole is here already.

use potluck_cache::Lease;
use potluck_plan::{Accounting, FileRanges};

use crate::engine::file_task::{Attempt, FileTask};
use crate::engine::packing::Packing;
use crate::engine::request::TransferError;
use crate::engine::wish::{Wish, invalid_range, mismatch};
use crate::origin::{OriginBody, RangeSupport};

/// Bytes that are copied at a time.
const STEP: usize = 1 << 20;

impl FileTask {
    /// Fetches the ranges: by themselves where that can be, else with all the rest.
    pub(super) async fn attempt_ranges(
        &self,
        whole: &Wish,
        ranges: &FileRanges,
        opened: Option<OriginBody>,
    ) -> Result<Attempt, TransferError> {
        let meta = &whole.source.meta;
        let mut lost = 0;
        if let Some(size) = meta.size {
            let packing = Packing::new(ranges, size).map_err(|e| invalid_range(whole, &e))?;
            let apart = meta.ranges != RangeSupport::No && meta.validator.is_some();
            if apart && opened.is_none() && self.cached(whole).await?.is_none() {
                let wish = self.packed_wish(whole, ranges, Some(packing));
                self.show(|progress| progress.size = wish.size());
                match self.attempt(&wish, None).await {
                    Err(error) if error.code == "origin_no_ranges" => {
                        tracing::info!(url = %meta.url, "no parts: the whole is fetched");
                        // What came before this try is counted when the whole is begun.
                        let came = error.accounting.received();
                        lost = came.saturating_sub(self.before().received());
                    }
                    outcome => return outcome,
                }
            }
        }
        let attempted = self.attempt(whole, opened).await.map_err(|mut error| {
            if error.accounting == Accounting::default() {
                error.accounting = self.before();
            }
            error.accounting.add_discarded(lost);
            error
        });
        let (lease, accounting) = match attempted? {
            Attempt::Done(lease, accounting) => (lease, with_waste(accounting, lost)),
            Attempt::Again(accounting) => return Ok(Attempt::Again(with_waste(accounting, lost))),
        };
        let packing = Packing::new(ranges, lease.size()).map_err(|error| {
            let mut failed = invalid_range(whole, &error);
            failed.accounting = accounting.wasted();
            failed
        })?;
        let accounting = share_of(accounting, packing.len);
        let wish = self.packed_wish(whole, ranges, Some(packing));
        let cut = self.cut(&wish, lease, accounting).await;
        let lease = cut.map_err(|mut error| {
            error.accounting = accounting.wasted();
            error
        })?;
        Ok(Attempt::Done(lease, accounting))
    }

    /// Copies what is wanted out of the whole.
    async fn cut(
        &self,
        wish: &Wish,
        whole: Lease,
        accounting: Accounting,
    ) -> Result<Lease, TransferError> {
        let own = self.shown.subscribe();
        let _guard = self.inner.locks.take(&wish.key, &own, |_| {}).await;
        if let Some(lease) = self.cached(wish).await? {
            return Ok(lease);
        }
        let len = wish.size().unwrap_or_default();
        let partial = self.open(wish, None).await?.foretold(len);
        let packing = wish.packing.clone();
        let spans = packing.map(|packing| packing.sources_of(0..packing.len));
        let cut = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; STEP];
            for span in spans.unwrap_or_default() {
                let mut at = span.start;
                while at < span.end {
                    let len = usize::try_from(span.end - at).map_or(STEP, |left| left.min(STEP));
                    let unread = |error: std::io::Error| {
                        let context = potluck_plan::ErrorContext::LocalFile;
                        let message = format!("{} cannot be read: {error}", whole.id());
                        TransferError::new("cache_failed", context, message, true)
                    };
                    let read = whole.read_at(&mut buffer[..len], at).map_err(unread)?;
                    if read == 0 {
                        return Err(unread(std::io::ErrorKind::UnexpectedEof.into()));
                    }
                    partial.append(&buffer[..read])?;
                    at += read as u64;
                }
            }
            Ok(partial)
        });
        let partial = cut.await.map_err(|e| TransferError::internal(&e))??;
        let lease = self.finish(wish, partial, None, accounting).await?;
        lease.ok_or_else(|| mismatch(wish, &wish.digests))
    }
}

fn with_waste(mut accounting: Accounting, lost: u64) -> Accounting {
    accounting.discarded += lost;
    accounting
}

/// What of the bytes of the whole makes the ranges. Where in the whole the bytes of whom
/// lie is not kept: those that cost most count first. The rest was for nothing, but for
/// what was here before.
fn share_of(whole: Accounting, wanted: u64) -> Accounting {
    let origin = whole.origin.min(wanted);
    let peers = whole.peers.min(wanted - origin);
    let sent = whole.origin - whole.unpacked.min(whole.origin);
    let kept = sent.min(origin);
    Accounting {
        origin,
        peers,
        unpacked: origin - kept,
        cache: wanted - origin - peers,
        discarded: whole.discarded + (sent - kept) + (whole.peers - peers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_was_for_nothing() {
        let whole = Accounting {
            origin: 70,
            peers: 20,
            cache: 10,
            unpacked: 0,
            discarded: 5,
        };
        let share = share_of(whole, 80);
        assert_eq!((share.origin, share.peers, share.cache), (70, 10, 0));
        assert_eq!(share.discarded, 15);
        let share = share_of(whole, 95);
        assert_eq!((share.origin, share.peers, share.cache), (70, 20, 5));
        assert_eq!(share.discarded, 5);
        let packed = Accounting {
            origin: 1_000,
            unpacked: 900,
            ..Accounting::default()
        };
        for wanted in [40, 400] {
            let share = share_of(packed, wanted);
            assert_eq!((share.total(), share.received()), (wanted, 100));
        }
    }
}
