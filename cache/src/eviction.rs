//! What goes when there is no room, decided without touching anything.

use potluck_content::ContentId;
use serde::{Deserialize, Serialize};

use crate::lru::Lru;
use crate::rank::{Queue, Rank};
use crate::s3_fifo::S3Fifo;

/// Which policy decides what goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Eviction {
    /// What was used longest ago.
    #[default]
    Lru,
    /// What came and was not used again, then what is used least: S3-FIFO.
    S3Fifo,
}

impl Eviction {
    /// The policy itself, with nothing remembered.
    #[must_use]
    pub fn policy(self) -> Box<dyn EvictionPolicy> {
        match self {
            Self::Lru => Box::new(Lru),
            Self::S3Fifo => Box::<S3Fifo>::default(),
        }
    }
}

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

/// Orders the contents that may go: those that are neither pinned nor leased.
///
/// Pure: whoever asks owns the lines and tells the time, in microseconds since 1970 that
/// never repeat. Where a content stands is kept by the asker; what else a policy remembers
/// is lost with the process.
pub trait EvictionPolicy: Send {
    /// Where a content stands that comes in.
    fn enter(&mut self, id: &ContentId, now: u64) -> Rank;

    /// Where it stands after a use.
    fn used(&self, candidate: &Candidate, now: u64) -> Rank;

    /// The line whose head is judged next; `None` when both are empty.
    fn next(&self, heads: &Heads) -> Option<Queue>;

    /// What becomes of the head of a line.
    fn judge(&mut self, id: &ContentId, candidate: &Candidate, now: u64) -> Verdict;
}

/// A content that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Where it stands.
    pub rank: Rank,
    /// When it was last used, in microseconds since 1970.
    pub accessed: u64,
}

/// What is known of the lines when the next to go is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    /// Since when the head of the main line stands there, if there is one.
    pub main: Option<u64>,
    /// The same of the small line.
    pub small: Option<u64>,
    /// Bytes of the contents in the small line.
    pub small_bytes: u64,
    /// Bytes that all contents together may have.
    pub max_size: u64,
}

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes.
    Goes,
    /// It stays, there.
    Stays(Rank),
}
