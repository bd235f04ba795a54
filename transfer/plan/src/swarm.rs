//! Fetching one entity together: who of a swarm asks the origin for what.

mod audit;
mod claims;
mod codec;
mod counts;
mod doubts;
mod gossip;
mod leading;
mod member;
mod news;
mod teller;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::{EntityKey, Layout};

use crate::{PeerKey, Rate, piece_runs};
use claims::Claims;
use leading::Leading;
use member::Member;

pub use audit::AuditDice;
pub(crate) use claims::{Claim, Lookout};
pub use codec::{BadNews, MAX_NEWS, decode_news, encode_news};
pub use counts::SwarmCounts;
pub use doubts::{Doubt, Doubts, MAX_DOUBTS};
pub use gossip::{Gossip, Heard};
pub use leading::Leader;
pub use member::MemberId;
pub(crate) use member::mix;
pub use news::{News, NewsCursor, NewsKind, ServeLimits};
pub use teller::Teller;

/// A member to which the origin gave the bytes of so many pieces and that tells of none is
/// waited for no longer. More than are on their way at once over all its connections.
const MOST_OWED: u64 = 8;

/// The other members of a swarm as one plan knows them, and what follows for whom the
/// origin gives which piece.
///
/// Each unit of pieces has one claim: of the members that want it, it is that of the
/// highest rank. Who holds a claim is known to all without a word. The next in rank takes
/// over when a claim is late: when its holder does not get on with the origin.
#[derive(Debug)]
pub(crate) struct Swarm {
    me: MemberId,
    entity: EntityKey,
    members: BTreeMap<PeerKey, Member>,
    claims: Claims,
    leading: Leading,
    layout: Layout,
}

impl Swarm {
    pub(crate) fn new(me: MemberId, entity: EntityKey, layout: Layout, now: Instant) -> Self {
        Self {
            me,
            entity,
            members: BTreeMap::new(),
            claims: Claims::new(&layout, now),
            leading: Leading::new(me, entity, now),
            layout,
        }
    }

    /// Whether this is news of this swarm at all.
    pub(crate) fn concerns(&self, news: &News) -> bool {
        let pieces = self.layout.pieces();
        news.entity == self.entity
            && news.size == self.layout.size()
            && piece_runs::are_proper(&news.got, pieces)
            && piece_runs::are_proper(&news.fetching, pieces)
    }

    /// A member said what it does. Says whether it is a new one.
    pub(crate) fn handle_news(
        &mut self,
        key: PeerKey,
        id: MemberId,
        news: &News,
        streams: bool,
        now: Instant,
    ) -> bool {
        // A stream passes what is held by all before it brings something new.
        let passed = if streams { self.layout.size() } else { 0 };
        let most_owed = MOST_OWED * self.layout.piece_len() + passed;
        let is_new = !self.members.contains_key(&key);
        let member = self
            .members
            .entry(key)
            .or_insert_with(|| Member::new(id, now));
        member.report(news, most_owed, now);
        member.epoch = news.epoch;
        let leader = news.leader.as_ref();
        let led = leader.is_some_and(|leader| self.leading.hear(id, leader, now));
        if is_new || led {
            self.rank(now);
        }
        is_new
    }

    /// A member has everything now, or not any more: then it wants some of it.
    pub(crate) fn set_whole(&mut self, key: PeerKey, whole: bool, now: Instant) {
        if let Some(member) = self.members.get_mut(&key)
            && member.whole != whole
        {
            member.whole = whole;
            self.rank(now);
        }
    }

    /// A member is gone: what it claimed is claimed by others.
    pub(crate) fn remove(&mut self, key: PeerKey, now: Instant) {
        if let Some(member) = self.members.remove(&key) {
            if self.leading.leader().is_some_and(|it| it.id == member.id) {
                self.leading.lose(now);
            }
            self.rank(now);
        }
    }

