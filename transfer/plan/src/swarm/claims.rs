//! Who has the claim on which pieces, and when somebody else takes over.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::{EntityKey, Layout};

use super::leading::Leader;
use super::member::{Member, MemberId};
use crate::{PeerKey, Rate};

/// Into how many units a content is cut, if pieces are small enough: several for each of
/// the members that fetch at once, so that all have about the same to do.
const UNITS: u64 = 64;
/// The longest unit, in bytes, where pieces are not longer.
const LONGEST_UNIT: u64 = 4 << 20;

/// How many members fetch from the origin while all of them get on. Few, so that each
/// piece comes soon and can be given on: of many that come at once, all come at the end.
const FETCHERS: usize = 8;

/// How long a member may take to begin with what it claims.
const PATIENCE_TO_BEGIN: Duration = Duration::from_secs(2);
/// How long a member that asked the origin may bring nothing. Longer, because an origin
/// that is slow to answer is slow for everybody.
const PATIENCE_TO_BRING: Duration = Duration::from_secs(3);
/// Those that starve take over one after the other, so long apart.
const STARVED_TURN: Duration = Duration::from_millis(500);
/// A claim that will be fetched within this time is left alone.
const SOON: Duration = Duration::from_secs(2);
/// The same for what its claimer fetches already, when nothing else is left to fetch.
const LAST_SOON: Duration = Duration::from_millis(500);

/// What this node sees from where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookout {
    pub(crate) now: Instant,
    /// How long the origin has kept this node waiting, if it does: others wait as long.
    pub(crate) origin_silence: Duration,
    /// How fast the origin gives to this node, as far as that is known.
    pub(crate) origin_rate: Option<Rate>,
    /// Since when this node has looked at things without a break: what others did before,
    /// it may not have noticed.
    pub(crate) awake_since: Instant,
    /// How long nothing has come from anybody, beyond what is usual: whatever members say
    /// that they do, they are waited for no longer.
    pub(crate) starved_for: Duration,
}

/// Whether a piece is this node's to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// It is.
    Mine,
    /// It was somebody's who is late with it.
    Late,
    /// It is somebody's who would take long to come to it.
    Slow,
    /// It is somebody else's.
    Theirs,
}

/// Who ranks before this node, for every unit.
#[derive(Debug)]
pub(super) struct Claims {
    /// Pieces in a unit.
    unit: u32,
    pieces: u32,
    /// The members of higher rank than this node, the highest first.
    before_me: Vec<Vec<PeerKey>>,
    /// Since when it is the first of these who has the claim.
    since: Vec<Instant>,
    /// Whether the claim is that of somebody whom this node does not hear: the leader sees
    /// to it.
    elsewhere: Vec<bool>,
}

impl Claims {
    pub(super) fn new(layout: &Layout, now: Instant) -> Self {
        let bytes = (layout.size() / UNITS).clamp(layout.piece_len(), LONGEST_UNIT);
        let unit = u32::try_from(bytes / layout.piece_len())
            .unwrap_or(u32::MAX)
            .max(1);
        let units = layout.pieces().div_ceil(unit) as usize;
        Self {
            unit,
            pieces: layout.pieces(),
            before_me: vec![Vec::new(); units],
            since: vec![now; units],
            elsewhere: vec![false; units],
        }
    }

    /// Members came or went.
    pub(super) fn rank(
        &mut self,
        me: MemberId,
        entity: &EntityKey,
        members: &BTreeMap<PeerKey, Member>,
        leader: Option<&Leader>,
        now: Instant,
    ) {
        let wanting = || members.iter().filter(|(_, member)| !member.whole);
        let is_near = |id: MemberId| id == me || members.values().any(|it| it.id == id);
        // Who is left alone follows nobody.
        let leader = leader.filter(|leader| leader.id != me && wanting().next().is_some());
        let told = leader.filter(|it| is_near(it.id) && !it.fetchers.is_empty());
        let fetchers = match told {
            Some(leader) => leader.fetchers.clone(),
            None => fetchers(entity, wanting().map(|(_, member)| member.id).chain([me])),
        };
        let far: Vec<MemberId> = fetchers
            .iter()
            .copied()
            .filter(|id| !is_near(*id))
            .collect();
        let is_led_from_afar = leader.is_some_and(|leader| !is_near(leader.id));
        for (unit, before) in (0u32..).zip(&mut self.before_me) {
            let first = before.first().copied();
            let rank = |id: MemberId| (fetchers.contains(&id), id.rank(entity, unit), id);
            let mine = rank(me);
            self.elsewhere[unit as usize] =
                is_led_from_afar || far.iter().any(|id| rank(*id) > mine);
            let mut higher: Vec<_> = wanting()
                .map(|(key, member)| (rank(member.id), *key))
                .filter(|(rank, _)| *rank > mine)
                .collect();
            higher.sort_unstable_by(|a, b| b.cmp(a));
            before.clear();
            before.extend(higher.into_iter().map(|(_, key)| key));
            if before.first().copied() != first {
                self.since[unit as usize] = now;
            }
        }
    }

