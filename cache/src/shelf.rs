//! What the cache keeps in memory: who uses what, and how much room is taken.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use potluck_content::ContentId;

use crate::eviction::EvictionPolicy;
use crate::index::Index;
use crate::index_row::Entry;
use crate::lease::OpenEntry;
use crate::rank::Queue;
use crate::standing::Totals;
use crate::{Limits, Usage};

/// The state behind the cache's one short-held lock.
///
/// Invariant: `usage` is the sum over the entries of the index, which only changes
/// while this is locked.
pub(crate) struct Shelf {
    pub(crate) open: HashMap<ContentId, OpenEntry>,
    /// Names of partials that somebody works on.
    pub(crate) partials: HashSet<String>,
    /// Contents that are kept only for their leases.
    pub(crate) uncached: HashSet<ContentId>,
    pub(crate) usage: Usage,
    pub(crate) limits: Limits,
    pub(crate) policy: Box<dyn EvictionPolicy>,
    /// Of `usage.bytes`, those of contents in the small queue.
    pub(crate) small_bytes: u64,
    /// Bytes of contents that are about to be added.
    pub(crate) reserved: u64,
    /// Bytes that are there of contents that are being written.
    pub(crate) coming: u64,
    /// Bytes of these that the disk must still take.
    pub(crate) promised: u64,
    /// Bytes of all contents that were evicted since the cache was opened.
    pub(crate) let_go: u64,
    /// The node stops: uncached contents stay for whoever leases them next time.
    pub(crate) closing: bool,
    touched: HashMap<ContentId, u64>,
    written: Instant,
    last_stamp: u64,
}

/// Access times wait in memory so that reading costs no writing: at most this long
/// while the cache is used, and at most so many of them: few enough to be written within
/// some milliseconds.
const TOUCHED_WAIT: Duration = Duration::from_secs(5);
const MAX_TOUCHED: usize = 128;

impl Shelf {
    pub(crate) fn new(limits: Limits, policy: Box<dyn EvictionPolicy>) -> Self {
        Self {
            open: HashMap::new(),
            partials: HashSet::new(),
            uncached: HashSet::new(),
            usage: Usage::default(),
            limits,
            policy,
            small_bytes: 0,
            reserved: 0,
            coming: 0,
            promised: 0,
            let_go: 0,
            closing: false,
            touched: HashMap::new(),
            written: Instant::now(),
            last_stamp: 0,
        }
    }

    /// Now, and later than any time given before, so that the order of use is never
    /// in doubt.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.last_stamp = micros(SystemTime::now()).max(self.last_stamp + 1);
        self.last_stamp
    }

    /// Gives only times later than this one from now on.
    pub(crate) fn stamp_after(&mut self, time: u64) {
        self.last_stamp = self.last_stamp.max(time);
    }

    pub(crate) fn touch(&mut self, id: &ContentId, index: &Index) {
        let stamp = self.stamp();
        self.touched.insert(*id, stamp);
        if self.touched.len() >= MAX_TOUCHED || self.written.elapsed() >= TOUCHED_WAIT {
            self.write_touched(index);
        }
    }

    /// When a content was last used, as far as memory knows better than the index.
    pub(crate) fn last_touch(&self, id: &ContentId) -> Option<u64> {
        self.touched.get(id).copied()
    }

    pub(crate) fn write_touched(&mut self, index: &Index) {
        let touched: Vec<_> = self.touched.keys().copied().collect();
        for id in touched {
            if let Some(entry) = index.get(&id) {
                self.with_touch(index, &id, entry);
            }
        }
        self.touched.clear();
        self.written = Instant::now();
    }

    /// Notes in the index what memory knows of the last use of a content.
    pub(crate) fn with_touch(&mut self, index: &Index, id: &ContentId, entry: Entry) -> Entry {
        let Some(accessed) = self.touched.remove(id) else {
            return entry;
        };
        let touched = Entry {
            accessed,
            rank: self.policy.used(&entry.candidate(), accessed),
            ..entry
        };
        self.rerank(index, id, entry, touched);
        touched
    }

    /// Gives a content another place.
    pub(crate) fn rerank(&mut self, index: &Index, id: &ContentId, old: Entry, new: Entry) {
        index.rerank(id, new);
        self.count_out(id, &old);
        self.count_in(id, &new);
    }

    pub(crate) fn is_leased(&self, id: &ContentId) -> bool {
        self.open.get(id).is_some_and(OpenEntry::is_leased)
    }

    pub(crate) fn count_in(&mut self, id: &ContentId, entry: &Entry) {
        let usage = &mut self.usage;
        if !entry.cached {
            usage.uncached_bytes += entry.size;
            self.uncached.insert(*id);
        } else if entry.pinned {
            usage.pinned_bytes += entry.size;
            usage.pinned += 1;
        } else {
            usage.bytes += entry.size;
            usage.contents += 1;
            if entry.rank.queue == Queue::Small {
                self.small_bytes += entry.size;
            }
        }
    }

    pub(crate) fn count_out(&mut self, id: &ContentId, entry: &Entry) {
        let usage = &mut self.usage;
        let take = |from: &mut u64, count: u64| *from = from.saturating_sub(count);
        if !entry.cached {
            take(&mut usage.uncached_bytes, entry.size);
            self.uncached.remove(id);
        } else if entry.pinned {
            take(&mut usage.pinned_bytes, entry.size);
            take(&mut usage.pinned, 1);
        } else {
            take(&mut usage.bytes, entry.size);
            take(&mut usage.contents, 1);
            if entry.rank.queue == Queue::Small {
                take(&mut self.small_bytes, entry.size);
            }
        }
    }

    /// Takes over what was counted when the cache was closed.
    pub(crate) fn take_totals(&mut self, totals: Totals) {
        self.usage = totals.usage;
        self.small_bytes = totals.small_bytes;
        self.uncached = totals.uncached.into_iter().collect();
    }

    /// What need not be counted at the next start.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            usage: self.usage,
            small_bytes: self.small_bytes,
            uncached: self.uncached.iter().copied().collect(),
        }
    }

    /// A content is gone: forgets that it was used.
    pub(crate) fn forget(&mut self, id: &ContentId) {
        self.touched.remove(id);
        self.open.remove(id);
    }

    /// Bytes by which the contents exceed the limit.
    pub(crate) const fn surplus(&self) -> u64 {
        self.usage.bytes.saturating_sub(self.limits.max_size)
    }

    /// Bytes that must go before a content of this size can be added.
    pub(crate) const fn lacking(&self, size: u64) -> u64 {
        let taken = self.usage.bytes + self.reserved;
        taken
            .saturating_add(size)
            .saturating_sub(self.limits.max_size)
    }

    /// Bytes by which everything exceeds the limit, with what is coming.
    pub(crate) const fn excess(&self) -> u64 {
        self.lacking(self.coming)
    }

    /// Whether a content of this size would fit if others went.
    pub(crate) fn can_make_room(&self, size: u64) -> bool {
        size <= self.limits.max_size && self.lacking(size) <= self.evictable()
    }

    /// Bytes that would go if everything went that may.
    pub(crate) fn evictable(&self) -> u64 {
        let kept = self.open.values().filter(|open| open.is_kept_by_lease());
        let kept = kept.map(|open| open.size).sum();
        self.usage.bytes.saturating_sub(kept)
    }
}

/// Microseconds since 1970; 0 for times before.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// The time that is so many microseconds after 1970.
pub(crate) fn from_micros(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_micros(micros))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
