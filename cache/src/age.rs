//! Eviction by age: what nobody used for so long goes.

use crate::eviction::{Candidate, EvictionPolicy, Verdict};

/// Lets go everything that was last used before a point in time.
pub(crate) struct OlderThan {
    /// Microseconds since 1970.
    pub(crate) before: u64,
}

impl EvictionPolicy for OlderThan {
    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        if candidate.accessed < self.before {
            Verdict::Goes
        } else {
            Verdict::Stop
        }
    }
}