    pub(super) fn unit_of(&self, index: u32) -> Range<u32> {
        let start = index / self.unit * self.unit;
        start..self.pieces.min(start.saturating_add(self.unit))
    }

    pub(super) fn claim(
        &self,
        members: &BTreeMap<PeerKey, Member>,
        index: u32,
        lookout: &Lookout,
    ) -> Claim {
        let before = self.before(index);
        let turns = u32::try_from(before.len()).unwrap_or(u32::MAX);
        if lookout.starved_for > STARVED_TURN.saturating_mul(turns) {
            return if before.is_empty() {
                Claim::Mine
            } else {
                Claim::Late
            };
        }
        if self.is_elsewhere(index) {
            return Claim::Theirs;
        }
        let fetched = members
            .values()
            .any(|member| member.is_fetching(index) && lookout.now < gives_up_at(member, lookout));
        if fetched {
            return Claim::Theirs;
        }
        if before.is_empty() {
            return Claim::Mine;
        }
        // Each of higher rank has its turn, one after the other.
        let mut turn = self.since[(index / self.unit) as usize];
        for member in before.iter().filter_map(|key| members.get(key)) {
            turn = turn.max(member.alive_at).max(lookout.awake_since);
            turn += patience(member, lookout);
            if lookout.now < turn {
                return Claim::Theirs;
            }
        }
        Claim::Late
    }

    pub(super) fn is_covered(
        &self,
        members: &BTreeMap<PeerKey, Member>,
        index: u32,
        but: Option<PeerKey>,
        lookout: &Lookout,
    ) -> bool {
        if self.is_elsewhere(index) {
            return true;
        }
        let before = self.before(index).iter();
        let before = before.filter(|key| Some(**key) != but);
        let mut before = before.filter_map(|key| members.get(key));
        before.any(|member| member.is_fetching(index) && lookout.now < gives_up_at(member, lookout))
    }

    /// Whether a member has a stream that is further than this node's, or as far and of a
    /// higher rank for the first piece.
    pub(super) fn has_better_stream(
        &self,
        members: &BTreeMap<PeerKey, Member>,
        position: u32,
        lookout: &Lookout,
    ) -> bool {
        members.iter().any(|(key, member)| {
            let theirs = member.fetching.first().map(|run| run.start);
            let better = theirs.is_some_and(|theirs| {
                theirs > position || theirs == position && self.before(0).contains(key)
            });
            better && lookout.now < gives_up_at(member, lookout)
        })
    }

