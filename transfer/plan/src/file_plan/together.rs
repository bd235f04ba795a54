//! Fetching a file together with the other members of its swarm.

use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::{Bitfield, EntityKey, PieceIndex};

use super::peer::Peer;
use super::{FilePlan, OriginUse};
use crate::swarm::{Claim, Lookout, Swarm, mix};
use crate::{Holding, Leader, MemberId, News, NewsKind, PeerFault, PeerKey, Source, piece_runs};

/// Among so many members one request to each keeps everybody busy, and pieces come sooner
/// than with two.
const MANY: usize = 8;
/// How long nothing need come from anybody before it looks as if nobody fetched.
const STARVING: Duration = Duration::from_secs(5);
/// So much longer than pieces usually take may the next one take.
const STARVING_GAPS: u32 = 6;
/// Pieces may come by so much more slowly than twice as slowly before that seems usual.
const LONGER: Duration = Duration::from_secs(1);
/// While there was nothing to claim, claims are looked at no more often than this; the
/// same for whom to relieve.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a plan notes down for its swarm.
#[derive(Debug)]
pub(super) struct Together {
    /// Bytes that the origin gave.
    pub(super) fetched: u64,
    pub(super) fetched_at: Instant,
    pub(super) got_at: Instant,
    /// Since when this node was not held up.
    pub(super) awake_since: Instant,
    /// The usual time between two pieces, from wherever.
    gap: Duration,
    /// When the swarm was joined.
    pub(super) joined_at: Instant,
    /// When claims are to be looked at again.
    pub(super) not_before: Instant,
    /// When pieces that were left to others are to be looked at again.
    pub(super) turn_at: Instant,
    /// When requests in flight are to be looked at again.
    relieve_at: Instant,
    /// When this node may relieve others again, after it did so in vain.
    pub(super) relieves_from: Instant,
    /// Whether it is time to see who is slow.
    pub(super) look_around: bool,
    /// Pieces asked of the origin that were claimed by somebody who was late or slow.
    pub(super) taken_over: u64,
    pub(super) salt: Option<u64>,
}

impl Together {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            fetched: 0,
            fetched_at: now,
            got_at: now,
            awake_since: now,
            gap: Duration::ZERO,
            joined_at: now,
            not_before: now,
            relieve_at: now,
            relieves_from: now,
            turn_at: now,
            look_around: false,
            taken_over: 0,
            salt: None,
        }
    }

    pub(super) fn fetched(&mut self, bytes: u64, now: Instant) {
        self.fetched += bytes;
        self.fetched_at = now;
    }

    pub(super) fn got(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.got_at);
        // One that was waited for in vain is not usual, or each would be waited for longer.
        let gap = gap.min(self.gap * 2 + LONGER);
        self.gap = (self.gap * 7 + gap) / 8;
        self.got_at = now;
    }
}

impl FilePlan {
    /// From now on the file is fetched together with who else fetches it: pieces that no
    /// peer holds are asked of the origin only by who has the claim. To be called before
    /// the discovery window closes.
    pub fn join_swarm(&mut self, me: MemberId, entity: EntityKey, now: Instant) {
        self.together.joined_at = now;
        self.together.salt = Some(me.rank(&entity, u32::MAX));
        self.swarm = Some(Swarm::new(me, entity, self.layout, now));
        self.schedule(now);
    }

    /// A peer tells what it has and does. The first news of a peer, and a
    /// [`NewsKind::State`], tell everything; a change of what was never told is ignored.
    pub fn handle_news(&mut self, key: PeerKey, id: MemberId, news: &News, now: Instant) {
        let Some(swarm) = &mut self.swarm else {
            return;
        };
        if !swarm.concerns(news) {
            let fault = PeerFault::Protocol("news of something else".to_owned());
            self.handle_fault(key, fault, now);
            return;
        }
        let streams = self.config.origin == OriginUse::Stream;
        let epoch = swarm.epoch_of(key);
        // Who takes part anew counts anew, perhaps with a clock that was set back.
        if news.kind != NewsKind::Join && epoch.is_some_and(|epoch| news.epoch < epoch) {
            return;
        }
        let known = epoch == Some(news.epoch);
        let may_join = !self.dropped.contains(&key)
            && (self.peers.contains_key(&key) || self.peers.len() < self.config.max_peers);
        match news.kind {
            NewsKind::Leave => return self.handle_peer_left(key, now),
            NewsKind::Change if known => {
                swarm.handle_news(key, id, news, streams, now);
                let got: Vec<_> = news.got.iter().cloned().flatten().map(PieceIndex).collect();
                self.set_limits(key, news.limits);
                self.add_peer_pieces(key, &got);
            }
            NewsKind::Join | NewsKind::State if may_join => {
                swarm.handle_news(key, id, news, streams, now);
                // What came in the meantime by another way is not lost.
                let mut holding = match self.peers.get(&key).map(|peer| &peer.holding) {
                    Some(Holding::Pieces(pieces)) if known => pieces.clone(),
                    _ => Bitfield::empty(self.layout.pieces()),
                };
                for index in news.got.iter().cloned().flatten() {
                    holding.set(PieceIndex(index));
                }
                self.set_holding(key, Holding::Pieces(holding), now);
                self.set_limits(key, news.limits);
            }
            _ => return,
        }
        let whole = self
            .peers
            .get(&key)
            .is_some_and(|peer| match &peer.holding {
                Holding::Whole => true,
                Holding::Pieces(pieces) => pieces.is_full(),
            });
        if let Some(swarm) = &mut self.swarm {
            swarm.set_whole(key, whole, now);
        }
        self.together.not_before = now;
        self.leave_to_others(now);
        self.schedule(now);
    }

