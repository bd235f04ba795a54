//! What this node has to tell in one swarm, and what of it each member knows.

use std::ops::Range;

use potluck_content::{Bitfield, EntityKey, Layout, PieceIndex};

use super::doubts::{Doubt, MAX_DOUBTS};
use super::leading::Leader;
use super::news::{News, NewsCursor, NewsKind, ServeLimits};
use crate::piece_runs;

/// Bytes of the origin that came since it was last told, from which on it is news: often
/// enough to show that it gets on, not more often.
const TELL_EVERY: u64 = 64 << 10;

/// One side of a swarm: this node's. It outlives the transfer for as long as the pieces
/// can still be given.
#[derive(Debug)]
pub struct Teller {
    entity: EntityKey,
    layout: Layout,
    limits: Option<ServeLimits>,
    /// Pieces that can be given, in the order of their coming. No piece twice.
    log: Vec<u32>,
    offered: Bitfield,
    fetching: Vec<Range<u32>>,
    fetched: u64,
    version: u64,
    doubts: Vec<Doubt>,
    leader: Option<Leader>,
    /// Goes up when the leader changes.
    leaders: u64,
    /// Goes up when something that was told is true no longer.
    epoch: u32,
}

impl Teller {
    /// Has nothing yet.
    #[must_use]
    pub fn new(entity: EntityKey, layout: Layout, limits: Option<ServeLimits>) -> Self {
        Self {
            entity,
            layout,
            limits,
            log: Vec::new(),
            offered: Bitfield::empty(layout.pieces()),
            fetching: Vec::new(),
            fetched: 0,
            version: 0,
            doubts: Vec::new(),
            leader: None,
            leaders: 0,
            epoch: 1,
        }
    }

    /// Counts from here on, which must be more than where this node counted in the same
    /// swarm before: then nobody takes what it had at that time for what it has now.
    #[must_use]
    pub fn counting_from(mut self, epoch: u32) -> Self {
        self.epoch = epoch.max(1);
        self
    }

    /// A piece can be given from now on.
    pub fn offer(&mut self, index: PieceIndex) {
        if self.layout.contains(index) && self.offered.set(index) {
            self.log.push(index.0);
        }
    }

    /// These can be given no longer; everybody is told everything anew.
    pub fn withdraw(&mut self, pieces: &[PieceIndex]) {
        let before = self.log.len();
        for index in pieces {
            self.offered.clear(*index);
        }
        let offered = &self.offered;
        self.log.retain(|index| offered.has(PieceIndex(*index)));
        if self.log.len() < before {
            self.epoch += 1;
        }
    }

    /// What this node fetches from the origin now, and the bytes that it had from there.
    pub fn set_fetching(&mut self, runs: Vec<Range<u32>>, fetched: u64) {
        if self.fetching != runs {
            self.fetching = runs;
            self.version += 1;
        }
        self.fetched = fetched;
    }

