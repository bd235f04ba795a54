//! What this node asks of the origin as one of a swarm.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::together::LOOK_EVERY;
use super::{FilePlan, OriginUse};
use crate::swarm::Claim;
use crate::{PeerKey, Rate, RequestId, Source};

/// Who gave up what it had taken over from another leaves others alone for so long.
const AFTER_YIELDING: Duration = Duration::from_secs(2);
/// How long a range of the origin is meant to take. Short, because a range that is on its
/// way cannot be shared out any more.
const RANGE_TIME: Duration = Duration::from_secs(1);
/// The longest range, in bytes, while others may join.
const LONGEST_RANGE: u64 = 16 << 20;
/// Whoever sees so many members may not see all, and asks nothing of the origin before it
/// had the time to hear who leads.
const TOO_MANY_TO_SEE: usize = 24;
const TIME_TO_HEAR: Duration = Duration::from_millis(150);

impl FilePlan {
    /// Asks the origin for what is this node's to fetch.
    pub(super) fn ask_origin_together(&mut self, help: bool, now: Instant) {
        let many = self.members() >= TOO_MANY_TO_SEE;
        if now < self.together.not_before || many && now < self.together.joined_at + TIME_TO_HEAR {
            return;
        }
        let starved = self.lookout(now).starved_for > Duration::ZERO;
        while self.origin.in_flight < self.origin_slots() {
            let Some((run, claim, relieves)) = self.choose_together(help, now) else {
                self.together.not_before = now + LOOK_EVERY;
                return;
            };
            let request = self.next_id(Source::Origin);
            let pieces = u64::from(run.end - run.start);
            self.ask_missing(Source::Origin, run, now);
            if matches!(claim, Claim::Late | Claim::Slow) {
                self.together.taken_over += pieces;
            }
            if let Some(request) = self.requests.get_mut(&request) {
                request.taken_over = starved || matches!(claim, Claim::Late | Claim::Theirs);
                request.relieves = relieves;
            }
        }
    }

    /// What to ask for, by which claim, and whom that relieves.
    fn choose_together(
        &mut self,
        help: bool,
        now: Instant,
    ) -> Option<(Range<u32>, Claim, Option<PeerKey>)> {
        let lookout = self.lookout(now);
        let look_around = std::mem::take(&mut self.together.look_around);
        let swarm = self.swarm.as_ref()?;
        // What somebody holds comes from there, unless the origin is to help.
        let claim = |index: u32| match self.pieces.holders(index) {
            _ if !self.is_candidate(index) => None,
            0 => Some(swarm.claim(index, &lookout)).filter(|claim| *claim != Claim::Theirs),
            _ => help.then_some(Claim::Theirs),
        };
        let claimed = self
            .pieces
            .iter_missing()
            .filter_map(|index| Some((claim(index)?, index)));
        if let Some((best, start)) = claimed.min() {
            let longest = self.longest_together(start, now);
            let end = (start..self.pieces.len().min(start + longest))
                .find(|index| claim(*index) != Some(best))
                .unwrap_or_else(|| self.pieces.len().min(start + longest));
            return Some((start..end, best, None));
        }
        if !look_around || now < self.together.relieves_from {
            return None;
        }
        let is_open = |index| self.is_candidate(index) && self.pieces.holders(index) == 0;
        swarm
            .relief(&lookout, is_open)
            .map(|(run, whose)| (run, Claim::Slow, Some(whose)))
    }

    /// How many pieces to ask of the origin at once: one unit, or what it gives in a short
    /// time.
    fn longest_together(&self, start: u32, now: Instant) -> u32 {
        let unit = self.swarm.as_ref().map_or(1, |swarm| {
            let unit = swarm.unit_of(start);
            unit.end - start
        });
        let rate = self.origin.performance.rate(self.config.grace, now);
        let rate = rate.and_then(Rate::bits).unwrap_or(0) / u64::from(self.origin_slots().max(1));
        let by_rate = Rate::Bits(rate).bytes_in(RANGE_TIME).min(LONGEST_RANGE);
        self.in_pieces(by_rate).max(unit)
    }

    /// Gives up what was asked of the origin when another member, which ranks before this
    /// node, asked for the same, and nothing of it has come here yet.
    pub(super) fn leave_to_others(&mut self, now: Instant) {
        let Some(swarm) = &self.swarm else {
            return;
        };
        let lookout = self.lookout(now);
        let ranges = self.config.origin == OriginUse::Ranges;
        // A second stream brings everything twice, so one is given up also when it has begun
        // to come: that which is further goes on, of equal ones that of the higher rank.
        // As the others tell: where each stream has something new, whatever it passes before.
        let position = self.fetching().first().map(|run| run.start);
        let streams_elsewhere =
            !ranges && position.is_some_and(|position| swarm.has_better_stream(position, &lookout));
        let covered: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(id, request)| {
                id.source() == Source::Origin
                    && !request.taken_over
                    && (streams_elsewhere
                        || ranges
                            && !request.started
                            && swarm.is_covered(&request.run, request.relieves, &lookout)
                        || ranges
                            && request.next == request.run.start
                            && swarm.is_elsewhere(&request.run))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in covered {
            self.cancel(id);
            self.together.relieves_from = now + AFTER_YIELDING;
        }
    }
}
