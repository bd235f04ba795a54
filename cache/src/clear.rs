//! Emptying the cache.

use std::collections::BTreeSet;

use crate::Cache;
use crate::data_dir::list;
use crate::together::together;
use crate::{CacheError, Evicted};

/// How many contents are looked at before the disk is freed of those that went.
const BATCH: usize = 256;

impl Cache {
    /// Removes every content that nobody leases, with `pinned` those too that are pinned,
    /// and what was set aside. The disk is free when it returns, and what went stays away.
    /// Unfinished contents stay: jobs go on with them.
    ///
    /// # Errors
    /// When a directory cannot be read, or the disk fails.
    pub fn clear(&self, pinned: bool) -> Result<Evicted, CacheError> {
        let inner = &self.inner;
        let mut cleared = Evicted::default();
        let mut after = None;
        let mut shelves = BTreeSet::new();
        loop {
            let batch: Vec<_> = inner.index.after(after.as_ref()).take(BATCH).collect();
            let Some((last, _)) = batch.last() else {
                break;
            };
            after = Some(*last);
            let mut trash = Vec::new();
            for (id, entry) in batch {
                let _edit = inner.edit(&id);
                let mut shelf = inner.shelf();
                if !entry.cached || (entry.pinned && !pinned) || shelf.is_leased(&id) {
                    continue;
                }
                if let Some(entry) = inner.take_off(&mut shelf, &id, &mut trash) {
                    shelves.insert(id.as_bytes()[0]);
                    cleared.contents += 1;
                    cleared.bytes += entry.size;
                }
            }
            inner.dir.throw_out(trash);
            inner.sync_if_many();
        }
        for (path, _) in list(&inner.dir.aside())? {
            inner.dir.disk.discard(&path);
        }
        let synced = together(shelves.into_iter().collect(), |first| {
            inner.dir.sync_shelf(first)
        });
        synced.into_iter().collect::<Result<(), _>>()?;
        Ok(cleared)
    }
}
