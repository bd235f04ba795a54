//! What the origin gives.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::peer::{Peer, Request};
use super::pieces::PieceState;
use super::{FilePlan, OriginUse};
use crate::swarm::Swarm;
use crate::{PeerKey, Rate, RequestId, Source};

/// What peers bring within this time is left to them, be they slow.
const WORTH_HELP: Duration = Duration::from_secs(5);

impl FilePlan {
    /// Whether the origin can be asked now at all.
    pub(super) fn origin_is_usable(&self) -> bool {
        self.config.origin != OriginUse::Never
            && !self.origin.failed
            && self.origin.patience.not_before.is_none()
            && !self.window_open
    }

    pub(super) fn origin_slots(&self) -> u32 {
        match self.config.origin {
            OriginUse::Never => 0,
            OriginUse::Ranges => self.origin_connections(),
            OriginUse::Stream => 1,
        }
    }

    /// Whether the origin may give what peers could give too.
    pub(super) fn origin_may_help(&self, now: Instant) -> bool {
        self.origin_is_usable()
            && (self.peers.is_empty()
                || self.delay_over
                    && (!self.comes_from_others(now) || self.promise_little(now))
                    && self.is_slow(now)
                    && self.origin_is_the_faster(now))
    }

    /// How fast a peer is, as measured or else as promised, where promises count.
    pub(super) fn rate_of_peer(&self, peer: &Peer, now: Instant) -> Option<Rate> {
        let measured = peer.performance.rate(self.config.grace, now);
        measured.or_else(|| peer.promised().filter(|_| self.promises_count(now)))
    }

    /// Whether how little a peer said that it serves is held against it before that shows:
    /// where others want the file as well, or it is known what the origin gives. Who finds
    /// the file with a peer at first takes it from there.
    fn promises_count(&self, now: Instant) -> bool {
        let own = &self.origin.performance;
        self.members() > 0 || own.rate(self.config.grace, now).is_some()
    }

    /// Whether all peers said how little they serve, and that is not enough.
    fn promise_little(&self, now: Instant) -> bool {
        let promised = self.peers.values().map(|peer| peer.promised()?.bits());
        let sum = promised.sum::<Option<u64>>();
        let little = |sum| Rate::Bits(sum) < self.config.min_peer_rate;
        sum.is_some_and(little) && self.promises_count(now)
    }

    /// Whether the origin brings everything before this peer, which said how little it
    /// serves, would bring one piece.
    pub(super) fn is_left_to_the_origin(&self, key: PeerKey, now: Instant) -> bool {
        let Some(peer) = self.peers.get(&key).filter(|peer| peer.is_capped()) else {
            return false;
        };
        if !self.promises_count(now) || !self.origin_may_help(now) {
            return false;
        }
        let Some(rate) = self.rate_of_peer(peer, now) else {
            return false;
        };
        let piece = self.layout.piece_len();
        let rest = u64::from(self.pieces.len() - self.pieces.held()) * piece;
        let own = self.origin.performance.rate(self.config.grace, now);
        // Unless it is known to be slow.
        let own = own.unwrap_or(self.config.min_peer_rate);
        own.time_for(rest) < rate.time_for(piece)
    }

    /// Whether the origin would give faster than the peers do. In a swarm, that peers give
    /// little mostly means that the origin does: then asking it for the same helps nobody.
    pub(super) fn origin_is_the_faster(&self, now: Instant) -> bool {
        if self.swarm.is_none() {
            return true;
        }
        let peers: u64 = self
            .peers
            .values()
            .filter(|peer| peer.in_flight > 0)
            .filter_map(|peer| self.rate_of_peer(peer, now)?.bits())
            .fold(0, u64::saturating_add);
        let own = self.origin.performance.rate(self.config.grace, now);
        let is_faster = |rate: Rate| rate.bits().is_none_or(|rate| rate / 2 > peers);
        if peers == 0 || own.is_some_and(is_faster) {
            return true;
        }
        // What others have of it counts when it would take long to have from them what
        // they hold.
        let rest = u64::from(self.pieces.within_reach()) * self.layout.piece_len();
        let Some(swarm) = self.swarm.as_ref() else {
            return false;
        };
        let theirs = swarm.origin_rate(now);
        Rate::Bits(peers).time_for(rest) > WORTH_HELP
            && theirs.map_or(swarm.leaves_the_origin_alone(), is_faster)
    }