    /// Who is to be heard of first was heard: this node may lead now.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.leading.begin(now) {
            self.rank(now);
        }
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, lookout: &Lookout) {
        let now = lookout.now;
        // Whoever leads and has others starve is followed no longer.
        let fails = lookout.starved_for > Duration::ZERO && self.leading.is_led();
        if fails {
            self.leading.distrust(now);
        }
        if self.leading.tick(now) || fails {
            self.rank(now);
        }
        // Who has nothing to fetch now may be the next.
        let fit = |member: &&Member| {
            let idle = member.fetching.is_empty() && !member.keeps_it;
            !member.whole && (idle || now < claims::gives_up_at(member, lookout))
        };
        let ids = self.members.values().filter(fit).map(|member| member.id);
        let fetchers = claims::fetchers(&self.entity, ids.chain([self.me]));
        self.leading.set_fetchers(fetchers);
    }

    /// Who leads, as far as is known.
    pub(crate) const fn leader(&self) -> Option<&Leader> {
        self.leading.leader()
    }

    /// Members that want some of it, this node not counted.
    pub(crate) fn others(&self) -> usize {
        self.members.values().filter(|member| !member.whole).count()
    }

    /// Of which count the last news of a member was.
    pub(crate) fn epoch_of(&self, key: PeerKey) -> Option<u32> {
        self.members.get(&key).map(|member| member.epoch)
    }

    pub(crate) fn is_member(&self, key: PeerKey) -> bool {
        self.members.contains_key(&key)
    }

    /// The pieces of one unit are claimed together, so that the origin sees longer ranges.
    pub(crate) fn unit_of(&self, index: u32) -> Range<u32> {
        self.claims.unit_of(index)
    }

    /// Whether this node may ask the origin for a piece that nobody holds.
    pub(crate) fn claim(&self, index: u32, lookout: &Lookout) -> Claim {
        self.claims.claim(&self.members, index, lookout)
    }

    /// A unit of whoever would take too long with what it claims: its last one. Only for
    /// who has nothing else to do. `is_open` says which pieces nobody holds and this node
    /// did not ask for. With it who is relieved.
    pub(crate) fn relief(
        &self,
        lookout: &Lookout,
        is_open: impl Fn(u32) -> bool,
    ) -> Option<(Range<u32>, PeerKey)> {
        self.claims
            .relief(&self.members, &self.layout, lookout, is_open)
    }

    /// Whether some member may yet bring something: it got on with the origin lately.
    pub(crate) fn is_getting_on(&self, lookout: &Lookout) -> bool {
        let mut wanting = self.members.values().filter(|member| !member.whole);
        wanting.any(|member| lookout.now < claims::gives_up_at(member, lookout))
    }

    /// How fast the origin gives to the member that it gives to fastest.
    pub(crate) fn origin_rate(&self, now: Instant) -> Option<Rate> {
        let fetching = self.members.values().filter(|it| !it.fetching.is_empty());
        fetching.filter_map(|member| member.origin_rate(now)).max()
    }

    /// Whether no other member fetches anything from the origin.
    pub(crate) fn leaves_the_origin_alone(&self) -> bool {
        self.members.values().all(|it| it.fetching.is_empty())
    }

    /// Whether members that this node does not hear have the claim on all of these.
    pub(crate) fn is_elsewhere(&self, run: &Range<u32>) -> bool {
        run.clone().all(|index| self.claims.is_elsewhere(index))
    }

    /// Where the origin has no ranges: whether another member's stream is to go on rather
    /// than this node's, which has come so far.
    pub(crate) fn has_better_stream(&self, position: u32, lookout: &Lookout) -> bool {
        self.claims
            .has_better_stream(&self.members, position, lookout)
    }

    /// Whether another member of higher rank, but for this one, fetches all of these pieces
    /// too, and gets on.
    pub(crate) fn is_covered(
        &self,
        run: &Range<u32>,
        but: Option<PeerKey>,
        lookout: &Lookout,
    ) -> bool {
        run.clone()
            .all(|index| self.claims.is_covered(&self.members, index, but, lookout))
    }

    fn rank(&mut self, now: Instant) {
        let leader = self.leading.leader();
        let (me, entity) = (self.me, &self.entity);
        self.claims.rank(me, entity, &self.members, leader, now);
    }
}
