//! Contents that are in the cache before they are durable.
//!
//! To sync the few bytes of a small content, its sidecar and its directory takes longer than
//! to fetch it. So contents of one piece are admitted without, and many are synced together.
//! Until then their sidecars say in which run of the kernel they were written: the death
//! of the process costs nothing, and after a loss of power what is found is hashed before it
//! is believed. See [`Meta::read`](crate::meta::Meta::read).

use std::collections::BTreeSet;
use std::mem;
use std::sync::MutexGuard;

use potluck_content::ContentId;

use crate::CacheError;
use crate::changes::Change;
use crate::data_dir::meta_path;
use crate::disk::begin_sync;
use crate::inner::{Inner, lock};
use crate::meta::Meta;
use crate::plain::open_plain;
use crate::shelf::Shelf;
use crate::together::together;

/// When a change is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// When the call returns.
    Now,
    /// With the next sync of all, where the sidecar says that this may be. Until then a
    /// loss of power may undo it, or take the content.
    Soon,
}

/// Contents that are synced together: each has two files open meanwhile.
const MANY: usize = 128;

impl Inner {
    /// The content is to be durable when all are synced next.
    pub(crate) fn sync_soon(&self, id: &ContentId) {
        lock(&self.unsynced).insert(*id);
    }

    /// Notes a change of a content that is held, and writes its sidecar. The caller holds
    /// its edit.
    pub(crate) fn keep_meta(
        &self,
        id: &ContentId,
        meta: &mut Meta,
        when: When,
    ) -> Result<Change<'_>, CacheError> {
        if when == When::Soon && meta.unsynced.is_some() && !meta.facts.pinned {
            let change = self.changes.note_unsynced(id)?;
            let path = meta_path(&self.dir.content(id));
            if !self.dir.add_to(&path, Meta::end_of, &meta.encode())? {
                self.write_meta(id, meta)?;
            }
            self.sync_soon(id);
            return Ok(change);
        }
        let change = self.changes.note(id)?;
        if meta.unsynced.take().is_some()
            && let Err(error) = self.dir.sync_file(&self.dir.content(id))
        {
            // It will not be told twice that its bytes did not get to the disk.
            self.lose(self.shelf(), id);
            return Err(error);
        }
        self.write_meta(id, meta)?;
        Ok(change)
    }

    /// Makes one content durable, if it is not yet. The caller holds its edit.
    pub(crate) fn sync_now(&self, id: &ContentId) -> Result<(), CacheError> {
        if lock(&self.unsynced).contains(id)
            && let Some(mut meta) = self.read_meta(id)
        {
            let _change = self.keep_meta(id, &mut meta, When::Now)?;
            lock(&self.unsynced).remove(id);
        }
        Ok(())
    }

    /// Makes durable what is not yet. What cannot be is taken out. The caller holds the
    /// right to sync, and no other lock.
    pub(crate) fn sync_unsynced(&self) -> Result<(), CacheError> {
        let ids = mem::take(&mut *lock(&self.unsynced));
        let synced = self.sync_contents(&ids);
        if synced.is_err() {
            lock(&self.unsynced).extend(ids);
        }
        synced
    }

    fn sync_contents(&self, ids: &BTreeSet<ContentId>) -> Result<(), CacheError> {
        let all: Vec<_> = ids.iter().collect();
        for part in all.chunks(MANY) {
            let mut files = Vec::with_capacity(2 * part.len());
            for id in part {
                let data = self.dir.content(id);
                for path in [meta_path(&data), data] {
                    // One that went needs no sync.
                    if let Ok(file) = open_plain(&path) {
                        begin_sync(&file);
                        files.push((**id, path, file));
                    }
                }
            }
            let failed = together(files, |(id, path, file)| {
                let synced = self.dir.disk.sync(&file);
                synced.err().map(|error| (id, CacheError::io(&path, error)))
            });
            for (id, error) in failed.into_iter().flatten() {
                tracing::warn!(content = %id, %error, "content lost: it does not get to the disk");
                let _edit = self.edit(&id);
                self.lose(self.shelf(), &id);
            }
        }
        self.dir.sync_shelves()?;
        let shelves: BTreeSet<u8> = ids.iter().map(|id| id.as_bytes()[0]).collect();
        let synced = together(shelves.into_iter().collect(), |first| {
            self.dir.sync_shelf(first)
        });
        synced.into_iter().collect()
    }

    /// Takes out a content whose bytes did not get to the disk, and lets go of the shelf.
    pub(crate) fn lose(&self, mut shelf: MutexGuard<'_, Shelf>, id: &ContentId) {
        let mut trash = Vec::new();
        self.take_off(&mut shelf, id, &mut trash);
        drop(shelf);
        self.dir.throw_out(trash);
    }
}