    pub(super) fn ask_origin(&mut self, now: Instant) {
        if !self.origin_is_usable() || self.pieces.missing() == 0 {
            return;
        }
        let help = self.origin_may_help(now);
        if self.config.origin == OriginUse::Stream {
            self.ask_stream(help, now);
            return;
        }
        if self.swarm.is_some() {
            self.ask_origin_together(help, now);
            return;
        }
        while self.origin.in_flight < self.origin_slots()
            && let Some(run) = self.choose_for_origin(help)
        {
            self.ask_missing(Source::Origin, run, now);
        }
    }

    /// What no peer holds, and when the origin may help the rest too.
    fn choose_for_origin(&self, help: bool) -> Option<Range<u32>> {
        let can =
            |index: &u32| self.is_candidate(*index) && (help || self.pieces.holders(*index) == 0);
        let mut eligible = 0u32;
        let mut best: Option<u32> = None;
        for index in self.pieces.iter_missing().filter(can) {
            eligible += 1;
            if best.is_none_or(|best| self.pieces.holders(index) < self.pieces.holders(best)) {
                best = Some(index);
            }
        }
        let start = best?;
        // Next to peers the origin takes smaller bites, so that they keep their part.
        let free = self.origin_slots() - self.origin.in_flight;
        let parts = if self.peers.is_empty() {
            free
        } else {
            2 * free
        };
        let share = u64::from(eligible) * self.layout.piece_len() / u64::from(parts.max(1));
        let shortest = self.config.min_origin_range;
        let longest = self.config.max_origin_range.max(shortest);
        let longest = self.in_pieces(share.clamp(shortest, longest));
        let end = (start..self.pieces.len().min(start + longest))
            .find(|index| !can(index))
            .unwrap_or_else(|| self.pieces.len().min(start + longest));
        Some(start..end)
    }

    /// One stream at a time, and whatever it is still to pass may come from it.
    pub(super) fn ask_stream(&mut self, help: bool, now: Instant) {
        // That others bring nothing yet mostly means that the one stream is about to
        // bring it: a second one would be a second copy. When there is none, whoever cannot
        // wait, or knows that the others will be slow to pass it on, takes one for itself.
        let is_alone = |swarm: &Swarm| swarm.others() == 0 || swarm.leaves_the_origin_alone();
        let alone = self.swarm.as_ref().is_none_or(is_alone);
        let help = help && (alone || self.promise_little(now));
        let (stream, position) = match self.stream() {
            Some((stream, request)) => (stream, request.untouched().start),
            None => (self.next_id(Source::Origin), 0),
        };
        if !help && !self.may_stream(now) {
            return;
        }
        let mut owned = 0;
        for index in position..self.pieces.len() {
            if !help && self.pieces.holders(index) > 0 {
                continue;
            }
            match self.pieces.state(index) {
                Some(PieceState::Missing) => self.pieces.ask(index, stream),
                Some(PieceState::Asked { by, also: None }) if help && by != stream => {
                    self.pieces.ask_also(index, stream);
                }
                _ => continue,
            }
            owned += 1;
        }
        if let Some(request) = self.requests.get_mut(&stream) {
            request.owned += owned;
        } else if owned > 0 {
            let stream = self.send(Source::Origin, 0..self.pieces.len(), owned, false, now);
            if !alone && help {
                self.set_taken_over(stream);
            }
        }
    }

    /// The stream in flight.
    pub(super) fn stream(&self) -> Option<(RequestId, &Request)> {
        self.requests
            .iter()
            .find(|(id, _)| id.source == Source::Origin)
            .map(|(id, request)| (*id, request))
    }
}
