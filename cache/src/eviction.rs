//! What goes, and how.

use std::path::PathBuf;

use potluck_content::ContentId;

use crate::inner::Inner;
use crate::shelf::Shelf;

/// What an eviction took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// Complete contents that went.
    pub contents: u64,
    /// Unfinished contents that went.
    pub partials: u64,
    /// Bytes of the complete contents together.
    pub bytes: u64,
}

/// Chooses among contents that may go: those that are neither pinned nor leased.
pub(crate) trait EvictionPolicy {
    /// Says whether a candidate goes. They come least recently used first.
    fn judge(&mut self, candidate: &Candidate) -> Verdict;

    /// Whether the victims together do what is wanted; otherwise none of them goes.
    fn is_satisfied(&self) -> bool {
        true
    }
}

/// A content that may go.
pub(crate) struct Candidate {
    pub(crate) size: u64,
    /// Microseconds since 1970.
    pub(crate) accessed: u64,
}

/// What becomes of a candidate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Goes,
    /// This one stays, and all that were used later.
    Stop,
}

impl Inner {
    /// Lets go what the policy chooses. The files are only out of sight: the caller
    /// discards `trash` when it holds no lock any more.
    pub(crate) fn evict(
        &self,
        shelf: &mut Shelf,
        policy: &mut dyn EvictionPolicy,
        trash: &mut Vec<PathBuf>,
    ) -> Evicted {
        shelf.write_touched(&self.index);
        let mut victims: Vec<ContentId> = Vec::new();
        for (id, entry) in self.index.oldest_first() {
            if shelf.is_leased(&id) {
                continue;
            }
            let candidate = Candidate {
                size: entry.size,
                accessed: entry.accessed,
            };
            match policy.judge(&candidate) {
                Verdict::Goes => victims.push(id),
                Verdict::Stop => break,
            }
        }
        let mut evicted = Evicted::default();
        if !policy.is_satisfied() {
            return evicted;
        }
        for id in victims {
            if let Some(entry) = self.take_off(shelf, &id, trash) {
                tracing::debug!(content = %id, bytes = entry.size, "evicted");
                evicted.contents += 1;
                evicted.bytes += entry.size;
            }
        }
        evicted
    }
}