    /// What this node fetches from the origin now, as its swarm is told. Sorted runs.
    #[must_use]
    pub fn fetching(&self) -> Vec<Range<u32>> {
        let runs = self
            .requests
            .iter()
            .filter(|(id, _)| id.source() == Source::Origin);
        let pieces = runs.flat_map(|(_, request)| request.next..request.run.end);
        piece_runs::of(pieces.filter(|index| !self.pieces.is_held(*index)))
    }

    /// Bytes that the origin gave in the life of this plan, kept or not.
    #[must_use]
    pub const fn fetched(&self) -> u64 {
        self.together.fetched
    }

    /// Pieces that this node asked of the origin because the member that claimed them was
    /// late or slow.
    #[must_use]
    pub const fn taken_over(&self) -> u64 {
        self.together.taken_over
    }

    /// Who leads the swarm, as its other members are told
    /// ([`Teller::set_leader`](crate::Teller::set_leader)).
    #[must_use]
    pub fn leader(&self) -> Option<&Leader> {
        self.swarm.as_ref()?.leader()
    }

    /// How many others of the swarm want the file.
    #[must_use]
    pub fn members(&self) -> usize {
        self.swarm.as_ref().map_or(0, Swarm::others)
    }

    pub(super) fn is_member(&self, key: PeerKey) -> bool {
        self.swarm
            .as_ref()
            .is_some_and(|swarm| swarm.is_member(key))
    }

    /// A member does not have these pieces after all.
    pub(super) fn lose_holding(&mut self, key: PeerKey, run: Range<u32>) {
        if let Some(peer) = self.peers.get_mut(&key)
            && let Holding::Pieces(pieces) = &mut peer.holding
        {
            for index in run
                .map(PieceIndex)
                .filter(|index| pieces.has(*index))
                .collect::<Vec<_>>()
            {
                pieces.clear(index);
                self.pieces.remove_holder_of(index.0);
            }
        }
    }

    /// Requests to one peer at once.
    pub(super) fn slots_of(&self, peer: &Peer) -> u32 {
        let slots = peer.slots(&self.config);
        if self.members() > MANY {
            slots.min(1)
        } else {
            slots
        }
    }

    /// Which of equally rare pieces comes first: in a swarm, for each member another.
    pub(super) fn order_of(&self, index: u32) -> u64 {
        self.together
            .salt
            .map_or(u64::from(index), |salt| mix(salt ^ u64::from(index)))
    }

    /// The origin's connections are shared out among the members.
    pub(super) fn origin_connections(&self) -> u32 {
        let members = u32::try_from(self.members() + 1).unwrap_or(u32::MAX);
        self.config.origin_connections.div_ceil(members)
    }

    /// Whether the one stream that the origin gives is this node's to ask for.
    pub(super) fn may_stream(&self, now: Instant) -> bool {
        let Some(swarm) = &self.swarm else {
            return true;
        };
        let mut unheld = self.pieces.iter_missing();
        let first = unheld.find(|index| self.pieces.holders(*index) == 0);
        let lookout = self.lookout(now);
        self.stream().is_some()
            || first.is_some_and(|index| swarm.claim(index, &lookout) != Claim::Theirs)
    }

    /// Whether to look for somebody to relieve. In a swarm something happens all the time,
    /// and next to nothing of it changes who is slow.
    pub(super) fn is_time_to_relieve(&mut self, now: Instant) -> bool {
        if self.swarm.is_none() {
            return true;
        }
        let due = now >= self.together.relieve_at;
        if due {
            self.together.relieve_at = now + LOOK_EVERY;
        }
        due
    }

    /// Sees to who leads.
    pub(super) fn tick_swarm(&mut self, now: Instant) {
        let lookout = self.lookout(now);
        if let Some(swarm) = &mut self.swarm {
            swarm.tick(&lookout);
        }
    }

    /// Whether somebody else may yet bring what is missing, or time makes it this node's.
    pub(super) fn waits_for_others(&self, now: Instant) -> bool {
        let Some(swarm) = &self.swarm else {
            return false;
        };
        self.pieces.missing() > 0
            && swarm.others() > 0
            && (self.origin_could_be_asked() || swarm.is_getting_on(&self.lookout(now)))
    }

    pub(super) fn lookout(&self, now: Instant) -> Lookout {
        let waiting = self
            .requests
            .iter()
            .filter(|(id, _)| id.source() == Source::Origin);
        let asked = waiting.map(|(_, request)| request.asked_at).min();
        let origin_silence = asked.map_or(Duration::ZERO, |asked| {
            now.saturating_duration_since(asked.max(self.together.fetched_at))
        });
        let usual = STARVING.max(self.together.gap * STARVING_GAPS) + origin_silence;
        let quiet = now.saturating_duration_since(self.together.got_at);
        Lookout {
            now,
            origin_silence,
            origin_rate: self.origin.performance.rate(self.config.grace, now),
            awake_since: self.together.awake_since,
            starved_for: quiet.saturating_sub(usual),
        }
    }

    /// Whether the origin may be asked, now or later.
    const fn origin_could_be_asked(&self) -> bool {
        !matches!(self.config.origin, OriginUse::Never) && !self.origin.failed
    }
}
