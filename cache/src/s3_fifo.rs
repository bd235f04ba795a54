//! What comes and is not wanted again goes soon, and takes nothing with it.
//!
//! After J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all you need
//! for cache eviction", SOSP 2023: contents enter a small line; those that are used again
//! there move to the main line, which gives everything that was used another round; those
//! that are not go, and are remembered for a while, so that they enter the main line when
//! they come again. A scan passes through the small line and leaves the main one as it is.

use potluck_content::ContentId;

use crate::eviction::{Candidate, EvictionPolicy, Heads, Verdict};
use crate::ghosts::Ghosts;
use crate::rank::{Queue, Rank};

/// Share of the cache that the small line may have, in percent: the paper's choice.
const SMALL_PERCENT: u128 = 10;
/// Uses in the small line that lead to the main one. The first use may be the second half
/// of what brought the content: a peer that asks for what was just fetched.
const PROMOTING_USES: u8 = 2;
/// Uses within the same minute count as one: a transfer asks for a content in many parts.
const ONE_USE: u64 = 60_000_000;

/// Two lines and a memory for those that went too early.
#[derive(Debug, Default)]
pub(crate) struct S3Fifo {
    ghosts: Ghosts,
}

impl EvictionPolicy for S3Fifo {
    fn enter(&mut self, id: &ContentId, now: u64) -> Rank {
        if self.ghosts.take(id) {
            Rank::main(now)
        } else {
            Rank::small(now)
        }
    }

    fn used(&self, candidate: &Candidate, now: u64) -> Rank {
        let rank = candidate.rank;
        if now / ONE_USE == candidate.accessed / ONE_USE {
            return rank;
        }
        Rank {
            uses: (rank.uses + 1).min(Rank::MAX_USES),
            ..rank
        }
    }

    fn next(&self, heads: &Heads) -> Option<Queue> {
        let small_is_large =
            u128::from(heads.small_bytes) * 100 > u128::from(heads.max_size) * SMALL_PERCENT;
        match (heads.main, heads.small) {
            (None, None) => None,
            (None, Some(_)) => Some(Queue::Small),
            (Some(_), Some(_)) if small_is_large => Some(Queue::Small),
            (Some(_), _) => Some(Queue::Main),
        }
    }

    fn judge(&mut self, id: &ContentId, candidate: &Candidate, now: u64) -> Verdict {
        let rank = candidate.rank;
        match rank.queue {
            Queue::Small if rank.uses >= PROMOTING_USES => Verdict::Stays(Rank::main(now)),
            Queue::Small => {
                self.ghosts.add(id);
                Verdict::Goes
            }
            Queue::Main if rank.uses > 0 => Verdict::Stays(Rank {
                uses: rank.uses - 1,
                ..Rank::main(now)
            }),
            Queue::Main => Verdict::Goes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = ONE_USE;

    fn used(policy: &S3Fifo, rank: Rank, times: u64) -> Candidate {
        let mut candidate = Candidate { rank, accessed: 0 };
        for time in 1..=times {
            let now = time * MINUTE;
            candidate.rank = policy.used(&candidate, now);
            candidate.accessed = now;
        }
        candidate
    }

    #[test]
    fn what_is_wanted_again_is_promoted_and_the_rest_is_remembered() {
        let mut policy = S3Fifo::default();
        let id = ContentId::of(b"");
        let fresh = policy.enter(&id, 0);
        assert_eq!(fresh.queue, Queue::Small);
        let wanted = used(&policy, fresh, 2);
        let main = Rank::main(9);
        assert_eq!(policy.judge(&id, &wanted, 9), Verdict::Stays(main));

        let unwanted = used(&policy, fresh, 1);
        assert_eq!(policy.judge(&id, &unwanted, 9), Verdict::Goes);
        assert_eq!(policy.enter(&id, 9), main);
        // Once only.
        assert_eq!(policy.enter(&id, 9).queue, Queue::Small);
    }

    #[test]
    fn every_use_in_the_main_line_is_worth_a_round() {
        let mut policy = S3Fifo::default();
        let id = ContentId::of(b"");
        let mut candidate = used(&policy, Rank::main(0), 50);
        let mut rounds = 0;
        while let Verdict::Stays(rank) = policy.judge(&id, &candidate, 9) {
            candidate.rank = rank;
            rounds += 1;
        }
        assert_eq!(rounds, Rank::MAX_USES);
    }

    #[test]
    fn parts_of_one_transfer_are_one_use() {
        let policy = S3Fifo::default();
        let mut candidate = used(&policy, Rank::small(0), 1);
        for second in 1..60 {
            let now = MINUTE + second * 1_000_000;
            candidate.rank = policy.used(&candidate, now);
            candidate.accessed = now;
        }
        assert_eq!(candidate.rank.uses, 1);
    }

    #[test]
    fn the_small_line_pays_while_it_is_large() {
        let policy = S3Fifo::default();
        let mut heads = Heads {
            main: Some(1),
            small: Some(2),
            small_bytes: 101,
            max_size: 1000,
        };
        assert_eq!(policy.next(&heads), Some(Queue::Small));
        heads.small_bytes = 100;
        assert_eq!(policy.next(&heads), Some(Queue::Main));
        heads.main = None;
        assert_eq!(policy.next(&heads), Some(Queue::Small));
    }
}
