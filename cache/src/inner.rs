//! What caches, leases and partials share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_content::ContentId;

use crate::changes::Changes;
use crate::data_dir::{DataDir, meta_path};
use crate::disk::Disk;
use crate::index::Index;
use crate::lease::{OpenContent, OpenEntry};
use crate::meta::{Meta, MetaError};
use crate::plain::is_gone;
use crate::scan::entry;
use crate::shelf::Shelf;
use crate::start::{Started, start};
use crate::unsynced::{Unsynced, When};
use crate::{CacheError, Config, Damage, Facts, Limits, Notice, Usage};

/// The state of an open cache.
///
/// Locks are taken in this order: an edit, then the shelf. Files are read, written and
/// synced under an edit, never under the shelf's lock, which is held briefly.
pub(crate) struct Inner {
    pub(crate) dir: DataDir,
    pub(crate) index: Index,
    pub(crate) changes: Changes,
    shelf: Mutex<Shelf>,
    /// Contents that may not be durable.
    pub(crate) unsynced: Mutex<Unsynced>,
    /// Who changes a sidecar holds the lock that the content's id falls on.
    pub(crate) edits: [Mutex<()>; EDITS],
    /// Has one owner more for each early copy.
    pub(crate) early_copies: Arc<()>,
}

/// So many sidecars, at most, are changed at once.
const EDITS: usize = 16;

/// Why a content cannot be opened.
pub(crate) enum Unusable {
    NotHeld,
    /// It was damaged.
    TakenOut(Damage),
    /// It may be good, but the system refuses to say.
    Unreadable(io::Error),
}

impl Inner {
    pub(crate) fn open(config: Config, disk: Disk) -> Result<Self, CacheError> {
        let Config {
            dir,
            max_size,
            max_age,
            min_free,
            eviction,
        } = config;
        let limits = Limits {
            max_size,
            max_age,
            min_free,
        };
        let dir = DataDir::open(&dir, disk)?;
        let index = Index::open(&dir.index(), &dir.disk)?;
        let Started {
            changes,
            totals,
            unsynced,
        } = start(&dir, &index)?;
        let inner = Self {
            dir,
            index,
            changes,
            shelf: Mutex::new(Shelf::new(limits, eviction.policy())),
            unsynced: Mutex::new(unsynced),
            edits: [const { Mutex::new(()) }; EDITS],
            early_copies: Arc::default(),
        };
        // Also where the clock was set back since.
        inner.shelf().stamp_after(inner.index.last_stamp());
        match totals {
            Some(totals) => inner.shelf().take_totals(totals),
            None => inner.count(&mut inner.shelf()),
        }
        Ok(inner)
    }

