//! Taking over from the slow when nothing is missing any more.

use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::PieceIndex;

use super::pieces::PieceState;
use super::{FilePlan, OriginUse, Request};
use crate::{PeerKey, Rate, RequestId, Source};

/// A request that needs no longer than this is left alone.
const WORTH_RELIEVING: Duration = Duration::from_millis(500);

/// A request is left alone so long after it was sent, whatever its giver's record. So
/// work does not go round in circles at one instant.
const LEFT_ALONE: Duration = Duration::from_millis(250);

/// How long a peer in whose queue a request waited in vain is not asked again.
const AFTER_VAIN_WAIT: Duration = Duration::from_secs(5);

/// A request that may be relieved, and the time it will still take.
type Victim = (RequestId, Duration);

impl FilePlan {
    /// Whoever has nothing to do takes pieces over: first those that nobody has begun
    /// to deliver, from the end of the slowest request; at the very end the piece that
    /// is under way is asked of a second, one at a time, and who comes last is
    /// cancelled.
    pub(super) fn relieve(&mut self, now: Instant) {
        if self.requests.is_empty() || !self.is_time_to_relieve(now) {
            return;
        }
        let mut victims = self.victims(now);
        for key in self.peers_in_order() {
            while !victims.is_empty()
                && self.has_free_slot(key)
                && self.relieve_one(Source::Peer(key), &victims, now)
            {
                victims = self.victims(now);
            }
        }
        if !self.origin_may_help(now) {
            return;
        }
        if self.config.origin == OriginUse::Stream {
            if self.stream().is_some() || Self::of_others(&victims, Source::Origin).next().is_some()
            {
                self.ask_stream(true, now);
            }
            return;
        }
        while self.origin.in_flight < self.origin_slots()
            && self.relieve_one(Source::Origin, &victims, now)
        {
            victims = self.victims(now);
        }
    }

    fn relieve_one(&mut self, thief: Source, victims: &[Victim], now: Instant) -> bool {
        self.take_over(thief, victims, now) || self.duplicate(thief, victims, now)
    }

    /// Takes untouched pieces from the request that would take longest.
    fn take_over(&mut self, thief: Source, victims: &[Victim], now: Instant) -> bool {
        let best = Self::of_others(victims, thief)
            .filter_map(|(id, left)| Some((left, id, self.part_for(thief, id, left, now)?)))
            .max_by_key(|(left, id, _)| (*left, *id));
        let Some((_, victim, run)) = best else {
            return false;
        };
        let request = self.next_id(thief);
        let owned = run.end - run.start;
        for index in run.clone() {
            self.pieces.ask(index, request);
        }
        self.send(thief, run, owned, false, now);
        self.set_taken_over(request);
        let Some(robbed) = self.requests.get_mut(&victim) else {
            return true;
        };
        robbed.owned -= owned;
        if robbed.owned == 0 {
            if let (Source::Peer(peer), false) = (victim.source, robbed.started)
                && let Some(peer) = self.peers.get_mut(&peer)
            {
                peer.patience.pause(AFTER_VAIN_WAIT, now);
            }
            self.cancel(victim);
        }
        true
    }

    /// The part of a request that makes both finish at about the same time: a run from
    /// the end of its untouched pieces.
    fn part_for(
        &self,
        thief: Source,
        victim: RequestId,
        left: Duration,
        now: Instant,
    ) -> Option<Range<u32>> {
        let request = self.requests.get(&victim)?;
        let can: Vec<u32> = self
            .pieces
            .only_of(victim, request.untouched())
            .filter(|index| self.can_give(thief, *index))
            .collect();
        let last = *can.last()?;
        let count = u64::try_from(can.len()).ok()?;
        let own = self.rate_of_helper(thief, now);
        let other = self.rate_of_request(victim, now);
        let peers_first = victim.source == Source::Origin && !self.is_slow(now);
        let share = match (own, other) {
            (Some(Rate::ZERO), _) => return None,
            _ if peers_first || other == Some(Rate::ZERO) => count,
            (Some(own), Some(other)) => {
                let (own, other) = (own.bits()?, other.bits()?);
                let part =
                    u128::from(count) * u128::from(own) / (u128::from(own) + u128::from(other));
                u64::try_from(part).ok()?
            }
            _ => count.div_ceil(2),
        };
        // One piece may be worth it although the fair part is less than one.
        let own_time = own.map(|own| own.time_for(self.layout.piece_len()));
        let share = if share == 0 && own_time.is_some_and(|time| time * 2 < left) {
            1
        } else {
            share
        };
        let longest = match thief {
            Source::Peer(key) => self.longest_relief(key, now),
            Source::Origin => self.in_pieces(self.config.max_origin_range),
        };
        let wanted = u32::try_from(share).ok()?.min(longest);
        let mut start = last + 1;
        for index in can.into_iter().rev() {
            if index + 1 != start || last + 1 - start == wanted {
                break;
            }
            start = index;
        }
        (start <= last).then_some(start..last + 1)
    }

