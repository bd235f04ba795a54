//! What a file's swarm did for it, and what it cost.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// How a file was fetched together with others. All zero where nobody else wanted it.
///
/// The bytes of audits came and are no part of the result: in the
/// [`Accounting`](crate::Accounting) they are among the discarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SwarmCounts {
    /// Other members that it was fetched together with.
    pub members: u64,
    /// Pieces that were asked of the origin in the place of a member that had claimed
    /// them and was late or slow.
    #[serde(rename = "claims_taken_over")]
    pub taken_over: u64,
    /// Pieces that members gave and that were compared with the origin.
    #[serde(rename = "audits")]
    pub audited_pieces: u64,
    /// Bytes that the origin sent for that.
    #[serde(rename = "bytes_audited")]
    pub audited_bytes: u64,
    /// Members that were found to have signed what the origin does not have.
    #[serde(rename = "liars_exposed")]
    pub exposed: u64,
}

impl SwarmCounts {
    /// Whether there was no swarm.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// These after those of an earlier attempt at the same file: the members may well be
    /// the same, everything else happened anew.
    #[must_use]
    pub fn after(&self, before: &Self) -> Self {
        let mut both = *before;
        both += *self;
        both
    }

    /// What counters that only grow do not have yet, if they have `counted`. Members are
    /// no such thing.
    #[must_use]
    pub const fn beyond(&self, counted: &Self) -> Self {
        Self {
            members: 0,
            taken_over: self.taken_over.saturating_sub(counted.taken_over),
            audited_pieces: self.audited_pieces.saturating_sub(counted.audited_pieces),
            audited_bytes: self.audited_bytes.saturating_sub(counted.audited_bytes),
            exposed: self.exposed.saturating_sub(counted.exposed),
        }
    }
}

/// Of several files, or of one several times. Who the members were is not kept, and those
/// of one file are mostly those of the next: the most there were at once.
impl AddAssign for SwarmCounts {
    fn add_assign(&mut self, other: Self) {
        self.members = self.members.max(other.members);
        self.taken_over = self.taken_over.saturating_add(other.taken_over);
        self.audited_pieces = self.audited_pieces.saturating_add(other.audited_pieces);
        self.audited_bytes = self.audited_bytes.saturating_add(other.audited_bytes);
        self.exposed = self.exposed.saturating_add(other.exposed);
    }
}

impl std::iter::Sum for SwarmCounts {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        let mut sum = Self::default();
        for part in parts {
            sum += part;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: SwarmCounts = SwarmCounts {
        members: 7,
        taken_over: 2,
        audited_pieces: 3,
        audited_bytes: 4,
        exposed: 1,
    };

    #[test]
    fn what_happened_adds_up_and_members_do_not() {
        let few = SwarmCounts {
            members: 3,
            ..COUNTS
        };
        let both: SwarmCounts = [COUNTS, few].into_iter().sum();
        assert_eq!((both.members, both.taken_over), (7, 4));
        assert_eq!((both.audited_pieces, both.audited_bytes), (6, 8));
        assert_eq!(few.after(&COUNTS), both);
        let news = both.beyond(&COUNTS);
        assert_eq!(
            news,
            SwarmCounts {
                members: 0,
                ..COUNTS
            }
        );
        assert!(both.beyond(&both).is_nothing() && !few.is_nothing());
    }
}
