//! Eviction to make room: what was used longest ago goes first.

use crate::eviction::{Candidate, EvictionPolicy, Verdict};

/// Frees a number of bytes.
pub(crate) struct MakeRoom {
    wanted: u64,
    all_or_none: bool,
}

impl MakeRoom {
    /// Frees `bytes`, or nothing when so much cannot be freed: to evict and still not
    /// fit would help nobody.
    pub(crate) const fn for_bytes(bytes: u64) -> Self {
        Self {
            wanted: bytes,
            all_or_none: true,
        }
    }

    /// Frees `bytes`, or as many as can be: for a limit that was lowered.
    pub(crate) const fn at_best(bytes: u64) -> Self {
        Self {
            wanted: bytes,
            all_or_none: false,
        }
    }
}

impl EvictionPolicy for MakeRoom {
    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        if self.wanted == 0 {
            return Verdict::Stop;
        }
        self.wanted = self.wanted.saturating_sub(candidate.size);
        Verdict::Goes
    }

    fn is_satisfied(&self) -> bool {
        self.wanted == 0 || !self.all_or_none
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_more_than_it_must() {
        let candidate = Candidate {
            size: 10,
            accessed: 0,
        };
        let mut policy = MakeRoom::for_bytes(15);
        assert_eq!(policy.judge(&candidate), Verdict::Goes);
        assert!(!policy.is_satisfied());
        assert_eq!(policy.judge(&candidate), Verdict::Goes);
        assert!(policy.is_satisfied());
        assert_eq!(policy.judge(&candidate), Verdict::Stop);
    }
}