    /// Asks a second for the piece that will come last.
    fn duplicate(&mut self, thief: Source, victims: &[Victim], now: Instant) -> bool {
        if self.requests.values().any(|request| request.duplicate) {
            return false;
        }
        let own_time = match self.rate_of_helper(thief, now) {
            Some(Rate::ZERO) => return false,
            Some(rate) => rate.time_for(self.layout.piece_len()),
            None => Duration::ZERO,
        };
        let piece = Self::of_others(victims, thief)
            .filter(|(_, left)| *left > 2 * WORTH_RELIEVING && *left > own_time)
            .filter_map(|(id, left)| {
                let request = self.requests.get(&id)?;
                let mut own = self.pieces.only_of(id, request.next..request.run.end);
                let piece = own.find(|index| self.can_give(thief, *index))?;
                Some((left, piece))
            })
            .max();
        let Some((_, piece)) = piece else {
            return false;
        };
        let request = self.next_id(thief);
        self.pieces.ask_also(piece, request);
        self.send(thief, piece..piece + 1, 1, true, now);
        self.set_taken_over(request);
        true
    }

    /// What the origin is asked for because peers are slow is not left to other members:
    /// it would come through those peers as well.
    pub(super) fn set_taken_over(&mut self, id: RequestId) {
        if let (Source::Origin, Some(request)) = (id.source, self.requests.get_mut(&id)) {
            request.taken_over = true;
        }
    }

    /// Nobody relieves itself.
    fn of_others(victims: &[Victim], thief: Source) -> impl Iterator<Item = Victim> {
        let others = victims.iter().copied();
        others.filter(move |(id, _)| id.source != thief)
    }

    /// The requests that may be relieved.
    fn victims(&self, now: Instant) -> Vec<Victim> {
        let slow = self.is_slow(now);
        let victims = self.requests.iter().filter_map(|(id, request)| {
            if now < request.asked_at + LEFT_ALONE {
                return None;
            }
            let left = self.time_left(*id, request, now);
            // Peers before the origin: what a peer can give is not left to it.
            let peers_first = id.source == Source::Origin && !slow;
            let left = left.or(peers_first.then_some(Duration::ZERO))?;
            (peers_first || left > WORTH_RELIEVING).then_some((*id, left))
        });
        victims.collect()
    }

    /// How long a request will still take; `None` when it is too early to tell.
    fn time_left(&self, id: RequestId, request: &Request, now: Instant) -> Option<Duration> {
        let rate = self.rate_of_request(id, now)?;
        let bytes = u64::from(request.owned) * self.layout.piece_len();
        Some(rate.time_for(bytes.saturating_sub(request.partial).max(1)))
    }

    fn rate_of(&self, source: Source, now: Instant) -> Option<Rate> {
        let grace = self.config.grace;
        match source {
            Source::Peer(key) => self.rate_of_peer(self.peers.get(&key)?, now),
            Source::Origin => self.origin.performance.rate(grace, now),
        }
    }

    /// What to expect of who takes over. That the origin brought nothing before counts
    /// for nothing: it is the last resort.
    fn rate_of_helper(&self, source: Source, now: Instant) -> Option<Rate> {
        self.rate_of(source, now)
            .filter(|rate| source != Source::Origin || *rate != Rate::ZERO)
    }

    /// The part that one request has of the rate of its source.
    fn rate_of_request(&self, id: RequestId, now: Instant) -> Option<Rate> {
        let request = self.requests.get(&id)?;
        if !request.started {
            let waited = now.saturating_duration_since(request.asked_at) >= self.config.grace;
            return waited.then_some(Rate::ZERO);
        }
        let alone = match id.source {
            Source::Origin => self.origin.in_flight == 1,
            Source::Peer(key) => self.peers.get(&key)?.in_flight == 1,
        };
        let started = |(other, request): &(&RequestId, &Request)| {
            other.source == id.source && request.started
        };
        let sharing = if alone {
            1
        } else {
            self.requests.iter().filter(started).count()
        };
        let rate = self.rate_of(id.source, now)?.bits()?;
        Some(Rate::Bits(rate / u64::try_from(sharing).ok()?.max(1)))
    }

    fn longest_relief(&self, key: PeerKey, now: Instant) -> u32 {
        let bytes = match self.rate_of(Source::Peer(key), now) {
            Some(rate) => rate.bytes_in(self.config.run_time),
            None => self.config.first_run,
        };
        self.in_pieces(bytes.min(self.config.max_run))
    }

    fn can_give(&self, source: Source, index: u32) -> bool {
        match source {
            Source::Origin => true,
            Source::Peer(key) => {
                matches!(self.pieces.state(index), Some(PieceState::Asked { .. }))
                    && self
                        .peers
                        .get(&key)
                        .is_some_and(|peer| peer.holding.has(PieceIndex(index)))
            }
        }
    }
}
