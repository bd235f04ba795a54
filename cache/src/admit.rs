//! How finished bytes become a content of the cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use potluck_content::{ContentId, Manifest};

use crate::data_dir::meta_path;
use crate::index_row::Entry;
use crate::inner::Inner;
use crate::lease::OpenContent;
use crate::meta::Meta;
use crate::plain::is_gone;
use crate::room::Room;
use crate::shelf::Shelf;
use crate::start::this_boot;
use crate::unsynced::When;
use crate::{CacheError, Facts};

impl Inner {
    /// Takes a file into `contents`; when it is to be durable [at once](When::Now), the
    /// file is synced. Where there is no room it stays only until its last lease is
    /// dropped. On failure the file is where it was, or gone.
    pub(crate) fn admit(
        self: &Arc<Self>,
        file: &Path,
        manifest: Manifest,
        facts: &Facts,
        room: Room,
        when: When,
    ) -> Result<Arc<OpenContent>, CacheError> {
        let id = manifest.id();
        // Room is made before the edit begins: what goes needs edits of its own.
        let reservation = match room {
            Room::Kept(reservation) => Some(reservation),
            // What is pinned is outside the limit, what is held needs no room.
            Room::IfItFits if facts.pinned || self.index.get(&id).is_some() => None,
            Room::IfItFits => self.reserve(manifest.size()),
        };
        // Declared first, dropped last: a lease may only go when the edit is over.
        let held;
        let _edit = self.edit(&id);
        if let Some(open) = self.open_content(&id) {
            held = open;
            self.change_facts(&id, when, |known| known.merge(facts))?;
            if when == When::Now {
                self.sync_now(&id)?;
            }
            self.dir.disk.discard(file);
            return Ok(held);
        }
        let mut meta = Meta {
            manifest,
            cached: reservation.is_some() || facts.pinned,
            added: SystemTime::now(),
            facts: facts.clone(),
            unsynced: None,
        };
        if when == When::Soon {
            meta.unsynced = self.boot_to_note(&id, facts);
            if meta.unsynced.is_none() {
                let synced = self.dir.sync_file(file);
                synced.inspect_err(|_| self.dir.disk.discard(file))?;
            }
        }
        let data = self.dir.content(&id);
        let opened = OpenContent::open(self, meta.clone(), file)?;
        let _change = if meta.unsynced.is_some() {
            self.changes.note_unsynced(&id)?
        } else {
            self.changes.note(&id)?
        };
        let moved = self
            .write_meta(&id, &meta)
            .and_then(|()| self.move_in(file, &data, &meta));
        if let Err(error) = moved {
            let _change = self.changes.note_removal(&id);
            self.dir.disk.discard(&meta_path(&data));
            return Err(error);
        }
        if meta.unsynced.is_some() {
            self.sync_soon(&id);
        }
        let mut shelf = self.shelf();
        if let Some(reservation) = reservation {
            shelf.reserved -= reservation.redeem();
        }
        let accessed = shelf.stamp();
        let entry = Entry {
            size: meta.manifest.size(),
            accessed,
            rank: shelf.policy.enter(&id, accessed),
            validated: meta.facts.validated,
            pinned: meta.facts.pinned,
            cached: meta.cached,
        };
        self.index.put(&id, entry, &meta.facts);
        shelf.count_in(&id, &entry);
        shelf.open.insert(id, opened.entry());
        Ok(opened)
    }

    /// What the sidecar of a new content says where neither it nor the bytes are synced.
    /// `None` where they must be: it is to stay whatever happens, or there may be another
    /// sidecar after a loss of power, which would vouch for these bytes.
    fn boot_to_note(&self, id: &ContentId, facts: &Facts) -> Option<String> {
        let may_wait = !facts.pinned
            && !self.changes.may_come_back(id)
            && is_gone(&meta_path(&self.dir.content(id)));
        this_boot().filter(|_| may_wait).map(str::to_owned)
    }

    /// Decides about a content that did not fit and that nobody leases any more: by
    /// now there may be room.
    pub(crate) fn settle(self: &Arc<Self>, id: &ContentId) {
        let unused =
            |shelf: &Shelf| !shelf.closing && shelf.uncached.contains(id) && !shelf.is_leased(id);
        if !unused(&self.shelf()) {
            return;
        }
        // Before the edit begins, as in `admit`.
        let size = self.index.get(id).map(|entry| entry.size);
        let reservation = size.and_then(|size| self.reserve(size));
        let _edit = self.edit(id);
        if !unused(&self.shelf()) {
            return;
        }
        let kept = self.index.get(id).and_then(|entry| {
            let reservation = reservation.filter(|kept| kept.size() == entry.size)?;
            let mut meta = Meta::read(id, &self.dir.content(id)).ok()?;
            meta.cached = true;
            let change = self.keep_meta(id, &mut meta, When::Soon).ok()?;
            Some((entry, meta.facts, reservation, change))
        });
        let mut trash = Vec::new();
        let mut shelf = self.shelf();
        match kept {
            Some((entry, facts, reservation, _change)) => {
                shelf.reserved -= reservation.redeem();
                let accessed = shelf.last_touch(id).unwrap_or(entry.accessed);
                let cached = Entry {
                    cached: true,
                    accessed,
                    rank: shelf.policy.enter(id, accessed),
                    ..entry
                };
                self.index.put(id, cached, &facts);
                shelf.count_out(id, &entry);
                shelf.count_in(id, &cached);
                if let Some(open) = shelf.open.get(id) {
                    open.news.set_cached();
                }
            }
            None if unused(&shelf) => {
                self.take_off(&mut shelf, id, &mut trash);
            }
            None => {}
        }
        drop(shelf);
        self.dir.throw_out(trash);
    }

    /// Writes a sidecar so that it survives a crash, unless it says that it may not.
    pub(crate) fn write_meta(&self, id: &ContentId, meta: &Meta) -> Result<(), CacheError> {
        let data = self.dir.content(id);
        self.dir.prepare_content(id)?;
        let (path, bytes) = (meta_path(&data), meta.encode());
        if meta.unsynced.is_some() {
            return self.dir.replace_unsynced(&path, &bytes);
        }
        self.dir.sync_shelves()?;
        self.dir.replace(&path, &bytes)?;
        self.sync_parent(&data)
    }

    fn move_in(&self, file: &Path, data: &Path, meta: &Meta) -> Result<(), CacheError> {
        let disk = &self.dir.disk;
        disk.rename(file, data)
            .map_err(|e| CacheError::io(data, e))?;
        if meta.unsynced.is_some() {
            return Ok(());
        }
        self.sync_parent(data).inspect_err(|_| {
            let _ = disk.rename(data, file);
        })
    }

    pub(crate) fn sync_parent(&self, path: &Path) -> Result<(), CacheError> {
        let parent = path.parent();
        parent.map_or(Ok(()), |parent| self.dir.sync_dir(parent))
    }

    /// Takes a content off the shelf. The caller discards the `trash` later.
    pub(crate) fn take_off(
        &self,
        shelf: &mut Shelf,
        id: &ContentId,
        trash: &mut Vec<PathBuf>,
    ) -> Option<Entry> {
        let entry = self.index.get(id)?;
        let _change = self.changes.note_removal(id);
        let data = self.dir.content(id);
        // The bytes first: a sidecar alone is known as a leftover, bytes alone are a riddle.
        trash.extend(self.dir.withdraw(&data));
        trash.extend(self.dir.withdraw(&meta_path(&data)));
        self.index.remove(id);
        shelf.count_out(id, &entry);
        shelf.forget(id);
        Some(entry)
    }
}
