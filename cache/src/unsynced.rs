//! Contents that are in the cache before they are durable.
//!
//! To sync the few bytes of a small content, its sidecar and its directory takes longer than
//! to fetch it. So contents of one piece are admitted without, and many are synced together.
//! Until then their sidecars say in which run of the kernel they were written: the death
//! of the process costs nothing, and after a loss of power what is found is hashed before it
//! is believed. See [`Meta::read`](crate::meta::Meta::read).

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use potluck_content::ContentId;

use crate::CacheError;
use crate::changes::Change;
use crate::data_dir::meta_path;
use crate::inner::{Inner, lock};
use crate::meta::Meta;
use crate::plain::open_own;
use crate::shelf::Shelf;

/// When a change is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// When the call returns.
    Now,
    /// With the next sync of all, where the sidecar says that this may be. Until then a
    /// loss of power may undo it, or take the content.
    Soon,
}

/// Contents that may not be durable.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// With a mark that is another after each change.
    marks: BTreeMap<ContentId, u64>,
    last: u64,
}

impl Unsynced {
    pub(crate) fn insert(&mut self, id: ContentId) {
        self.last += 1;
        self.marks.insert(id, self.last);
    }

    fn contains(&self, id: &ContentId) -> bool {
        self.marks.contains_key(id)
    }

    fn remove(&mut self, id: &ContentId) {
        self.marks.remove(id);
    }

    /// Those there are, as they are now.
    pub(crate) fn marks(&self) -> BTreeMap<ContentId, u64> {
        self.marks.clone()
    }

    /// These are durable, unless they changed since.
    pub(crate) fn are_synced(&mut self, marks: &BTreeMap<ContentId, u64>) {
        self.marks.retain(|id, mark| marks.get(id) != Some(mark));
    }
}

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
            let bytes = meta.encode();
            if !self.dir.add_to(&path, Meta::end_of, &bytes)? {
                // It goes over one that may be durable, and must not be less than that.
                self.dir.replace(&path, &bytes)?;
            }
            self.sync_soon(id);
            return Ok(change);
        }
        let change = self.changes.note(id)?;
        if meta.unsynced.take().is_some() {
            self.sync_bytes(id)?;
        }
        self.write_meta(id, meta)?;
        Ok(change)
    }

    /// Makes the bytes of a content durable.
    fn sync_bytes(&self, id: &ContentId) -> Result<(), CacheError> {
        let data = self.dir.content(id);
        let fail = |e| CacheError::io(&data, e);
        // One that cannot be opened just now is not lost.
        let file = open_own(&data).map_err(fail)?;
        let file = file.ok_or(CacheError::NotHeld(*id))?;
        self.dir.disk.sync(&file).map_err(|error| {
            // It will not be told twice that its bytes did not get to the disk.
            self.lose(self.shelf(), id);
            fail(error)
        })
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

    /// Takes out a content whose bytes did not get to the disk, and lets go of the shelf.
    /// Who leases it can see that.
    pub(crate) fn lose(&self, mut shelf: MutexGuard<'_, Shelf>, id: &ContentId) {
        if let Some(open) = shelf.open.get(id) {
            open.news.set_lost();
        }
        let mut trash = Vec::new();
        self.take_off(&mut shelf, id, &mut trash);
        drop(shelf);
        lock(&self.unsynced).remove(id);
        self.dir.throw_out(trash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_while_it_is_synced_is_synced_again() {
        let [a, b] = [b"a", b"b"].map(|bytes| ContentId::of(bytes));
        let mut unsynced = Unsynced::default();
        unsynced.insert(a);
        unsynced.insert(b);
        let marks = unsynced.marks();
        unsynced.insert(b);
        unsynced.are_synced(&marks);
        assert!(!unsynced.contains(&a) && unsynced.contains(&b));
        unsynced.are_synced(&unsynced.marks());
        assert!(unsynced.marks().is_empty());
    }
}
