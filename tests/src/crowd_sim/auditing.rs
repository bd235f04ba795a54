//! Comparing pieces with the origin, and what becomes of who signed wrong ones.

use std::collections::{BTreeSet, VecDeque};

use potluck_content::{ChainingValue, PieceIndex};
use potluck_plan::{AuditDice, Doubt, Doubts};

use super::event::{Event, Place};
use super::flow::{Flow, Purpose};
use super::member_host::{Piece, peer_key};
use super::network::Crowd;

/// The audits of one host: one at a time.
#[derive(Debug, Default)]
pub(super) struct Audits {
    /// Nothing with a host that looks at nothing.
    dice: Option<AuditDice>,
    doubts: Doubts,
    due: VecDeque<(PieceIndex, Piece)>,
    running: Option<Looking>,
    /// Whose word counts no more.
    pub(super) exposed: BTreeSet<Place>,
    pub(super) counts: AuditCounts,
}

/// What is counted of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AuditCounts {
    /// Pieces that were compared.
    pub(super) pieces: u64,
    /// How many of these were not the origin's.
    pub(super) forged: u64,
}

/// The origin is asked for a piece.
#[derive(Debug, Clone, Copy)]
struct Looking {
    index: PieceIndex,
    piece: Piece,
    /// It had something else, and is asked once more.
    again: bool,
}

impl Audits {
    pub(super) fn new(share: f64, seed: u64) -> Self {
        Self {
            dice: Some(AuditDice::new(share, seed)),
            ..Self::default()
        }
    }

    /// Whether nothing is left to be compared.
    pub(super) fn are_done(&self) -> bool {
        self.due.is_empty() && self.running.is_none()
    }
}

impl Crowd {
    /// An honest host gets ready to audit.
    pub(super) fn open_audits(&mut self, place: Place) {
        if self.hosts[place].settings.manner.is_hostile() {
            return;
        }
        let share = if self.settings.digest {
            0.0
        } else {
            self.settings.audit_share
        };
        self.hosts[place].audits = Audits::new(share, self.seed_of(place));
    }

    /// For what a host alone knows. Another in each of its lives.
    fn seed_of(&self, place: Place) -> u64 {
        let life = self.hosts[place].life;
        let mut random = fastrand::Rng::with_seed(self.settings.seed);
        for _ in 0..2 {
            random =
                fastrand::Rng::with_seed(random.u64(..) ^ place as u64 ^ u64::from(life) << 32);
        }
        random.u64(..)
    }

    /// A member gave a piece that is kept; perhaps it is audited.
    pub(super) fn consider(&mut self, place: Place, index: PieceIndex, piece: Piece) {
        let members = self.with_plan(place, |plan| plan.members()).unwrap_or(0);
        let audits = &mut self.hosts[place].audits;
        if audits.doubts.take(&doubt_of(index, piece)) {
            self.suspect(place, index, piece);
        } else if audits.dice.is_some_and(|dice| dice.picks(index, members)) {
            audits.due.push_back((index, piece));
            self.look_at_next(place);
        }
    }

    /// There is reason to doubt a piece: it is audited whatever the dice say.
    pub(super) fn suspect(&mut self, place: Place, index: PieceIndex, piece: Piece) {
        let audits = &mut self.hosts[place].audits;
        if audits.dice.is_some() && piece.signer != place && !audits.due.contains(&(index, piece)) {
            audits.due.push_front((index, piece));
            self.look_at_next(place);
        }
    }

    /// A member doubts what lies here, perhaps.
    pub(super) fn look_at_doubts(&mut self, place: Place, of: Place, doubts: &[Doubt]) {
        let host = &mut self.hosts[place];
        for doubt in host.audits.doubts.hear(peer_key(of), doubts) {
            let host = &mut self.hosts[place];
            let held = host.disk[doubt.piece.0 as usize];
            if let Some(held) = held.filter(|held| doubt_of(doubt.piece, *held) == doubt)
                && host.audits.doubts.take(&doubt)
            {
                self.suspect(place, doubt.piece, held);
            }
        }
    }

    fn look_at_next(&mut self, place: Place) {
        let audits = &mut self.hosts[place].audits;
        if audits.running.is_none()
            && let Some((index, piece)) = audits.due.pop_front()
        {
            self.look(
                place,
                Looking {
                    index,
                    piece,
                    again: false,
                },
            );
        }
    }

    fn look(&mut self, place: Place, looking: Looking) {
        let host = &mut self.hosts[place];
        host.audits.running = Some(looking);
        let run = looking.index.0..looking.index.0 + 1;
        let taker = (place, host.life);
        let flow = Flow::new(None, taker, Purpose::Audit, run, &self.layout);
        let id = self.flows.add(flow);
        let wait = self.latency();
        self.events.put_in(wait, Event::Asked(id));
    }

    /// The origin gave the piece that was to be compared.
    pub(super) fn compare(&mut self, place: Place) {
        let audits = &mut self.hosts[place].audits;
        let Some(looking) = audits.running.take() else {
            return;
        };
        if !looking.piece.right && !looking.again {
            // Perhaps it was the origin that was wrong.
            let again = true;
            return self.look(place, Looking { again, ..looking });
        }
        audits.counts.pieces += 1;
        if !looking.piece.right {
            audits.counts.forged += 1;
            let doubt = doubt_of(looking.index, looking.piece);
            let gossip = &mut self.hosts[place].gossip;
            gossip.tell(&self.entity, |teller| teller.doubt(doubt));
            self.expose(place, looking.piece.signer);
        }
        self.look_at_next(place);
        if self.with_plan(place, |plan| plan.is_finished()) == Some(true) {
            self.finish(place);
        }
        self.settle(place);
    }

    /// A host found somebody out: that one's word counts no more, and what only it vouched
    /// for is fetched again.
    fn expose(&mut self, place: Place, signer: Place) {
        let now = self.events.instant();
        let host = &mut self.hosts[place];
        host.audits.exposed.insert(signer);
        let mut worthless = Vec::new();
        for (index, piece) in (0..).map(PieceIndex).zip(&mut host.disk) {
            if piece.take_if(|piece| piece.signer == signer).is_some() {
                worthless.push(index);
            }
        }
        self.withdraw(place, &worthless);
        self.with_plan(place, |plan| {
            plan.handle_peer_left(peer_key(signer), now);
            plan.forget(&worthless, now);
        });
        self.miss(place, signer);
    }

    /// Offers these no more.
    pub(super) fn withdraw(&mut self, place: Place, pieces: &[PieceIndex]) {
        let gossip = &mut self.hosts[place].gossip;
        gossip.tell(&self.entity, |teller| teller.withdraw(pieces));
    }

    /// The origin gave a piece that is held of somebody else and is not the same.
    pub(super) fn origin_differs(&mut self, place: Place, index: PieceIndex, held: Piece) {
        let now = self.events.instant();
        self.suspect(place, index, held);
        self.hosts[place].disk[index.0 as usize] = None;
        self.withdraw(place, &[index]);
        self.with_plan(place, |plan| {
            plan.forget(&[index], now);
            plan.handle_origin_piece_lost();
        });
    }
}

/// Of what is signed here it matters whether it is right, and who signed it if not.
pub(super) fn doubt_of(piece: PieceIndex, signed: Piece) -> Doubt {
    let liar = if signed.right {
        0
    } else {
        signed.signer as u64 + 1
    };
    let mut value = [0; 32];
    value[..8].copy_from_slice(&liar.to_le_bytes());
    let value = ChainingValue::from_bytes(value);
    Doubt { piece, value }
}
