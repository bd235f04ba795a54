//! What a file's plan is told of its requests.

use potluck_content::PieceIndex;
use potluck_plan::{OriginFailure, OriginUse, Outcome, PeerFault, PieceUse, RequestId, Source};

use crate::engine::file_run::FileRun;
use crate::engine::piece_store::{Event, StoredPiece};
use crate::engine::request::TransferError;
use crate::origin::OriginError;
use crate::peer_client::PeerError;
use crate::rates::now;

impl FileRun {
    pub(super) fn on_event(
        &mut self,
        request: RequestId,
        event: Event,
    ) -> Result<(), TransferError> {
        let source = request.source();
        match event {
            Event::Progress(bytes) => self.plan.handle_progress(request, bytes, now()),
            Event::HeldBack => self.plan.handle_held_back(request, now()),
            Event::Stored(stored) => {
                let index = stored.index;
                if self.is_out_of_date(&stored) {
                    if self.plan.wants(index) {
                        self.store.partial.discard_pieces(&[index])?;
                    }
                } else if self.plan.handle_piece(request, index, now()) == PieceUse::Keep {
                    let bytes = self.store.layout.len_of(index) as u64;
                    if self.accounting.total() == 0 {
                        tracing::debug!(%index, ?source, "the first piece is verified and held");
                    }
                    self.accounting.add(source, bytes);
                    self.unsaved += bytes;
                    if self.stands(source, index, stored.value)? {
                        self.vouch(source, *stored)?;
                    }
                } else if self.plan.wants(index) {
                    // Of a peer that was dropped while it was written: it must not stand
                    // in the way of the right one.
                    self.store.partial.discard_pieces(&[index])?;
                }
            }
            // Whoever gave it did what it was asked; the end of the request frees the piece.
            Event::Disputed(index) => {
                tracing::debug!(%index, "a member signed something else than the manifest says");
            }
            Event::Contradicted(signed) => self.suspect_both(*signed),
            // The manifest went that it was compared with.
            Event::Wrong { by: Some(by), .. } if self.content != Some(by) => {}
            Event::Wrong { index, .. } => match source {
                // The same, and its giver is not asked any more.
                Source::Peer(_)
                    if self.beside.is_stale() && !self.running.contains_key(&request) => {}
                Source::Peer(key) => self
                    .plan
                    .handle_fault(key, PeerFault::BadPiece(index), now()),
                Source::Origin => self.origin_differs(index)?,
            },
            Event::DiskFailed(error) => return Err(error.into()),
            Event::PeerEnded(result) => self.peer_ended(request, source, result),
            Event::OriginEnded(result) => self.origin_ended(request, result)?,
        }
        Ok(())
    }

    /// Whether the word that a stored piece was taken on is worth nothing any more, or it
    /// was dropped before the plan heard of it.
    fn is_out_of_date(&self, stored: &StoredPiece) -> bool {
        let by_word = self.store.manifest().is_none();
        let worthless = stored.statement.as_ref().is_some_and(|signed| {
            by_word && (self.together.is_none() || self.is_banned(&signed.signer.id))
        });
        worthless
            || self.plan.wants(stored.index) && !self.store.partial.bitfield().has(stored.index)
    }

    /// A piece is kept: others may have it, with what vouches for it.
    fn vouch(&mut self, source: Source, stored: StoredPiece) -> Result<(), TransferError> {
        if source == Source::Origin
            && let Some(doubted) = self.doubted.remove(&stored.index)
            && doubted.statement.value != stored.value
        {
            self.contradicted.push((doubted, stored.value));
        }
        let members = self.plan.members();
        let proven = self.store.manifest().is_some();
        let may_give = self.may_give(&stored);
        if let Some(together) = &mut self.together {
            if let (Some(signed), false) = (&stored.statement, proven) {
                if together.is_doubted(&signed.statement) {
                    together.audits.suspect(signed.clone(), false);
                } else {
                    together.audits.consider(signed, members);
                }
            }
            if may_give {
                together.offer(source, stored);
            }
        }
        Ok(())
    }

    /// The origin is right: whoever said otherwise is not.
    fn origin_differs(&mut self, index: PieceIndex) -> Result<(), TransferError> {
        if self.beside.vouches_for().is_some() {
            return self.drop_beside();
        }
        if self.store.manifest().is_some() {
            tracing::warn!(%index, "the origin's bytes are not those that peers vouch for");
            return self.distrust_peers();
        }
        if self.store.partial.bitfield().has(index) && !self.plan.wants(index) {
            // Of a member, or held from before, and not the same.
            self.suspect_of(index);
            self.forget_pieces(&[index])?;
        }
        // Otherwise somebody's bytes were on the disk who is believed no more.
        self.plan.handle_origin_piece_lost();
        Ok(())
    }

    fn peer_ended(&mut self, request: RequestId, source: Source, result: Result<(), PeerError>) {
        self.running.remove(&request);
        let outcome = match result {
            Ok(()) => Outcome::Complete,
            Err(PeerError::NotHeld) => Outcome::NotHeld,
            Err(PeerError::Unwanted) => Outcome::Unwanted,
            Err(PeerError::Refused { retry_after }) => Outcome::Refused { retry_after },
            Err(PeerError::Unreachable(_) | PeerError::Broken(_)) => Outcome::Failed,
            Err(error @ (PeerError::NotTrusted(_) | PeerError::Protocol(_))) => {
                if let Source::Peer(key) = source {
                    let fault = match error {
                        PeerError::NotTrusted(why) => PeerFault::NotTrusted(why),
                        other => PeerFault::Protocol(other.to_string()),
                    };
                    self.plan.handle_fault(key, fault, now());
                }
                return;
            }
        };
        self.plan.handle_request_ended(request, outcome, now());
    }

    fn origin_ended(
        &mut self,
        request: RequestId,
        result: Result<(), OriginError>,
    ) -> Result<(), TransferError> {
        self.running.remove(&request);
        let Err(error) = result else {
            self.plan
                .handle_request_ended(request, Outcome::Complete, now());
            return Ok(());
        };
        tracing::debug!(%error, "the origin failed");
        let no_parts = matches!(error, OriginError::RangeIgnored { .. });
        // Only the file's task can fetch the whole and cut parts from it.
        let is_other = matches!(
            error,
            OriginError::Changed { .. } | OriginError::Encoded { .. }
        );
        if is_other || (no_parts && self.packing.is_some()) {
            return Err(error.into());
        }
        let failure = if no_parts {
            self.origin_use = OriginUse::Stream;
            self.parts_refused = true;
            OriginFailure::NoRanges
        } else if error.is_transient() {
            OriginFailure::Transient {
                retry_after: error.retry_after(),
            }
        } else {
            OriginFailure::Final
        };
        self.origin_error = Some(error);
        self.plan.handle_origin_failed(request, failure, now());
        Ok(())
    }
}
