//! Which pieces are compared with the origin.

use potluck_content::PieceIndex;

use super::member::mix;

/// Picks pieces that members gave to be fetched once more from the origin, so that who
/// signs wrong hashes is found out.
///
/// The share is of the content and of all members together: each picks the fewer the more
/// there are. Nobody can foresee what is picked, as long as the seed is the node's own.
#[derive(Debug, Clone, Copy)]
pub struct AuditDice {
    /// In millionths.
    share: u64,
    seed: u64,
}

impl AuditDice {
    /// Audits of a swarm together take `share` of the content, from 0 to 1.
    #[must_use]
    pub fn new(share: f64, seed: u64) -> Self {
        let share = (share.clamp(0.0, 1.0) * 1e6) as u64;
        Self { share, seed }
    }

    /// Whether a piece that one of so many other members gave is audited here.
    #[must_use]
    pub fn picks(&self, index: PieceIndex, others: usize) -> bool {
        let of = (others as u64 + 1).saturating_mul(1_000_000);
        // As good as even: a remainder of a 64-bit number by a small one.
        mix(self.seed ^ mix(u64::from(index.0))) % of < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_audits_its_share_however_large_it_is() {
        for members in [2, 8, 50] {
            let mut picked = 0;
            for seed in 0..members {
                let dice = AuditDice::new(0.01, mix(seed));
                let pieces = (0..16_384).map(PieceIndex);
                picked += pieces
                    .filter(|index| dice.picks(*index, members as usize - 1))
                    .count();
            }
            assert!((110..220).contains(&picked), "{picked} of 164 by {members}");
        }
    }

    #[test]
    fn none_and_all_can_be_had() {
        let pieces = || (0..100).map(PieceIndex);
        assert!(pieces().all(|index| !AuditDice::new(0.0, 1).picks(index, 0)));
        assert!(pieces().all(|index| AuditDice::new(1.0, 1).picks(index, 0)));
    }
}
