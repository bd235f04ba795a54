//! What makes looking up fast. It can always be made again from the files.
//!
//! sled 0.34 is behind it, and only this file knows. It has to be handled with care:
//! opening may panic or silently yield an empty database after a crash, and its flush
//! does not sync the file's length. So every call is guarded, a sentinel tells an empty
//! database from a lost one, a mark tells whether the last owner ended properly, and
//! after a flush the file is synced here.

use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use potluck_content::{ContentId, Digest, EntityKey};
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};
use sled::{Batch, Db, Tree};

use crate::disk::Disk;
use crate::index_row::{Entry, back, digest_name, entity_name, facts_names};
use crate::{CacheError, Facts};

/// The index, and what it says about itself when it is opened.
pub(crate) struct Index {
    path: PathBuf,
    disk: Disk,
    db: Db,
    contents: Tree,
    by_access: Tree,
    names: Tree,
    broken: AtomicBool,
}

/// Whether the index can be believed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The last owner closed it.
    Clean,
    /// It is new, or its owner died: read all files.
    Doubtful,
}

const CACHE_BYTES: u64 = 32 << 20;
const SENTINEL: &[u8] = b"potluck cache index";
const FORMAT: &[u8] = b"1";
const CLEAN: &[u8] = b"clean";

impl Index {
    /// Opens the index, or makes an empty one where there is none that can be used.
    pub(crate) fn open(path: &Path, disk: &Disk) -> Result<(Self, Trust), CacheError> {
        let (index, trust) = match Self::try_open(path, disk) {
            Ok(found) => found,
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "index set aside, to be rebuilt");
                set_aside(path, disk)?;
                Self::try_open(path, disk).map_err(|reason| CacheError::Index {
                    path: path.to_owned(),
                    reason,
                })?
            }
        };
        // Gone on disk before anything changes: whoever dies from here on leaves doubt.
        index.ask((), || index.db.remove(CLEAN).map(|_| ()));
        index.sync();
        Ok((index, trust))
    }

    fn try_open(path: &Path, disk: &Disk) -> Result<(Self, Trust), String> {
        if broken_mark(path).exists() {
            return Err("it failed while it was in use".to_owned());
        }
        guarded(|| {
            let db = open_db(path)?;
            let fresh = !db.was_recovered();
            let index = Self {
                path: path.to_owned(),
                disk: disk.clone(),
                contents: db.open_tree("contents")?,
                by_access: db.open_tree("by_access")?,
                names: db.open_tree("names")?,
                broken: AtomicBool::new(false),
                db,
            };
            let known = index.db.get(SENTINEL)?.is_some_and(|found| found == FORMAT);
            let clean = known && index.db.contains_key(CLEAN)?;
            if !known {
                if !fresh {
                    index.wipe()?;
                }
                index.db.insert(SENTINEL, FORMAT)?;
            }
            let trust = if clean { Trust::Clean } else { Trust::Doubtful };
            Ok((index, trust))
        })
    }

    /// What is known of a content.
    pub(crate) fn get(&self, id: &ContentId) -> Option<Entry> {
        let found = self.ask(None, || self.contents.get(id.as_bytes()))?;
        Entry::decode(&found)
    }

    /// The content of an entity.
    pub(crate) fn by_entity(&self, key: &EntityKey) -> Option<ContentId> {
        self.by_name(&entity_name(key))
    }

    /// The content of a digest other than BLAKE3.
    pub(crate) fn by_digest(&self, digest: &Digest) -> Option<ContentId> {
        self.by_name(&digest_name(digest))
    }

    /// Notes a content with all its names, in the place of what was known of it.
    pub(crate) fn put(&self, id: &ContentId, entry: Entry, facts: &Facts) {
        let mut names = Batch::default();
        for name in self.names_of(id) {
            names.remove(back(id, &name));
            // A name that was given to another content since stays there.
            if self.by_name(&name) == Some(*id) {
                names.remove(name);
            }
        }
        for name in facts_names(facts) {
            names.insert(back(id, &name), &[]);
            names.insert(name, id.as_bytes());
        }
        let stale = self.get(id);
        self.write(id, stale, Some(entry), &names);
    }

    /// Forgets a content and its names.
    pub(crate) fn remove(&self, id: &ContentId) {
        let mut names = Batch::default();
        for name in self.names_of(id) {
            names.remove(back(id, &name));
            if self.by_name(&name) == Some(*id) {
                names.remove(name);
            }
        }
        let stale = self.get(id);
        self.write(id, stale, None, &names);
    }

    /// Notes when a content was last used.
    pub(crate) fn touch(&self, id: &ContentId, accessed: u64) {
        if let Some(entry) = self.get(id) {
            let touched = Entry { accessed, ..entry };
            self.write(id, Some(entry), Some(touched), &Batch::default());
        }
    }

    /// All contents, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ContentId, Entry)> + '_ {
        self.entries(self.contents.iter())
    }

    /// The contents that come after one in the order of their ids, or all.
    pub(crate) fn after(
        &self,
        id: Option<&ContentId>,
    ) -> impl Iterator<Item = (ContentId, Entry)> + '_ {
        let start = id.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        self.entries(self.contents.range((start, Bound::Unbounded)))
    }

    /// A content and those that come after it in the order of their ids.
    pub(crate) fn from(&self, id: &ContentId) -> impl Iterator<Item = (ContentId, Entry)> + '_ {
        self.entries(self.contents.range(*id.as_bytes()..))
    }

    fn entries(&self, mut rows: sled::Iter) -> impl Iterator<Item = (ContentId, Entry)> + '_ {
        std::iter::from_fn(move || {
            loop {
                let (key, value) = self.ask(None, || rows.next().transpose())?;
                if let (Ok(id), Some(entry)) = (key.as_ref().try_into(), Entry::decode(&value)) {
                    return Some((ContentId::from_bytes(id), entry));
                }
            }
        })
    }

    /// Contents that may be evicted, the least recently used first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = (ContentId, Entry)> + '_ {
        let mut rows = self.by_access.iter();
        std::iter::from_fn(move || {
            loop {
                let (key, _) = self.ask(None, || rows.next().transpose())?;
                let id = key.get(8..).and_then(|id| id.try_into().ok());
                let Some(id) = id.map(ContentId::from_bytes) else {
                    continue;
                };
                match self.get(&id) {
                    Some(entry) if entry.access_key(&id).as_deref() == Some(&*key) => {
                        return Some((id, entry));
                    }
                    // Left over: one half of a change that was cut off.
                    _ => self.ask((), || self.by_access.remove(&key).map(|_| ())),
                }
            }
        })
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.ask((), || self.wipe());
    }

    /// Makes durable what was noted.
    pub(crate) fn sync(&self) {
        self.ask((), || {
            self.db.flush()?;
            // sled's flush leaves the file's length to the kernel.
            self.disk.sync(&File::open(self.path.join("db"))?)?;
            Ok(())
        });
    }

    /// Notes that the owner ends properly and everything is noted.
    pub(crate) fn close(&self) {
        self.sync();
        if !self.broken.load(Ordering::Relaxed) {
            self.ask((), || self.db.insert(CLEAN, &[]).map(|_| ()));
            self.sync();
        }
    }

    fn by_name(&self, name: &[u8]) -> Option<ContentId> {
        let found = self.ask(None, || self.names.get(name))?;
        found.as_ref().try_into().ok().map(ContentId::from_bytes)
    }

    /// The names that are noted for a content.
    fn names_of(&self, id: &ContentId) -> Vec<Vec<u8>> {
        let prefix = back(id, &[]);
        self.ask(Vec::new(), || {
            self.names
                .scan_prefix(&prefix)
                .keys()
                .map(|key| key.map(|key| key[prefix.len()..].to_vec()))
                .collect()
        })
    }

    fn write(&self, id: &ContentId, old: Option<Entry>, new: Option<Entry>, names: &Batch) {
        let mut contents = Batch::default();
        let mut by_access = Batch::default();
        if let Some(key) = old.and_then(|old| old.access_key(id)) {
            by_access.remove(key);
        }
        match new {
            Some(new) => {
                contents.insert(id.as_bytes(), new.encode());
                if let Some(key) = new.access_key(id) {
                    by_access.insert(key, &[]);
                }
            }
            None => contents.remove(id.as_bytes()),
        }
        self.ask((), || {
            (&self.contents, &self.by_access, &self.names)
                .transaction(|(c, a, n)| {
                    c.apply_batch(&contents)?;
                    a.apply_batch(&by_access)?;
                    n.apply_batch(names)?;
                    Ok::<_, ConflictableTransactionError<()>>(())
                })
                .map_err(|error| match error {
                    TransactionError::Storage(error) => error,
                    TransactionError::Abort(()) => {
                        sled::Error::Unsupported("nothing here aborts".to_owned())
                    }
                })
        });
    }

    fn wipe(&self) -> sled::Result<()> {
        self.contents.clear()?;
        self.by_access.clear()?;
        self.names.clear()
    }

    /// Asks sled. Where it fails the answer is `or`: a cache may miss, but it must not
    /// stop the node. The index is then made again at the next start.
    fn ask<T>(&self, or: T, call: impl FnOnce() -> sled::Result<T>) -> T {
        guarded(call).unwrap_or_else(|reason| {
            if !self.broken.swap(true, Ordering::Relaxed) {
                tracing::error!(path = %self.path.display(), %reason, "index failed");
                let _ = self.disk.create(&broken_mark(&self.path));
            }
            or
        })
    }
}

fn open_db(path: &Path) -> sled::Result<Db> {
    // A closed database keeps its file locked until its threads are gone. Nobody else
    // can hold it: the data directory is locked.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let opened = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            // By itself it would sync twice a second for ever, and keep a disk at rest awake.
            // What it loses in a crash the sidecars give back.
            .flush_every_ms(None)
            .open();
        match opened {
            Err(sled::Error::Io(error))
                if error.to_string().contains("lock") && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

/// sled panics on some damage.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("sled panicked".to_owned()),
    }
}

fn broken_mark(path: &Path) -> PathBuf {
    path.with_extension("broken")
}

/// Keeps one broken index, for whoever wants to find out why.
fn set_aside(path: &Path, disk: &Disk) -> Result<(), CacheError> {
    let aside = path.with_extension("old");
    let _ = disk.remove_dir(&aside);
    if path.exists() {
        let moved = if path.is_dir() {
            disk.rename(path, &aside)
        } else {
            disk.remove(path)
        };
        moved.map_err(|e| CacheError::io(path, e))?;
    }
    disk.discard(&broken_mark(path));
    Ok(())
}
