//! The cache as its users see it.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use potluck_content::{ContentId, Digest, Entity, EntityKey, PieceIndex};

use crate::disk::Disk;
use crate::inner::Inner;
use crate::shelf::{from_micros, micros};
use crate::unsynced::When;
use crate::{
    CacheError, Checked, CheckedPart, Config, ContentRecord, DiskWatcher, Evicted, Facts, Held,
    Lease, Limits, Notice, Partial, PartialSpec, Usage,
};

/// All contents on this disk. Cheap to clone; used from any thread that may block.
#[derive(Clone)]
pub struct Cache {
    pub(crate) inner: Arc<Inner>,
}

impl Cache {
    /// Opens the cache of a data directory, making what is missing. When the last owner
    /// did not end properly, it looks at the contents that changed last; at all of them
    /// when the index is lost.
    ///
    /// # Errors
    /// [`CacheError::InUse`] when another process, or another part of this one, has it
    /// open; others when the directory cannot be used.
    pub fn open(config: Config) -> Result<Self, CacheError> {
        Self::open_on(config, Disk::default())
    }

    /// Opens it as [`Cache::open`] does, with somebody who looks on and can make the disk
    /// fail. For tests.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_watched(config: Config, watcher: Arc<dyn DiskWatcher>) -> Result<Self, CacheError> {
        Self::open_on(config, Disk::watched(watcher))
    }

    fn open_on(config: Config, disk: Disk) -> Result<Self, CacheError> {
        let cache = Self {
            inner: Arc::new(Inner::open(config, disk)?),
        };
        cache.evict_expired(SystemTime::now());
        cache.inner.enforce_limit();
        Ok(cache)
    }

    /// The bounds it keeps to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.shelf().limits
    }

    /// Changes the bounds. What exceeds them goes at once, as far as it is not leased.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.shelf().limits = limits;
        self.evict_expired(SystemTime::now());
        self.inner.enforce_limit();
        self.keep_min_free();
    }

    /// Lets contents go where others took what is to stay free of the disk: see
    /// [`Limits::min_free`]. Says how many bytes went. Call it now and then.
    pub fn keep_min_free(&self) -> u64 {
        self.inner.keep_min_free().unwrap_or_else(|error| {
            tracing::warn!(%error, "free room of the disk not known");
            0
        })
    }

    /// What it holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.shelf().usage
    }

    /// The complete content of an entity.
    #[must_use]
    pub fn find_entity(&self, key: &EntityKey) -> Option<ContentId> {
        self.inner.index.by_entity(key)
    }

    /// The complete content of a digest.
    #[must_use]
    pub fn find_digest(&self, digest: &Digest) -> Option<ContentId> {
        match digest {
            Digest::B3(id) => self.held(id).map(|held| held.id),
            other => self.inner.index.by_digest(other),
        }
    }

    /// Whether a complete content is held, without opening or touching it.
    #[must_use]
    pub fn held(&self, id: &ContentId) -> Option<Held> {
        let entry = self.inner.index.get(id)?;
        Some(Held {
            id: *id,
            size: entry.size,
            validated: entry.validated,
        })
    }

    /// Opens a complete content to be read and protects it from eviction. Notes the use.
    #[must_use]
    pub fn lease(&self, id: &ContentId) -> Option<Lease> {
        self.inner.open_content(id).map(Lease::new)
    }

    /// Opens the complete content of an entity, as [`Cache::lease`] does.
    #[must_use]
    pub fn lease_entity(&self, key: &EntityKey) -> Option<Lease> {
        self.lease(&self.find_entity(key)?)
    }

    /// Begins or resumes an unfinished content. Pieces that were checkpointed are held
    /// again, unless the spec says that they belong to something else.
    ///
    /// # Errors
    /// [`CacheError::Busy`] when it is open already; others when the disk fails.
    pub fn partial(&self, spec: PartialSpec) -> Result<Partial, CacheError> {
        Partial::open(&self.inner, spec)
    }

    /// Adds a file of this machine, as a clone where the filesystem can. The content is
    /// validated: whoever adds it vouches for it. `progress` is told the bytes read so
    /// far.
    ///
    /// # Errors
    /// When the file cannot be read or the cache has no room for it.
    pub fn add_file(
        &self,
        path: &Path,
        progress: impl FnMut(u64),
    ) -> Result<ContentRecord, CacheError> {
        self.add_file_with(path, &Facts::default(), progress)
    }

    /// As [`Cache::add_file`], of which more is known. If it is pinned, it need not fit
    /// under the limit.
    ///
    /// # Errors
    /// As [`Cache::add_file`].
    pub fn add_file_with(
        &self,
        path: &Path,
        facts: &Facts,
        progress: impl FnMut(u64),
    ) -> Result<ContentRecord, CacheError> {
        let facts = Facts {
            validated: true,
            ..facts.clone()
        };
        let open = self.inner.add_file(path, &facts, progress)?;
        // Leased until it was looked at: what comes meanwhile must not make it go.
        let lease = Lease::new(open);
        self.inner.sync_if_many();
        let id = lease.id();
        self.show(&id).ok_or(CacheError::NotHeld(id))
    }

    /// Says whether the content was vouched for, that is whether peers may have it.
    ///
    /// # Errors
    /// When it is not held, or the disk fails.
    pub fn set_validated(&self, id: &ContentId, validated: bool) -> Result<(), CacheError> {
        self.update(id, |facts| facts.validated = validated)
    }

    /// Keeps a content whatever the limits say, or no longer. It is outside the limit and
    /// makes none of the others go; when it comes back under the limit, room is made.
    ///
    /// # Errors
    /// When it is not held, or the disk fails.
    pub fn set_pinned(&self, id: &ContentId, pinned: bool) -> Result<(), CacheError> {
        self.update(id, |facts| facts.pinned = pinned)
    }

    /// Notes that an entity has the bytes of a content. It may have had others before.
    ///
    /// # Errors
    /// When the content is not held, or the disk fails.
    pub fn link_entity(&self, entity: &Entity, id: &ContentId) -> Result<(), CacheError> {
        let before = self.find_entity(&entity.key());
        self.update(id, |facts| facts.add_entity(entity))?;
        match before.filter(|before| before != id) {
            Some(before) => self.unlink(entity, &before),
            None => Ok(()),
        }
    }

    /// Notes that an entity has other bytes now: an index made again could lead back to
    /// the old ones.
    fn unlink(&self, entity: &Entity, before: &ContentId) -> Result<(), CacheError> {
        match self.update(before, |facts| facts.entities.retain(|e| e != entity)) {
            Err(CacheError::NotHeld(_)) => Ok(()),
            other => other,
        }
    }

    /// Vouches for a content that came for a job, and notes which entity it is. Of a
    /// content of one piece this is durable after the next [`Cache::sync_contents`] or
    /// [`Cache::flush`].
    ///
    /// # Errors
    /// When the content is not held, or the disk fails.
    pub fn vouch(&self, id: &ContentId, entity: Option<&Entity>) -> Result<(), CacheError> {
        let before = entity.and_then(|entity| self.find_entity(&entity.key()));
        self.change(id, When::Soon, |facts| {
            facts.validated = true;
            if let Some(entity) = entity {
                facts.add_entity(entity);
            }
        })?;
        match (entity, before) {
            (Some(entity), Some(before)) if before != *id => self.unlink(entity, &before),
            _ => Ok(()),
        }
    }

    /// Notes that a content has a digest that was checked.
    ///
    /// # Errors
    /// When the content is not held, or the disk fails.
    pub fn link_digest(&self, digest: &Digest, id: &ContentId) -> Result<(), CacheError> {
        self.update(id, |facts| facts.add_digest(digest))
    }

    /// Changes several facts at once, with one write; durable when it returns.
    ///
    /// # Errors
    /// When the content is not held, or the disk fails.
    pub fn update(
        &self,
        id: &ContentId,
        change: impl FnOnce(&mut Facts),
    ) -> Result<(), CacheError> {
        self.change(id, When::Now, change)
    }

    fn change(
        &self,
        id: &ContentId,
        when: When,
        change: impl FnOnce(&mut Facts),
    ) -> Result<(), CacheError> {
        {
            let _edit = self.inner.edit(id);
            self.inner.change_facts(id, when, change)?;
        }
        if self.inner.shelf().surplus() > 0 {
            self.inner.enforce_limit();
        }
        Ok(())
    }

    /// Everything about every complete content, in no order that means anything. Reads
    /// all sidecars.
    #[must_use]
    pub fn list(&self) -> Vec<ContentRecord> {
        let ids: Vec<_> = self.inner.index.iter().map(|(id, _)| id).collect();
        ids.iter().filter_map(|id| self.show(id)).collect()
    }

    /// Everything about one complete content. Does not count as a use.
    #[must_use]
    pub fn show(&self, id: &ContentId) -> Option<ContentRecord> {
        self.inner.index.get(id)?;
        let meta = self.inner.look_at_meta(id)?;
        self.inner.agree(id, &meta);
        let entry = self.inner.index.get(id)?;
        let shelf = self.inner.shelf();
        Some(ContentRecord {
            id: *id,
            size: entry.size,
            cached: entry.cached,
            facts: meta.facts,
            added: meta.added,
            accessed: from_micros(shelf.last_touch(id).unwrap_or(entry.accessed)),
            leased: shelf.is_leased(id),
        })
    }

    /// Reads a content from the disk and compares every piece with what it was. One that
    /// differs is taken out and not served again; its good pieces are kept as an
    /// unfinished content where a transfer would go on with it. Not a use of it.
    /// `progress` is told the bytes read so far.
    ///
    /// # Errors
    /// [`CacheError::NotHeld`] when it is not held; others when it cannot be read, which
    /// says nothing against it.
    pub fn check(&self, id: &ContentId, progress: impl FnMut(u64)) -> Result<Checked, CacheError> {
        self.inner.check(id, progress)
    }

    /// Reads a content from one of its pieces on, about `max_bytes` of it but at least a
    /// piece, and compares. Takes out nothing: what it finds [`Cache::check`] sees to.
    ///
    /// # Errors
    /// As [`Cache::check`]; [`CacheError::NotHeld`] also where the files as a whole could
    /// not be trusted and were set aside.
    pub fn check_part(
        &self,
        id: &ContentId,
        from: PieceIndex,
        max_bytes: u64,
    ) -> Result<CheckedPart, CacheError> {
        self.inner.check_part(id, from, max_bytes)
    }

    /// As [`Cache::check`], and says only whether it is good.
    ///
    /// # Errors
    /// As [`Cache::check`].
    pub fn verify(&self, id: &ContentId, progress: impl FnMut(u64)) -> Result<bool, CacheError> {
        Ok(self.check(id, progress)?.is_good())
    }

    /// What was found out about the files since this was last asked. Call it now and
    /// then, also once after opening.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        self.inner.dir.notices.take()
    }

    /// Removes a content, pinned or not. Leases on it can still be read. Says whether
    /// it was there. It stays away when this returns, whatever happens.
    ///
    /// # Errors
    /// When the disk fails. It is not held any more then, but may come back with a loss of
    /// power.
    pub fn remove(&self, id: &ContentId) -> Result<bool, CacheError> {
        let mut trash = Vec::new();
        let gone = {
            let _edit = self.inner.edit(id);
            let removed = self.inner.take_off(&mut self.inner.shelf(), id, &mut trash);
            removed.map(|_| self.inner.dir.sync_shelf(id.as_bytes()[0]))
        };
        self.inner.dir.throw_out(trash);
        self.inner.sync_if_many();
        gone.map_or(Ok(false), |gone| gone.map(|()| true))
    }

    /// Lets go what was not used for [`Limits::max_age`], complete or not.
    pub fn evict_expired(&self, now: SystemTime) -> Evicted {
        let max_age = self.limits().max_age;
        let before = now.checked_sub(max_age).map_or(0, micros);
        let mut evicted = self.inner.evict_older_than(before);
        let mut trash = Vec::new();
        let mut shelf = self.inner.shelf();
        self.inner.drop_uncached(&mut shelf, before, &mut trash);
        drop(shelf);
        self.inner.dir.throw_out(trash);
        self.inner.sync_if_many();
        match self.inner.expire_files(now) {
            Ok(partials) => evicted.partials = partials,
            Err(error) => tracing::warn!(%error, "unfinished contents not looked through"),
        }
        evicted
    }

    /// Deletes finished contents that did not fit into the cache and that nobody leases.
    /// They survive the end of the process so that jobs can lease them again: call this
    /// when all jobs have done so.
    pub fn drop_unclaimed(&self) {
        let mut trash = Vec::new();
        let mut shelf = self.inner.shelf();
        self.inner.drop_uncached(&mut shelf, u64::MAX, &mut trash);
        drop(shelf);
        self.inner.dir.throw_out(trash);
        self.inner.sync_if_many();
    }

    /// Says that the process ends: from now on, contents that are not cached stay when
    /// their last lease goes, so that jobs find them again.
    pub fn begin_shutdown(&self) {
        self.inner.shelf().closing = true;
    }

    /// Makes durable all contents that are here. Those of more than one piece are so
    /// anyway, the others with the next [`Cache::flush`] at the latest. Blocks.
    ///
    /// # Errors
    /// [`CacheError::Lost`] when some did not get to the disk, and were taken out: their
    /// [leases say so](Lease::is_lost). The others are durable. Others when a file cannot
    /// be opened or the disk fails; then it can be tried again.
    pub fn sync_contents(&self) -> Result<(), CacheError> {
        self.inner.sync_contents_only()
    }

    /// Makes contents, access times and the index durable. Call it now and then, and
    /// before the end.
    pub fn flush(&self) {
        self.inner.sync();
    }

    /// Makes the index again from the files. Nothing else is done meanwhile.
    ///
    /// # Errors
    /// When the directories cannot be read.
    pub fn rebuild_index(&self) -> Result<(), CacheError> {
        self.inner.rebuild_index()
    }
}
