//! Whose clock is wrong, by what authentic datagrams say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

/// A difference that counts: what is further off is ignored as stale.
const TOLERANCE_MS: i64 = 60_000;
/// What a sender said counts for this long.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many senders are remembered.
const MAX_SENDERS: usize = 1024;
/// How many have to disagree with this node before it doubts its own clock.
const QUORUM: usize = 2;

/// What the clocks of the subnet say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockOffset {
    /// How far the others' clocks are ahead of this node's, in milliseconds: the middle
    /// one's. Travelling costs a few.
    pub milliseconds: i64,
    /// How many nodes said so.
    pub senders: usize,
}

/// A clock is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockTrouble {
    /// That of this node, which is behind by so many milliseconds (ahead, if negative).
    Ours(i64),
    /// That of another node, which is ahead by so many (behind, if negative).
    Theirs(PeerId, i64),
}

/// Compares clocks. Each trouble is told once, until it has passed.
#[derive(Default)]
pub struct ClockWatch {
    senders: BTreeMap<PeerId, (i64, Instant)>,
    ours_told: bool,
    theirs_told: BTreeSet<PeerId>,
}

impl ClockWatch {
    /// An authentic datagram says that its sender's clock shows `theirs`; ours shows
    /// `wall`, both in milliseconds since 1970.
    pub fn handle_time(
        &mut self,
        sender: PeerId,
        theirs: u64,
        wall: u64,
        now: Instant,
    ) -> Option<ClockTrouble> {
        if !self.make_room(&sender, now) {
            return None;
        }
        let offset = difference(theirs, wall);
        self.senders.insert(sender, (offset, now));
        if offset.abs() <= TOLERANCE_MS {
            self.theirs_told.remove(&sender);
        }
        let all = self.offset(now)?;
        let ours = all.milliseconds.abs() > TOLERANCE_MS && all.senders >= QUORUM;
        if ours {
            let told = std::mem::replace(&mut self.ours_told, true);
            return (!told).then_some(ClockTrouble::Ours(all.milliseconds));
        }
        self.ours_told = false;
        let theirs = offset.abs() > TOLERANCE_MS && self.theirs_told.insert(sender);
        theirs.then_some(ClockTrouble::Theirs(sender, offset))
    }

    /// What the clocks say at the moment; `None` while nobody is heard.
    pub fn offset(&self, now: Instant) -> Option<ClockOffset> {
        let fresh = self
            .senders
            .values()
            .filter(|(_, heard)| now.saturating_duration_since(*heard) < REMEMBERED);
        let mut offsets: Vec<i64> = fresh.map(|(offset, _)| *offset).collect();
        if offsets.is_empty() {
            return None;
        }
        let (senders, middle) = (offsets.len(), (offsets.len() - 1) / 2);
        // Of two the one nearer to ours: one wrong clock must not cast doubt on a right
        // one.
        offsets.sort_unstable_by_key(|offset| offset.abs());
        let nearest = offsets[0];
        let (_, middle, _) = offsets.select_nth_unstable(middle);
        let milliseconds = if senders == 2 { nearest } else { *middle };
        Some(ClockOffset {
            milliseconds,
            senders,
        })
    }

    fn make_room(&mut self, sender: &PeerId, now: Instant) -> bool {
        if self.senders.len() < MAX_SENDERS || self.senders.contains_key(sender) {
            return true;
        }
        self.senders
            .retain(|_, (_, heard)| now.saturating_duration_since(*heard) < REMEMBERED);
        let senders = &self.senders;
        self.theirs_told.retain(|peer| senders.contains_key(peer));
        self.senders.len() < MAX_SENDERS
    }
}

/// `a - b`, as far as it fits.
fn difference(a: u64, b: u64) -> i64 {
    let distance = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a < b { -distance } else { distance }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beacon::tests::peer;

    const WALL: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;

    #[test]
    fn one_that_is_off_has_a_wrong_clock_and_it_is_told_once() {
        let (mut watch, now) = (ClockWatch::default(), Instant::now());
        let said = watch.handle_time(peer(1), WALL + HOUR, WALL, now);
        assert_eq!(said, Some(ClockTrouble::Theirs(peer(1), 3_600_000)));
        assert_eq!(watch.handle_time(peer(1), WALL + HOUR, WALL, now), None);
        assert_eq!(watch.handle_time(peer(2), WALL + 5, WALL, now), None);
        assert_eq!(watch.handle_time(peer(3), WALL, WALL, now), None);
        let offset = watch.offset(now).unwrap();
        assert_eq!((offset.milliseconds, offset.senders), (5, 3));
        // It was set right, and goes wrong again.
        assert_eq!(watch.handle_time(peer(1), WALL, WALL, now), None);
        let said = watch.handle_time(peer(1), WALL - HOUR, WALL, now);
        assert_eq!(said, Some(ClockTrouble::Theirs(peer(1), -3_600_000)));
    }

    #[test]
    fn when_most_are_off_ours_is_wrong() {
        let (mut watch, now) = (ClockWatch::default(), Instant::now());
        let said = watch.handle_time(peer(1), WALL + HOUR, WALL, now);
        assert_eq!(said, Some(ClockTrouble::Theirs(peer(1), 3_600_000)));
        let said = watch.handle_time(peer(2), WALL + HOUR + 9, WALL, now);
        assert_eq!(said, Some(ClockTrouble::Ours(3_600_000)));
        assert_eq!(watch.handle_time(peer(3), WALL + HOUR, WALL, now), None);
        // Ours is set right.
        for sender in 1..4 {
            let said = watch.handle_time(peer(sender), WALL + HOUR, WALL + HOUR, now);
            assert!(!matches!(said, Some(ClockTrouble::Ours(_))), "{said:?}");
        }
        assert_eq!(watch.offset(now).unwrap().milliseconds, 0);
    }

    #[test]
    fn what_was_said_long_ago_counts_no_more() {
        let (mut watch, now) = (ClockWatch::default(), Instant::now());
        watch.handle_time(peer(1), 0, u64::MAX, now);
        assert_eq!(watch.offset(now).unwrap().milliseconds, -i64::MAX);
        assert_eq!(watch.offset(now + REMEMBERED), None);
        for sender in 0..2 * MAX_SENDERS as u64 {
            watch.handle_time(peer(sender), WALL, WALL, now);
        }
        assert_eq!(watch.senders.len(), MAX_SENDERS);
    }
}
