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
use crate::room::Room;
use crate::shelf::Shelf;
use crate::{CacheError, Facts};

impl Inner {
    /// Takes a synced file into `contents`. Where there is no room it stays only until
    /// its last lease is dropped. On failure the file is where it was.
    pub(crate) fn admit(
        self: &Arc<Self>,
        file: &Path,
        manifest: Manifest,
        facts: &Facts,
        room: Room,
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
            self.change_facts(&id, |known| known.merge(facts))?;
            self.dir.disk.discard(file);
            return Ok(held);
        }
        let meta = Meta {
            manifest,
            cached: reservation.is_some() || facts.pinned,
            added: SystemTime::now(),
            facts: facts.clone(),
        };
        let data = self.dir.content(&id);
        let opened = OpenContent::open(self, meta.clone(), file)?;
        let _change = self.changes.note(&id)?;
        self.write_meta(&id, &meta)?;
        if let Err(error) = self.move_in(file, &data) {
            self.dir.disk.discard(&meta_path(&data));
            return Err(error);
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
        let change = self.changes.note(id);
        let kept = self
            .index
            .get(id)
            .filter(|_| change.is_ok())
            .and_then(|entry| {
                let reservation = reservation.filter(|kept| kept.size() == entry.size)?;
                let mut meta = Meta::read(id, &self.dir.content(id)).ok()?;
                meta.cached = true;
                self.write_meta(id, &meta).ok()?;
                Some((entry, meta.facts, reservation))
            });
        let mut trash = Vec::new();
        let mut shelf = self.shelf();
        match kept {
            Some((entry, facts, reservation)) => {
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

    /// Writes a sidecar so that it survives a crash.
    pub(crate) fn write_meta(&self, id: &ContentId, meta: &Meta) -> Result<(), CacheError> {
        let data = self.dir.content(id);
        self.dir.prepare_content(id)?;
        self.dir.replace(&meta_path(&data), &meta.encode())?;
        self.sync_parent(&data)
    }

    fn move_in(&self, file: &Path, data: &Path) -> Result<(), CacheError> {
        let disk = &self.dir.disk;
        disk.rename(file, data)
            .map_err(|e| CacheError::io(data, e))?;
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
