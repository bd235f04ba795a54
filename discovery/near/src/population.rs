//! How many nodes there are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

/// How many nodes are counted at most.
const MAX_HEARD: usize = 8192;

/// Counts the nodes that are heard, and guesses at those that are not.
#[derive(Default)]
pub(crate) struct Population {
    heard: BTreeMap<PeerId, Heard>,
    /// The middle of what the others count, and how many were heard when it was taken.
    reported: u32,
    taken_at: usize,
}

struct Heard {
    at: Instant,
    population: u32,
    /// When it asked last.
    asked: Option<Instant>,
}

impl Population {
    /// A node was heard, which itself hears so many. Says whether it is new.
    pub(crate) fn hear(&mut self, peer: PeerId, population: u32, now: Instant) -> bool {
        if let Some(heard) = self.heard.get_mut(&peer) {
            (heard.at, heard.population) = (now, population);
            return false;
        }
        if self.heard.len() < MAX_HEARD {
            let heard = Heard {
                at: now,
                population,
                asked: None,
            };
            self.heard.insert(peer, heard);
            // The middle moves little while the count does.
            if self.heard.len() > self.taken_at + self.taken_at / 8 {
                self.take_the_middle();
            }
        }
        true
    }

    /// A node asks. Says whether it did so within `interval` before: by another link,
    /// most likely.
    pub(crate) fn asks_again(&mut self, peer: &PeerId, interval: Duration, now: Instant) -> bool {
        let Some(heard) = self.heard.get_mut(peer) else {
            return false;
        };
        let last = heard.asked.replace(now);
        last.is_some_and(|last| now.saturating_duration_since(last) < interval)
    }

    /// A node goes.
    pub(crate) fn remove(&mut self, peer: &PeerId) {
        self.heard.remove(peer);
    }

    /// Nodes that were silent for so long count no more.
    pub(crate) fn forget_the_silent(&mut self, remembered: Duration, now: Instant) {
        self.heard
            .retain(|_, heard| now.saturating_duration_since(heard.at) < remembered);
        self.take_the_middle();
    }

    /// How many nodes are heard, this one included.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.heard.len() + 1).unwrap_or(u32::MAX)
    }

    /// How many nodes there probably are. A node that came late has heard few itself,
    /// so the others' count matters: the middle one, which no single node can move.
    pub(crate) fn estimate(&self) -> u32 {
        self.count().max(self.reported)
    }

    fn take_the_middle(&mut self) {
        let mut counts: Vec<u32> = self.heard.values().map(|heard| heard.population).collect();
        let middle = counts.len() / 2;
        self.reported = match counts.is_empty() {
            true => 0,
            false => *counts.select_nth_unstable(middle).1,
        };
        self.taken_at = self.heard.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beacon::tests::peer;

    #[test]
    fn one_node_cannot_move_the_guess() {
        let (mut population, now) = (Population::default(), Instant::now());
        assert_eq!(population.estimate(), 1);
        for other in 0..5 {
            assert!(population.hear(peer(other), 40, now));
        }
        assert!(population.hear(peer(5), u32::MAX, now));
        assert!(!population.hear(peer(5), 0, now));
        assert_eq!((population.count(), population.estimate()), (7, 40));
        let later = now + Duration::from_secs(100);
        population.hear(peer(1), 3, later);
        population.forget_the_silent(Duration::from_secs(50), later);
        assert_eq!((population.count(), population.estimate()), (2, 3));
    }

    #[test]
    fn a_question_that_comes_twice_is_noticed() {
        let (mut population, now) = (Population::default(), Instant::now());
        let second = Duration::from_secs(1);
        population.hear(peer(1), 1, now);
        assert!(!population.asks_again(&peer(1), second, now));
        assert!(population.asks_again(&peer(1), second, now));
        assert!(!population.asks_again(&peer(1), second, now + second));
    }

    #[test]
    fn the_count_is_bounded() {
        let (mut population, now) = (Population::default(), Instant::now());
        for other in 0..MAX_HEARD as u64 + 10 {
            population.hear(peer(other), 1, now);
        }
        assert_eq!(population.count() as usize, MAX_HEARD + 1);
    }
}