    pub(crate) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }

    /// The right to change the sidecar of a content.
    pub(crate) fn edit(&self, id: &ContentId) -> MutexGuard<'_, ()> {
        lock(&self.edits[edit_of(id)])
    }

    /// Opens a content, or finds it open. Notes the use.
    pub(crate) fn open_content(self: &Arc<Self>, id: &ContentId) -> Option<Arc<OpenContent>> {
        let open = self.open_unused(id)?;
        self.shelf().touch(id, &self.index);
        Some(open)
    }

    /// The same for who only looks after it.
    pub(crate) fn open_unused(self: &Arc<Self>, id: &ContentId) -> Option<Arc<OpenContent>> {
        let open = |shelf: &Shelf| shelf.open.get(id).and_then(OpenEntry::content);
        if let Some(open) = open(&self.shelf()) {
            return Some(open);
        }
        self.index.get(id)?;
        let meta = self.read_meta(id)?;
        self.agree(id, &meta);
        let opened = OpenContent::open(self, meta, &self.dir.content(id))
            .inspect_err(|error| self.notice_unreadable(id, error))
            .ok()?;
        // Outlives the guard: its own end takes the same lock.
        let found;
        let mut shelf = self.shelf();
        if let Some(other) = open(&shelf) {
            found = other;
        } else if self.index.get(id).is_some() {
            shelf.open.insert(*id, opened.entry());
            found = Arc::clone(&opened);
        } else {
            return None;
        }
        Some(found)
    }

    /// Changes what is known of a content; the caller holds its edit.
    pub(crate) fn change_facts(
        &self,
        id: &ContentId,
        when: When,
        change: impl FnOnce(&mut Facts),
    ) -> Result<(), CacheError> {
        let not_held = || CacheError::NotHeld(*id);
        let mut meta = self.read_meta(id).ok_or_else(not_held)?;
        let before = meta.facts.clone();
        change(&mut meta.facts);
        // The index may not know what the sidecar says already.
        if meta.facts == before {
            if when == When::Now {
                // It may be known and not be durable.
                self.sync_now(id)?;
            }
            let listed = self.list_meta(&mut self.shelf(), id, &meta);
            return listed.then_some(()).ok_or_else(not_held);
        }
        // What is pinned stays, also when it did not fit before.
        meta.cached |= meta.facts.pinned;
        let _change = self.keep_meta(id, &mut meta, when)?;
        let mut shelf = self.shelf();
        // Evicted while its sidecar was written?
        if !self.list_meta(&mut shelf, id, &meta) {
            drop(shelf);
            let data = self.dir.content(id);
            self.dir.disk.discard(&data);
            self.dir.disk.discard(&meta_path(&data));
            return Err(not_held());
        }
        if let Some(open) = shelf.open.get(id) {
            *open.news.facts() = meta.facts;
            if meta.cached {
                open.news.set_cached();
            }
        }
        Ok(())
    }

    /// Makes the index say what a sidecar says, if it knows the content. The caller holds
    /// its edit.
    fn list_meta(&self, shelf: &mut Shelf, id: &ContentId, meta: &Meta) -> bool {
        let Some(known) = self.index.get(id) else {
            return false;
        };
        let now = entry(meta, Some(&known));
        self.index.put(id, now, &meta.facts);
        shelf.count_out(id, &known);
        shelf.count_in(id, &now);
        true
    }

    /// Sees to it that the index says of a content what its sidecar says: after a loss of
    /// power, one of them may have got to the disk without the other, and without a note.
    pub(crate) fn agree(&self, id: &ContentId, meta: &Meta) {
        let agrees = |meta: &Meta| {
            let known = self.index.get(id);
            known.is_none_or(|known| self.index.says(id, entry(meta, Some(&known)), &meta.facts))
        };
        if agrees(meta) {
            return;
        }
        // Who changes it just now makes them agree.
        let Ok(_edit) = self.edits[edit_of(id)].try_lock() else {
            return;
        };
        if let Ok(meta) = Meta::look(id, &self.dir.content(id))
            && !agrees(&meta)
        {
            tracing::debug!(content = %id, "the index did not know what the sidecar says");
            self.list_meta(&mut self.shelf(), id, &meta);
        }
    }

    /// Reads the sidecar of a content that the index knows. What turns out to be damaged
    /// or gone is taken out, so that it is not served.
    pub(crate) fn read_meta(&self, id: &ContentId) -> Option<Meta> {
        self.usable_meta(id, Meta::read).ok()
    }

    /// The same for who does not want its bytes.
    pub(crate) fn look_at_meta(&self, id: &ContentId) -> Option<Meta> {
        self.usable_meta(id, Meta::look).ok()
    }

    /// The same, with the reason why there is none.
    pub(crate) fn usable_meta(
        &self,
        id: &ContentId,
        read: impl Fn(&ContentId, &Path) -> Result<Meta, MetaError>,
    ) -> Result<Meta, Unusable> {
        let data = self.dir.content(id);
        let error = match read(id, &data) {
            Ok(meta) => return Ok(meta),
            Err(error) => error,
        };
        let shelf = self.shelf();
        let Some(known) = self.index.get(id) else {
            return Err(Unusable::NotHeld);
        };
        let is_damage = error.is_damage_of(Some(&known));
        if matches!(error, MetaError::Lost) && !is_damage {
            tracing::info!(content = %id, "content lost with the power");
            self.lose(shelf, id);
            return Err(Unusable::NotHeld);
        }
        // While the index knows it, both files must be there.
        let gone = is_gone(&data) || is_gone(&meta_path(&data));
        if !is_damage && !gone {
            drop(shelf);
            self.notice_unreadable(id, &error);
            return Err(Unusable::Unreadable(io::Error::other(error)));
        }
        tracing::warn!(content = %id, %error, "content set aside");
        self.set_aside(shelf, id);
        let damage = Damage {
            id: *id,
            file: data,
            reason: error.to_string(),
            bad_pieces: Vec::new(),
            kept: 0,
        };
        self.dir.notices.add(Notice::Damaged(damage.clone()));
        Err(Unusable::TakenOut(damage))
    }

    /// Says that a content cannot be read just now.
    fn notice_unreadable(&self, id: &ContentId, error: &dyn std::error::Error) {
        tracing::warn!(content = %id, %error, "content not read");
        self.dir.notices.add(Notice::Unreadable {
            id: *id,
            file: self.dir.content(id),
            reason: error.to_string(),
        });
    }

    /// Takes out a content that cannot be trusted, and lets go of the shelf.
    pub(crate) fn set_aside(&self, mut shelf: MutexGuard<'_, Shelf>, id: &ContentId) {
        let data = self.dir.content(id);
        self.dir.set_aside(&data);
        self.dir.set_aside(&meta_path(&data));
        self.take_off(&mut shelf, id, &mut Vec::new());
        drop(shelf);
        // With good names but bad bytes, it must not come back when the machine goes down.
        if let Err(error) = self.sync_parent(&data) {
            tracing::warn!(content = %id, %error, "directory not synced");
        }
    }

    /// Lets go contents that nobody leases, that do not fit, and that were last used
    /// before a time.
    pub(crate) fn drop_uncached(&self, shelf: &mut Shelf, before: u64, trash: &mut Vec<PathBuf>) {
        let ids: Vec<_> = shelf.uncached.iter().copied().collect();
        for id in ids {
            let old = self.index.get(&id).is_none_or(|e| e.accessed < before);
            if old && !shelf.is_leased(&id) {
                self.take_off(shelf, &id, trash);
            }
        }
    }

    /// Counts everything anew.
    pub(crate) fn count(&self, shelf: &mut Shelf) {
        shelf.usage = Usage::default();
        shelf.small_bytes = 0;
        shelf.uncached.clear();
        for (id, entry) in self.index.iter() {
            shelf.count_in(&id, &entry);
        }
    }
}

/// Which of the locks is that of a content.
fn edit_of(id: &ContentId) -> usize {
    usize::from(id.as_bytes()[0]) % EDITS
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes a lock, also after a panic under it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed in steps that each leave it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
