//! Where a content stands in the order of going.

/// The two lines of contents that may go, each with its next to go at the head. A policy
/// that needs only one has all in [`Queue::Main`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// What has proved itself.
    Main,
    /// What came and has not yet.
    Small,
}

/// A content's place, kept in the index so that it outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// In which line.
    pub queue: Queue,
    /// Since when, in microseconds since 1970: the earlier, the nearer to the head.
    pub since: u64,
    /// Uses that count for it: at most [`Rank::MAX_USES`].
    pub uses: u8,
}

impl Rank {
    /// Two bits are enough to tell what is used once from what is used often.
    pub const MAX_USES: u8 = 3;

    /// At the end of the main line.
    #[must_use]
    pub const fn main(since: u64) -> Self {
        Self {
            queue: Queue::Main,
            since,
            uses: 0,
        }
    }

    /// At the end of the small line.
    #[must_use]
    pub const fn small(since: u64) -> Self {
        Self {
            queue: Queue::Small,
            since,
            uses: 0,
        }
    }
}
