//! What becomes of pieces, and of members, where what was signed is not so.

use std::sync::Arc;

use potluck_content::{ChainingValue, PieceIndex};
use potluck_discovery::PeerId;
use potluck_plan::{Doubt, PeerKey};

use crate::engine::audits::Audited;
use crate::engine::file_run::{FileRun, Giver};
use crate::engine::request::TransferError;
use crate::engine::together::key_of;
use crate::rates::now;
use crate::swarm::{Exposure, SignedStatement};

impl FileRun {
    /// A piece that a member gave was compared with the origin.
    pub(super) fn on_audited(&mut self, audited: &Audited) -> Result<(), TransferError> {
        self.store.count(audited.bytes);
        self.counts.audited_bytes += audited.bytes;
        self.counts.audited_pieces += u64::from(audited.is_compared());
        if let Some(truth) = audited.contradiction() {
            return self.expose(&audited.signed, truth);
        }
        if audited.disputed && audited.is_compared() {
            // So it is what lies here that is wrong, and who vouched for it.
            let statement = &audited.signed.statement;
            return match self.word_of_other(statement.index) {
                Some(held) if held.statement.value != statement.value => {
                    self.expose(&held, statement.value)
                }
                Some(_) => Ok(()),
                None if self.plan.wants(statement.index) => Ok(()),
                None => self.forget_pieces(&[statement.index]),
            };
        }
        Ok(())
    }

    /// A member gave a piece as it was signed, and what lies here is something else: the
    /// origin will say who is wrong.
    pub(super) fn suspect_both(&mut self, signed: SignedStatement) {
        let held = self.word_of_other(signed.statement.index);
        if let Some(together) = &mut self.together {
            together.audits.suspect(signed, true);
            if let Some(held) = held {
                together.audits.suspect(Arc::unwrap_or_clone(held), false);
            }
        }
    }

    /// The origin has something else than what a member vouched for, unless it changed
    /// its mind: it is asked again.
    pub(super) fn suspect_of(&mut self, index: PieceIndex) {
        if let (Some(held), Some(together)) = (self.word_of_other(index), &mut self.together) {
            together.audits.suspect(Arc::unwrap_or_clone(held), false);
        }
    }

    /// A member says that somebody signed these and that the origin has something else: what
    /// lies here of that is compared too.
    pub(super) fn look_at_doubts(&mut self, peer: PeerKey, doubts: &[Doubt]) {
        if doubts.is_empty() || self.store.manifest().is_some() {
            return;
        }
        let new = self
            .together
            .as_mut()
            .map(|it| it.doubts.hear(peer, doubts));
        for doubt in new.into_iter().flatten() {
            let Some(held) = self.word_of_other(doubt.piece) else {
                continue;
            };
            if let Some(together) = &mut self.together
                && together.is_doubted(&held.statement)
            {
                together.audits.suspect(Arc::unwrap_or_clone(held), false);
            }
        }
    }

    /// The whole is what its digest says: so who signed otherwise lied.
    pub(super) fn convict(&mut self) -> Result<(), TransferError> {
        for (signed, truth) in std::mem::take(&mut self.contradicted) {
            self.expose(&signed, truth)?;
        }
        Ok(())
    }

    /// What a member signed is not what the origin has: its word counts no more, and
    /// everything that only it vouched for is fetched again.
    fn expose(
        &mut self,
        signed: &SignedStatement,
        truth: ChainingValue,
    ) -> Result<(), TransferError> {
        let signer = signed.signer.id;
        let statement = &signed.statement;
        let said = format!(
            "signed {:?} as piece {} of entity {}, where the origin has {truth:?}",
            statement.value, statement.index, statement.entity
        );
        let Some(swarms) = &self.swarms else {
            return Ok(());
        };
        // Nobody else is safe from it before they have seen the same.
        if let Some(together) = &self.together {
            together.tell_doubt(statement);
        }
        let exposure = Exposure {
            signed: signed.clone(),
            truth,
        };
        let is_new = swarms.ban(exposure);
        if is_new {
            tracing::warn!(peer = %signer, "{said}");
            self.counts.exposed += 1;
            if let Some((neighbours, client)) = &self.domain {
                client.forget(&signer);
                neighbours.report_fault(signer, said);
            }
        }
        self.drop_banned()
    }

    /// Looks whether somebody was caught since, here or by another transfer.
    pub(super) fn look_at_bans(&mut self) -> Result<(), TransferError> {
        let bans = self.swarms.as_ref().map_or(0, |swarms| swarms.bans());
        if bans == self.bans_seen {
            return Ok(());
        }
        self.drop_banned()
    }

    pub(super) fn is_banned(&self, peer: &PeerId) -> bool {
        let swarms = self.swarms.as_ref();
        swarms.is_some_and(|swarms| swarms.is_banned(peer))
    }

    /// Does without those who were caught, and without what only they vouch for.
    fn drop_banned(&mut self) -> Result<(), TransferError> {
        self.bans_seen = self.swarms.as_ref().map_or(0, |swarms| swarms.bans());
        for place in 0..self.givers.len() {
            let Giver::Member(at) = self.givers[place] else {
                continue;
            };
            if self.is_banned(&at.id) {
                self.plan.handle_peer_left(key_of(place), now());
            }
        }
        // A manifest proves them, whoever signed.
        if self.store.manifest().is_some() {
            return Ok(());
        }
        let Some(together) = &self.together else {
            return Ok(());
        };
        let pieces = &together.pieces;
        let is_worthless = |index: &PieceIndex| {
            let signer = pieces.vouched_by(*index);
            signer.is_some_and(|signer| self.is_banned(&signer))
        };
        let worthless: Vec<_> = pieces.offered().held().filter(is_worthless).collect();
        self.forget_pieces(&worthless)
    }

    /// These are worthless: they are fetched again, and given to nobody.
    pub(super) fn forget_pieces(&mut self, pieces: &[PieceIndex]) -> Result<(), TransferError> {
        if let Some(together) = &self.together {
            together.withdraw(pieces);
        }
        self.store.partial.discard_pieces(pieces)?;
        for index in pieces {
            let bytes = self.store.layout.len_of(*index) as u64;
            match self.plan.source_of(*index) {
                Some(source) => self.accounting.discard(source, bytes),
                None => self.accounting.lose(bytes),
            }
        }
        self.plan.forget(pieces, now());
        Ok(())
    }

    /// What another member signed of a piece that is held.
    fn word_of_other(&self, index: PieceIndex) -> Option<Arc<SignedStatement>> {
        let pieces = &self.together.as_ref()?.pieces;
        pieces.vouched_by(index)?;
        pieces.statement(index)
    }
}
