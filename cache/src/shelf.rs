//! What the cache keeps in memory: who uses what, and how much room is taken.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use potluck_content::ContentId;

use crate::index::Index;
use crate::index_row::Entry;
use crate::lease::OpenEntry;
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
    /// Bytes of contents that are about to be added.
    pub(crate) reserved: u64,
    /// The node stops: uncached contents stay for whoever leases them next time.
    pub(crate) closing: bool,
    touched: HashMap<ContentId, u64>,
    written: Instant,
    last_stamp: u64,
}

/// Access times wait in memory so that reading costs no writing: at most this long
/// while the cache is used, and at most so many of them.
const TOUCHED_WAIT: Duration = Duration::from_secs(5);
const MAX_TOUCHED: usize = 1024;

impl Shelf {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            open: HashMap::new(),
            partials: HashSet::new(),
            uncached: HashSet::new(),
            usage: Usage::default(),
            limits,
            reserved: 0,
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
        for (id, stamp) in self.touched.drain() {
            index.touch(&id, stamp);
        }
        self.written = Instant::now();
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
        }
    }

    /// Takes over what was counted when the cache was closed.
    pub(crate) fn take_totals(&mut self, totals: Totals) {
        self.usage = totals.usage;
        self.uncached = totals.uncached.into_iter().collect();
    }

    /// What need not be counted at the next start.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            usage: self.usage,
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
