//! What was used longest ago goes first, as with BITS.

use potluck_content::ContentId;

use crate::eviction::{Candidate, EvictionPolicy, Heads, Verdict};
use crate::rank::{Queue, Rank};

/// One line in the order of the last use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lru;

impl EvictionPolicy for Lru {
    fn enter(&mut self, _: &ContentId, now: u64) -> Rank {
        Rank::main(now)
    }

    fn used(&self, _: &Candidate, now: u64) -> Rank {
        Rank::main(now)
    }

    fn next(&self, heads: &Heads) -> Option<Queue> {
        // Only another policy puts anything into the small line.
        match (heads.main, heads.small) {
            (None, None) => None,
            (Some(main), Some(small)) if small < main => Some(Queue::Small),
            (Some(_), _) => Some(Queue::Main),
            (None, Some(_)) => Some(Queue::Small),
        }
    }

    fn judge(&mut self, _: &ContentId, candidate: &Candidate, _: u64) -> Verdict {
        if candidate.rank.since < candidate.accessed {
            // Another policy left it where it does not belong.
            Verdict::Stays(Rank::main(candidate.accessed))
        } else {
            Verdict::Goes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_what_another_policy_left() {
        let id = ContentId::of(b"");
        let heads = Heads {
            main: Some(5),
            small: Some(3),
            ..Heads::default()
        };
        assert_eq!(Lru.next(&heads), Some(Queue::Small));
        let mut candidate = Candidate {
            rank: Rank::small(3),
            accessed: 7,
        };
        let main = Rank::main(7);
        assert_eq!(Lru.judge(&id, &candidate, 9), Verdict::Stays(main));
        candidate.rank = main;
        assert_eq!(Lru.judge(&id, &candidate, 9), Verdict::Goes);
    }
}
