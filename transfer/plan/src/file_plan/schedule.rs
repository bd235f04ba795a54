//! Choosing what is asked of whom.

use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::PieceIndex;

use super::{Action, FilePlan, OriginUse, Peer, Request, StuckReason};
use crate::{PeerKey, Rate, RequestId, Source};

impl FilePlan {
    /// Gives everybody who may be asked something to do. Peers choose first, then the
    /// origin takes what is its part; who finds nothing missing relieves the slow.
    pub(super) fn schedule(&mut self, now: Instant) {
        if self.finished {
            return;
        }
        self.expire(now);
        self.ask_peers(now);
        self.ask_origin(now);
        self.relieve(now);
        self.settle(now);
        if self.is_stuck(now) {
            if !self.stuck {
                self.stuck = true;
                let reason = if self.config.origin == OriginUse::Never {
                    StuckReason::OriginNotAllowed
                } else {
                    StuckReason::OriginFailed
                };
                self.actions.push_back(Action::Stuck { reason });
            }
        } else {
            self.stuck = false;
        }
    }

    /// The peers in the order in which they choose: those that just failed last, and
    /// partial holders before whole ones, which can do the rest.
    pub(super) fn peers_in_order(&self) -> Vec<PeerKey> {
        let mut order: Vec<_> = self
            .peers
            .iter()
            .map(|(key, peer)| (peer.is_demoted(), peer.is_whole(), *key))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(.., key)| key).collect()
    }

    pub(super) fn has_free_slot(&self, key: PeerKey) -> bool {
        self.peers
            .get(&key)
            .is_some_and(|peer| peer.in_flight < self.slots_of(peer))
    }

    /// Whether peers together deliver less than they should. While one of them was
    /// asked too recently to tell, they get the benefit of the doubt, unless its promise
    /// counts.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        let mut sum = 0u64;
        for peer in self.peers.values().filter(|peer| peer.in_flight > 0) {
            match self.rate_of_peer(peer, now) {
                None => return false,
                Some(rate) => sum = sum.saturating_add(rate.bits().unwrap_or(u64::MAX)),
            }
        }
        sum == 0 || Rate::Bits(sum) < self.config.min_peer_rate
    }

    /// How many pieces to ask of a peer at once.
    pub(super) fn run_len(&self, key: PeerKey, now: Instant) -> u32 {
        let config = &self.config;
        let Some(peer) = self.peers.get(&key) else {
            return 0;
        };
        let by_rate = match self.rate_of_peer(peer, now) {
            _ if peer.is_demoted() => config.min_run,
            Some(rate) => rate.bytes_in(config.run_time),
            None => config.first_run,
        };
        let slots: u32 = self.peers.values().map(|peer| peer.slots(config)).sum();
        let missing = u64::from(self.pieces.missing()) * self.layout.piece_len();
        let share = missing / u64::from(slots.max(1));
        // Long ones of those who serve little would take all the time there is.
        let shortest = if peer.is_capped() { 0 } else { config.min_run };
        self.in_pieces(
            by_rate
                .min(share)
                .clamp(shortest, config.max_run.max(shortest)),
        )
    }

    /// Sends a request for pieces that become its own.
    pub(super) fn send(
        &mut self,
        source: Source,
        run: Range<u32>,
        owned: u32,
        duplicate: bool,
        now: Instant,
    ) -> RequestId {
        let request = self.next_id(source);
        match source {
            Source::Peer(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.in_flight += 1;
                    peer.performance.set_busy(true, self.config.grace, now);
                }
                let run = run.clone();
                self.actions.push_back(Action::Ask { request, peer, run });
            }
            Source::Origin => {
                self.origin.in_flight += 1;
                self.origin
                    .performance
                    .set_busy(true, self.config.grace, now);
                let run = run.clone();
                self.actions.push_back(Action::AskOrigin { request, run });
            }
        }
        self.requests
            .insert(request, Request::new(run, owned, duplicate, now));
        self.next_request += 1;
        request
    }

    /// The id that the next request will have.
    pub(super) const fn next_id(&self, source: Source) -> RequestId {
        RequestId {
            number: self.next_request,
            source,
        }
    }

    pub(super) fn in_pieces(&self, bytes: u64) -> u32 {
        u32::try_from(bytes / self.layout.piece_len())
            .unwrap_or(u32::MAX)
            .max(1)
    }

    /// Whether a piece may be asked for now.
    pub(super) fn is_candidate(&self, index: u32) -> bool {
        let last = self.pieces.len().saturating_sub(1);
        self.pieces.is_missing(index)
            && (!self.config.prove_size || index == last || self.pieces.is_held(last))
    }

    fn expire(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.patience.expire(now);
        }
        self.origin.patience.expire(now);
        let delay = if self.config.priority.is_background() {
            self.config.origin_delay
        } else {
            Duration::ZERO
        };
        self.delay_over = now.saturating_duration_since(self.started) >= delay;
    }

    fn ask_peers(&mut self, now: Instant) {
        self.look_again(now);
        let mut order = self.peers_in_order();
        // In rounds, so that a content of few pieces is spread over all who hold it.
        while !order.is_empty() && self.pieces.missing() > 0 {
            order.retain(|key| self.ask_peer(*key, now));
        }
    }

    /// Gives a peer something to do. Says whether there was something.
    fn ask_peer(&mut self, key: PeerKey, now: Instant) -> bool {
        let reopened = Some(self.pieces.reopened());
        let barren = |peer: &Peer| peer.barren == reopened;
        if !self.has_free_slot(key) || self.peers.get(&key).is_none_or(barren) {
            return false;
        }
        if self.is_left_to_the_origin(key, now) {
            return false;
        }
        let Some(run) = self.choose_for_peer(key, now) else {
            // While the last piece has to come first, more becomes possible by itself.
            if let Some(peer) = self.peers.get_mut(&key)
                && !self.config.prove_size
            {
                peer.barren = reopened;
            }
            return false;
        };
        self.ask_missing(Source::Peer(key), run, now);
        true
    }

    /// The run that a peer does best: of the pieces it holds those that fewest hold, so
    /// that nobody ends up waiting for the one who holds them all.
    fn choose_for_peer(&self, key: PeerKey, now: Instant) -> Option<Range<u32>> {
        let holding = &self.peers.get(&key)?.holding;
        let lets = self.lets_others_begin(now);
        let can = |index: &u32| {
            self.is_candidate(*index)
                && holding.has(PieceIndex(*index))
                && !(lets && self.is_turn_of_others(*index))
        };
        let start = self
            .pieces
            .iter_missing()
            .filter(can)
            .min_by_key(|index| (self.pieces.holders(*index), self.order_of(*index)))?;
        let longest = self.run_len(key, now);
        let end = (start..self.pieces.len().min(start + longest))
            .find(|index| !can(index))
            .unwrap_or_else(|| self.pieces.len().min(start + longest));
        Some(start..end)
    }

    pub(super) fn ask_missing(&mut self, source: Source, run: Range<u32>, now: Instant) {
        let request = self.next_id(source);
        for index in run.clone() {
            self.pieces.ask(index, request);
        }
        let owned = run.end - run.start;
        self.send(source, run, owned, false, now);
    }

    /// Notes who has nothing to do now, and when to look again at those who have.
    fn settle(&mut self, now: Instant) {
        let grace = self.config.grace;
        for peer in self.peers.values_mut() {
            let busy = peer.in_flight > 0;
            peer.performance.set_busy(busy, grace, now);
        }
        let busy = self.origin.in_flight > 0;
        self.origin.performance.set_busy(busy, grace, now);
        // In a swarm, what was left alone for a moment is to be looked at again.
        let looks_again = self.swarm.is_some() && self.pieces.missing() > 0;
        if self.requests.is_empty() && !looks_again {
            self.judge_at = None;
        } else if self.judge_at.is_none() {
            self.judge_at = Some(now + super::JUDGE_EVERY);
        }
    }

    /// Whether nothing will ever happen unless something is reported.
    fn is_stuck(&self, now: Instant) -> bool {
        let origin_is_out = self.config.origin == OriginUse::Never || self.origin.failed;
        let peer_can = |index: u32| self.is_candidate(index) && self.pieces.holders(index) > 0;
        self.requests.is_empty()
            && !self.waits_for_others(now)
            && !self.window_open
            && origin_is_out
            && !self.pieces.iter_missing().any(peer_can)
    }
}
