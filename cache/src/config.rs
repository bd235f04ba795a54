//! What the cache is told, and what it tells about itself.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Eviction;

/// Where the cache is and how much it may hold.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory. The cache makes `contents`, `partial`, `index`, `changes`,
    /// `aside`, `scratch` and `lock` in it and leaves everything else there alone.
    pub dir: PathBuf,
    /// Bytes that cached contents may take together. Pinned contents are not counted, nor
    /// are unfinished ones: a transfer must be able to go on while the cache is full.
    pub max_size: u64,
    /// How long something may lie untouched before it goes.
    pub max_age: Duration,
    /// Bytes of the disk that the cache leaves free, and gives back where others take
    /// them.
    pub min_free: u64,
    /// What goes when there is no room.
    pub eviction: Eviction,
}

impl Config {
    /// 90 days, as BITS has it.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

    /// A cache of so many bytes, in everything else as BITS has it.
    #[must_use]
    pub const fn new(dir: PathBuf, max_size: u64) -> Self {
        Self {
            dir,
            max_size,
            max_age: Self::DEFAULT_MAX_AGE,
            min_free: 0,
            eviction: Eviction::Lru,
        }
    }
}

/// The bounds the cache keeps to. They can be changed while it is open:
/// see [`Cache::set_limits`](crate::Cache::set_limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that cached contents may take together, without those that are pinned.
    pub max_size: u64,
    /// How long something may lie untouched.
    pub max_age: Duration,
    /// Bytes of the disk that stay free: nothing is written that would leave less, pinned
    /// or not, and contents go that may when others take them.
    pub min_free: u64,
}

/// What the cache holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of cached contents that are not pinned: never more than
    /// [`Limits::max_size`], unless the limit was lowered, or something unpinned, and what
    /// is leased exceeds it.
    pub bytes: u64,
    /// How many contents these are.
    pub contents: u64,
    /// Bytes of pinned contents. Only the disk bounds them.
    pub pinned_bytes: u64,
    /// How many contents are pinned.
    pub pinned: u64,
    /// Bytes of finished contents that did not fit and stay only until their last
    /// lease is dropped.
    pub uncached_bytes: u64,
}
