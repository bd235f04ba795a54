//! What a host makes of a piece that came.

use std::ops::Range;

use potluck_content::PieceIndex;
use potluck_plan::{Outcome, PeerFault, PieceUse, RequestId};

use super::event::Place;
use super::member_host::{Piece, peer_key};
use super::network::Crowd;
use super::settings::Manner;

impl Crowd {
    /// A piece is complete. Says whether more may come of that giver.
    pub(super) fn take_piece(
        &mut self,
        taker: Place,
        giver: Option<Place>,
        request: RequestId,
        index: u32,
    ) -> bool {
        let now = self.events.instant();
        let index = PieceIndex(index);
        let key = peer_key(giver.unwrap_or(taker));
        let Some(piece) = self.piece_of(giver, taker, index) else {
            if giver.is_some_and(|giver| self.forges_bytes(giver)) {
                let fault = PeerFault::BadPiece(index);
                self.with_plan(taker, |plan| plan.handle_fault(key, fault, now));
            } else {
                self.break_off(taker, request);
            }
            return false;
        };
        if self.hosts[taker].audits.exposed.contains(&piece.signer) {
            return true;
        }
        let verdict = self.with_plan(taker, |plan| plan.handle_piece(request, index, now));
        match verdict {
            Some(PieceUse::Keep) => {
                let host = &mut self.hosts[taker];
                host.disk[index.0 as usize] = Some(piece);
                host.gossip.tell(&self.entity, |teller| teller.offer(index));
                if giver.is_some() {
                    self.consider(taker, index, piece);
                }
            }
            Some(PieceUse::Discard) => {
                self.hosts[taker].counts.discarded += 1;
                self.compare_with_held(taker, giver, index, piece);
            }
            None => {}
        }
        true
    }

    /// A piece as its giver has it. The statement travels with the piece: changed bytes do
    /// not match it.
    fn piece_of(&self, giver: Option<Place>, taker: Place, index: PieceIndex) -> Option<Piece> {
        match giver {
            None => Some(Piece {
                right: !self.hosts[taker].settings.manner.forges(index.0),
                signer: taker,
            }),
            Some(giver) if self.forges_bytes(giver) => None,
            Some(giver) => self.hosts[giver].disk[index.0 as usize],
        }
    }

    fn forges_bytes(&self, giver: Place) -> bool {
        self.hosts[giver].settings.manner == Manner::ServesWrong
    }

    /// Whether who asks believes those who signed what a host would give it.
    pub(super) fn believes(&self, taker: Place, giver: Place, mut run: Range<u32>) -> bool {
        let exposed = &self.hosts[taker].audits.exposed;
        let disk = &self.hosts[giver].disk;
        exposed.is_empty()
            || run.all(|index| disk[index as usize].is_some_and(|it| !exposed.contains(&it.signer)))
    }

    /// The giver does not have the rest any more.
    fn break_off(&mut self, taker: Place, request: RequestId) {
        let now = self.events.instant();
        self.cancel(taker, request);
        self.with_plan(taker, |plan| {
            plan.handle_request_ended(request, Outcome::Failed, now);
        });
    }

    /// A piece came that is held already. Where the two are not the same, somebody lied.
    fn compare_with_held(
        &mut self,
        taker: Place,
        giver: Option<Place>,
        index: PieceIndex,
        came: Piece,
    ) {
        let Some(held) = self.hosts[taker].disk[index.0 as usize] else {
            return;
        };
        let hostile = self.hosts[taker].settings.manner.is_hostile();
        if hostile || held.right == came.right {
            return;
        }
        if giver.is_some() {
            self.suspect(taker, index, came);
            self.suspect(taker, index, held);
        } else {
            self.origin_differs(taker, index, held);
        }
    }
}
