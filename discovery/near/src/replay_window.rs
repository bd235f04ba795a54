//! Which datagrams of a sender were seen already.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

use crate::beacon::Beacon;

/// How far a sender's clock may be from ours. What is older is ignored, so a recorded
/// datagram is worth nothing after it.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);

/// How many senders are remembered.
const MAX_SENDERS: usize = 8192;

/// After this time a sender's datagrams are stale by their own clock.
const FORGET_AFTER: Duration = Duration::from_secs(150);

/// Lets each datagram pass once.
#[derive(Default)]
pub struct ReplayGuard {
    senders: BTreeMap<PeerId, Window>,
}

struct Window {
    generation: u64,
    highest: u64,
    /// Bit `n` stands for the number `highest - n`.
    seen: u64,
    heard: Instant,
}

/// Why an authentic datagram is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Its time is too far from ours.
    #[error("too old, or a clock is wrong")]
    Stale,
    /// It was seen before, or is of an earlier run of the sender.
    #[error("seen before")]
    Replayed,
}

impl ReplayGuard {
    /// Judges a datagram. `wall` is our clock, in milliseconds since 1970.
    pub fn check(&mut self, beacon: &Beacon, wall: u64, now: Instant) -> Result<(), ReplayError> {
        let difference = Duration::from_millis(beacon.time.abs_diff(wall));
        if difference > MAX_CLOCK_DIFFERENCE || beacon.generation > beacon.time {
            // What was recorded earlier says nothing of the sender's clock.
            let window = self.senders.get(&beacon.sender);
            return Err(match window.is_some_and(|window| window.is_past(beacon)) {
                true => ReplayError::Replayed,
                false => ReplayError::Stale,
            });
        }
        if !self.senders.contains_key(&beacon.sender) {
            self.make_room(now);
        }
        let window = self.senders.entry(beacon.sender).or_insert(Window {
            generation: beacon.generation,
            highest: 0,
            seen: 0,
            heard: now,
        });
        // A clock that was set back makes a lower generation; once the old one is
        // stale it counts no more.
        let forgotten = now.saturating_duration_since(window.heard) >= FORGET_AFTER;
        if beacon.generation > window.generation || forgotten {
            (window.generation, window.highest, window.seen) = (beacon.generation, 0, 0);
        }
        if beacon.generation < window.generation || !window.accept(beacon.sequence) {
            return Err(ReplayError::Replayed);
        }
        window.heard = now;
        Ok(())
    }

    fn make_room(&mut self, now: Instant) {
        if self.senders.len() < MAX_SENDERS {
            return;
        }
        self.senders
            .retain(|_, window| now.saturating_duration_since(window.heard) < FORGET_AFTER);
        while self.senders.len() >= MAX_SENDERS {
            let oldest = self.senders.iter().min_by_key(|(_, window)| window.heard);
            let Some(oldest) = oldest.map(|(peer, _)| *peer) else {
                return;
            };
            self.senders.remove(&oldest);
        }
    }
}

impl Window {
    /// Whether something later of the sender was seen.
    fn is_past(&self, beacon: &Beacon) -> bool {
        (beacon.generation, beacon.sequence) <= (self.generation, self.highest)
    }

    /// Notes a number; says whether it is new.
    fn accept(&mut self, sequence: u64) -> bool {
        if let Some(ahead) = sequence.checked_sub(self.highest).filter(|&n| n > 0) {
            self.seen = match u32::try_from(ahead) {
                Ok(shift) if shift < u64::BITS => self.seen << shift,
                _ => 0,
            };
            self.seen |= 1;
            self.highest = sequence;
            return true;
        }
        let behind = self.highest - sequence;
        if behind >= u64::BITS.into() || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::beacon::BeaconMessage;
    use crate::beacon::tests::{beacon, peer};

    const WALL: u64 = 1_800_000_000_000;

    fn hello(generation: u64, sequence: u64) -> Beacon {
        Beacon {
            generation,
            sequence,
            time: WALL,
            ..beacon(peer(1), BeaconMessage::Hello)
        }
    }

    #[test]
    fn each_datagram_passes_once() {
        let (mut guard, now) = (ReplayGuard::default(), Instant::now());
        for sequence in [1, 3, 2, 200, 140] {
            assert_eq!(guard.check(&hello(5, sequence), WALL, now), Ok(()));
            let again = guard.check(&hello(5, sequence), WALL, now);
            assert_eq!(again, Err(ReplayError::Replayed), "number {sequence}");
        }
        let too_late = guard.check(&hello(5, 100), WALL, now);
        assert_eq!(too_late, Err(ReplayError::Replayed));
    }

    #[test]
    fn a_restarted_node_begins_anew_and_its_former_self_is_over() {
        let (mut guard, now) = (ReplayGuard::default(), Instant::now());
        guard.check(&hello(5, 9), WALL, now).unwrap();
        guard.check(&hello(6, 1), WALL, now).unwrap();
        let former = guard.check(&hello(5, 10), WALL, now);
        assert_eq!(former, Err(ReplayError::Replayed));
        let clock_set_back = guard.check(&hello(4, 1), WALL, now + FORGET_AFTER);
        assert_eq!(clock_set_back, Ok(()));
    }

    #[test]
    fn old_and_impossible_times_are_ignored() {
        let (mut guard, now) = (ReplayGuard::default(), Instant::now());
        for wall in [WALL - 60_001, WALL + 60_001] {
            assert_eq!(
                guard.check(&hello(5, 1), wall, now),
                Err(ReplayError::Stale)
            );
        }
        let from_the_future = guard.check(&hello(WALL + 1, 1), WALL, now);
        assert_eq!(from_the_future, Err(ReplayError::Stale));
        assert_eq!(guard.check(&hello(5, 1), WALL + 60_000, now), Ok(()));
        let recorded = guard.check(&hello(5, 1), WALL + 90_000, now);
        assert_eq!(recorded, Err(ReplayError::Replayed));
    }

    #[test]
    fn many_senders_do_not_fill_the_memory() {
        let (mut guard, now) = (ReplayGuard::default(), Instant::now());
        for n in 0..MAX_SENDERS as u64 + 50 {
            let mut sent = hello(5, 1);
            sent.sender = peer(n);
            guard.check(&sent, WALL, now).unwrap();
        }
        assert_eq!(guard.senders.len(), MAX_SENDERS);
    }

    proptest! {
        #[test]
        fn no_number_passes_twice(numbers in proptest::collection::vec(1_u64..200, 1..300)) {
            let (mut guard, now) = (ReplayGuard::default(), Instant::now());
            let mut passed = std::collections::BTreeSet::new();
            for number in numbers {
                if guard.check(&hello(5, number), WALL, now).is_ok() {
                    prop_assert!(passed.insert(number));
                }
            }
        }
    }
}
