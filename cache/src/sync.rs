//! Making the index durable, and making it again while the cache is open.

use crate::CacheError;
use crate::changes::Ended;
use crate::inner::{Inner, lock};
use crate::rebuild::rebuild;
use crate::standing::{Standing, Totals};
use crate::together::together;

/// Bytes that must be free before an index in memory is brought back to the disk: enough
/// for that of a small cache, and a sign that somebody made room.
const ROOM: u64 = 64 << 20;

impl Inner {
    /// Makes the index durable, so that after a crash less has to be looked at. The
    /// caller holds no lock.
    pub(crate) fn sync(&self) {
        let _one = self.changes.syncing();
        if self.is_renewal_due()
            && let Err(error) = self.renew_index(true)
        {
            tracing::warn!(%error, "index not made again");
        }
        self.shelf().write_touched(&self.index);
        self.make_durable(None);
    }

    /// Makes the contents durable, and leaves the index to the next [`Inner::sync`]. It is
    /// an error that some were lost, too.
    pub(crate) fn sync_contents_only(&self) -> Result<(), CacheError> {
        let _one = self.changes.syncing();
        self.sync_unsynced()?.into_result()
    }

    /// The same, when so much changed that it should not wait.
    pub(crate) fn sync_if_many(&self) {
        if self.changes.are_many() {
            self.sync();
        }
    }

    /// Makes the index again from the files.
    pub(crate) fn rebuild_index(&self) -> Result<(), CacheError> {
        let _one = self.changes.syncing();
        self.renew_index(self.is_renewal_due())?;
        self.make_durable(None);
        Ok(())
    }

    /// Makes everything durable for the last time, with what need not be counted then.
    pub(crate) fn close(&self) {
        let _one = self.changes.syncing();
        let totals = {
            let mut shelf = self.shelf();
            shelf.write_touched(&self.index);
            shelf.totals()
        };
        if self.make_durable(Some(totals)) {
            self.changes.close();
        }
        self.index.close();
    }

    fn make_durable(&self, totals: Option<Totals>) -> bool {
        let last = totals.is_some();
        let ended = if last || self.changes.is_turn_due() {
            match self.changes.turn(&self.dir) {
                Ok(ended) => Some(ended),
                Err(error) => {
                    tracing::warn!(%error, "index not synced");
                    return false;
                }
            }
        } else {
            None
        };
        if let Err(error) = self.sync_unsynced() {
            tracing::warn!(%error, "contents not synced");
            if let Some(ended) = &ended {
                self.changes.take_back(ended);
            }
            return false;
        }
        if let Some(ended) = &ended {
            if let Err(error) = self.sync_dirs(ended) {
                tracing::warn!(%error, "directory not synced");
                self.changes.take_back(ended);
                return false;
            }
            self.changes.removals_are_durable(ended);
        }
        let standing = Standing {
            cache: self.changes.cache().to_owned(),
            generation: self.changes.before(),
            totals,
        };
        let durable = self.index.sync(&standing);
        match ended {
            Some(ended) if durable => self.changes.forget(ended.generation),
            Some(ended) => self.changes.take_back(&ended),
            None => {}
        }
        durable
    }

    /// Makes durable which names are in the directories of the contents that changed:
    /// those that were removed must not come back when no journal tells of them.
    fn sync_dirs(&self, ended: &Ended) -> Result<(), CacheError> {
        let dirs = ended.dirs.iter().copied().collect();
        let synced = together(dirs, |first| self.dir.sync_shelf(first));
        synced.into_iter().collect()
    }

    /// Makes the index again, in a new database if need be. Nothing else is done
    /// meanwhile.
    fn renew_index(&self, reopen: bool) -> Result<(), CacheError> {
        let _edits: Vec<_> = self.edits.iter().map(lock).collect();
        let mut shelf = self.shelf();
        shelf.write_touched(&self.index);
        if reopen {
            self.index.reopen()?;
        }
        rebuild(&self.dir, &self.index)?;
        self.count(&mut shelf);
        Ok(())
    }

    fn is_renewal_due(&self) -> bool {
        let tables = self.index.tables();
        tables.is_broken() || (tables.is_in_memory() && self.has_room())
    }

    fn has_room(&self) -> bool {
        rustix::fs::statvfs(self.dir.contents())
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) > ROOM)
    }
}