    pub(super) fn relief(
        &self,
        members: &BTreeMap<PeerKey, Member>,
        layout: &Layout,
        lookout: &Lookout,
        is_open: impl Fn(u32) -> bool,
    ) -> Option<(Range<u32>, PeerKey)> {
        let mut backlog: BTreeMap<PeerKey, Backlog> = BTreeMap::new();
        for (unit, before) in (0u32..).zip(&self.before_me) {
            if self.elsewhere[unit as usize] {
                continue;
            }
            let span = self.unit_of(unit * self.unit);
            let mut open = span.clone().filter(|index| is_open(*index)).peekable();
            let Some(next) = open.peek().copied() else {
                continue;
            };
            let bytes: u64 = open
                .map(|index| layout.len_of(potluck_content::PieceIndex(index)) as u64)
                .sum();
            // Who fetches it may be another than who has the claim since more came.
            let mut all = members.iter();
            let fetching = all.find(|(_, member)| member.is_fetching(next));
            let Some(whose) = fetching.map(|(key, _)| key).or(before.first()) else {
                continue;
            };
            let backlog = backlog.entry(*whose).or_default();
            backlog.bytes += bytes;
            // What is on its way is left to who began it, unless nothing else is left.
            if fetching.is_some() {
                backlog.on_its_way += bytes;
            }
            // Where this node is next in rank, so that not all take the same.
            let order = before.iter().filter(|key| *key != whose).count();
            let candidate = (fetching.is_none(), Reverse(order), span.start);
            if backlog.best.as_ref().is_none_or(|best| candidate > best.0) {
                backlog.best = Some((candidate, span));
            }
        }
        let own = lookout.origin_rate.filter(|rate| *rate > Rate::ZERO);
        let own = own.map(|rate| rate.time_for(u64::from(self.unit) * layout.piece_len()));
        let own = own.unwrap_or_default();
        let soon = SOON.max(own * 3);
        // Where all take long it is the origin that is slow: asking it for more helps nobody.
        let all = backlog.values().map(|backlog| backlog.bytes).sum();
        let rates = members
            .values()
            .filter_map(|member| member.origin_rate(lookout.now));
        let together = rates
            .chain(lookout.origin_rate)
            .filter_map(Rate::bits)
            .sum();
        let soon = soon.max(Rate::Bits(together).time_for(all).saturating_mul(2));
        let slowest = backlog.into_iter().filter_map(|(key, backlog)| {
            let ((untouched, Reverse(order), _), span) = backlog.best?;
            // Who has nothing yet may wait for an origin that lets all wait: it is late when
            // it is, and not before.
            let rate = members.get(&key)?.origin_rate(lookout.now)?;
            let rate = Some(rate).filter(|rate| *rate > Rate::ZERO)?;
            // Of what is on its way a part comes twice; but nothing else is left then, and
            // all wait for it.
            let (left, soon) = if untouched {
                (rate.time_for(backlog.bytes), soon)
            } else {
                (rate.time_for(backlog.on_its_way), LAST_SOON.max(own * 3))
            };
            // Not all at once: the higher the rank, the sooner.
            let order = u32::try_from(order).unwrap_or(u32::MAX);
            (left > soon.saturating_mul(order.saturating_add(1)))
                .then_some((left, span.start, span, key))
        });
        let (.., span, whose) = slowest.max_by_key(|(left, start, ..)| (*left, *start))?;
        let start = span.clone().find(|index| is_open(*index))?;
        let end = (start..span.end)
            .find(|index| !is_open(*index))
            .unwrap_or(span.end);
        Some((start..end, whose))
    }

    pub(super) fn is_elsewhere(&self, index: u32) -> bool {
        let unit = (index / self.unit) as usize;
        self.elsewhere.get(unit).is_some_and(|elsewhere| *elsewhere)
    }

    fn before(&self, index: u32) -> &[PeerKey] {
        let unit = self.before_me.get((index / self.unit) as usize);
        unit.map_or(&[], Vec::as_slice)
    }
}

/// The members that rank before all others for every unit.
pub(super) fn fetchers(
    entity: &EntityKey,
    members: impl Iterator<Item = MemberId>,
) -> Vec<MemberId> {
    // By another rank than for any unit.
    let ranked = members.map(|id| (id.rank(entity, u32::MAX - 1), id));
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.truncate(FETCHERS);
    ranked.into_iter().map(|(_, id)| id).collect()
}

/// What a member has still to fetch of what it claims.
#[derive(Default)]
struct Backlog {
    bytes: u64,
    /// Of these, what somebody fetches now.
    on_its_way: u64,
    /// The unit that is best taken from it.
    best: Option<(Candidate, Range<u32>)>,
}

/// Whether nobody fetches a unit, how many rank between who has the claim and this node
/// there, and where it starts: the greatest is taken over first.
type Candidate = (bool, Reverse<usize>, u32);

/// When a member that does not get on is waited for no longer.
pub(super) fn gives_up_at(member: &Member, lookout: &Lookout) -> Instant {
    member.alive_at.max(lookout.awake_since) + patience(member, lookout)
}

fn patience(member: &Member, lookout: &Lookout) -> Duration {
    if member.keeps_it {
        Duration::ZERO
    } else if member.fetching.is_empty() {
        PATIENCE_TO_BEGIN
    } else {
        PATIENCE_TO_BRING.max(lookout.origin_silence * 2)
    }
}