    /// This was signed, and the origin has something else.
    pub fn doubt(&mut self, doubt: Doubt) {
        if self.doubts.len() < MAX_DOUBTS && !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
            self.version += 1;
        }
    }

    /// Of which swarm.
    #[must_use]
    pub const fn entity(&self) -> EntityKey {
        self.entity
    }

    /// Bytes of the whole.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.layout.size()
    }

    /// Bytes that the origin gave.
    #[must_use]
    pub const fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Who leads the swarm, as far as this node knows.
    pub fn set_leader(&mut self, leader: Option<&Leader>) {
        if self.leader.as_ref() != leader {
            self.leader = leader.cloned();
            self.leaders += 1;
        }
    }

    /// The pieces that can be given.
    #[must_use]
    pub const fn offered(&self) -> &Bitfield {
        &self.offered
    }

    /// Whether a peer that was told so far has something to hear.
    #[must_use]
    pub fn has_news(&self, cursor: &NewsCursor) -> bool {
        cursor.epoch != self.epoch
            || cursor.told < self.log.len()
            || cursor.version != self.version
            || cursor.leader != self.leaders
            || self.fetched >= cursor.fetched + TELL_EVERY
    }

    /// What a peer that was told so far is to hear: everything the first time. The
    /// cursor moves on; keep the old one until the news has arrived.
    #[must_use]
    pub fn news(&self, cursor: &mut NewsCursor) -> Option<News> {
        if !self.has_news(cursor) {
            return None;
        }
        let anew = cursor.epoch != self.epoch;
        let from = if anew { 0 } else { cursor.told };
        let kind = match (anew, cursor.epoch) {
            (false, _) => NewsKind::Change,
            (true, 0) => NewsKind::Join,
            (true, _) => NewsKind::State,
        };
        let news = News {
            got: piece_runs::of(self.log[from..].iter().copied()),
            leader: (self.leader.as_ref())
                .filter(|_| anew || cursor.leader != self.leaders)
                .cloned(),
            ..self.state(kind)
        };
        *cursor = self.cursor();
        Some(news)
    }

    /// Everything, for a peer that asked, and the cursor of a peer that heard it.
    #[must_use]
    pub fn everything(&self) -> (News, NewsCursor) {
        (self.state(NewsKind::State), self.cursor())
    }

    fn state(&self, kind: NewsKind) -> News {
        News {
            entity: self.entity,
            size: self.layout.size(),
            kind,
            epoch: self.epoch,
            got: piece_runs::of(self.log.iter().copied()),
            fetching: self.fetching.clone(),
            fetched: self.fetched,
            limits: self.limits.filter(|_| kind != NewsKind::Change),
            leader: self.leader.clone(),
            doubts: self.doubts.clone(),
        }
    }

    fn cursor(&self) -> NewsCursor {
        NewsCursor {
            epoch: self.epoch,
            told: self.log.len(),
            version: self.version,
            fetched: self.fetched,
            leader: self.leaders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teller() -> Teller {
        let layout = Layout::for_size(10 << 18).unwrap();
        Teller::new(EntityKey::from_bytes([7; 32]), layout, None)
    }

    #[test]
    fn each_peer_hears_what_it_does_not_know() {
        let mut teller = teller();
        let (mut early, mut late) = (NewsCursor::default(), NewsCursor::default());
        assert_eq!(teller.news(&mut early).unwrap().kind, NewsKind::Join);
        assert_eq!(teller.news(&mut early), None);
        for index in [3, 1, 2, 3] {
            teller.offer(PieceIndex(index));
        }
        teller.set_fetching(piece_runs::of([5, 6]), 0);
        let change = teller.news(&mut early).unwrap();
        assert_eq!(
            (change.kind, change.got),
            (NewsKind::Change, piece_runs::of([1, 2, 3]))
        );
        assert_eq!(change.fetching, piece_runs::of([5, 6]));
        teller.offer(PieceIndex(9));
        assert_eq!(teller.news(&mut early).unwrap().got, piece_runs::of([9]));
        let all = teller.news(&mut late).unwrap();
        assert_eq!((all.kind, all.got), (NewsKind::Join, vec![1..4, 9..10]));
    }

    #[test]
    fn what_is_withdrawn_is_told_to_all() {
        let mut teller = teller();
        (0..4).for_each(|index| teller.offer(PieceIndex(index)));
        let mut cursor = NewsCursor::default();
        let _ = teller.news(&mut cursor);
        teller.withdraw(&[PieceIndex(9)]);
        assert_eq!(teller.news(&mut cursor), None, "it was never offered");
        teller.withdraw(&[PieceIndex(1)]);
        let anew = teller.news(&mut cursor).unwrap();
        assert_eq!((anew.kind, anew.got), (NewsKind::State, vec![0..1, 2..4]));
        assert!(!teller.offered().has(PieceIndex(1)));
    }

    #[test]
    fn bytes_of_the_origin_are_told_now_and_then() {
        let mut teller = teller();
        let mut cursor = NewsCursor::default();
        let _ = teller.news(&mut cursor);
        teller.set_fetching(Vec::new(), TELL_EVERY - 1);
        assert!(!teller.has_news(&cursor));
        teller.set_fetching(Vec::new(), TELL_EVERY);
        assert_eq!(teller.news(&mut cursor).unwrap().fetched, TELL_EVERY);
    }
}
