//! Spreading a new piece: a few ask its first holder, more ask those few.

use std::time::{Duration, Instant};

use super::FilePlan;
use crate::swarm::mix;

/// So many ask each holder of a new piece at once.
const ASKERS: u64 = 4;
/// The longest that pieces are left to others while nothing comes.
const LONGEST_TURN: Duration = Duration::from_millis(100);
/// When nothing has come for so long, peers may be slow.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Pieces that were left to others are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl FilePlan {
    /// Whether a new piece is left to some others first. Not when nothing comes: then it
    /// is better to ask twice than to wait for nothing.
    pub(super) fn lets_others_begin(&self, now: Instant) -> bool {
        self.swarm.is_some() && now.saturating_duration_since(self.together.got_at) < LONGEST_TURN
    }

    /// Whether pieces come, if not now: what is left to others for a moment is not slow.
    pub(super) fn comes_from_others(&self, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(self.together.got_at);
        self.swarm.is_some() && quiet < LONGEST_PAUSE
    }

    /// Whether few have a piece and others are to ask them first. If all asked the first
    /// who has it, all would have it when it has been sent to all of them, and none to
    /// give it on before.
    pub(super) fn is_turn_of_others(&self, index: u32) -> bool {
        let holders = u64::from(self.pieces.holders(index));
        let members = self.members() as u64;
        let Some(salt) = self.together.salt else {
            return false;
        };
        // For each piece other members come first.
        let place = (u128::from(mix(!salt ^ u64::from(index))) * u128::from(members)) >> 64;
        place >= u128::from(holders * ASKERS)
    }

    /// Pieces that were left to others may be this node's to ask for by now.
    pub(super) fn look_again(&mut self, now: Instant) {
        if self.swarm.is_some() && now >= self.together.turn_at {
            self.together.turn_at = now + LOOK_EVERY;
            self.pieces.reopen();
        }
    }
}
