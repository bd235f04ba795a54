//! What makes looking up fast. It can always be made again from the files.
//!
//! One row tells what is looked up of a content, with all names it can be found by. It
//! alone decides: the rows that lead from a name, or from a time of use, to a content
//! are compared with it, so that what a crash left behind of them does no harm.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use potluck_content::{ContentId, Digest, EntityKey};

use crate::disk::Disk;
use crate::index_bucket::{bucket_of, find, replace, rows};
use crate::index_row::{
    Entry, Name, content_row, decode_content, digest_name, entity_name, facts_names, name_row,
    name_start, names_in, queue_since, queue_start,
};
use crate::inner::lock;
use crate::rank::Queue;
use crate::standing::Standing;
use crate::tables::{Table, Tables, Unusable, set_aside};
use crate::{CacheError, Facts};

/// The index of a cache.
pub(crate) struct Index {
    path: PathBuf,
    disk: Disk,
    tables: RwLock<Arc<Tables>>,
    /// Rows share buckets: changes come one after the other.
    pub(crate) changing: Mutex<()>,
}

impl Index {
    /// Opens the index, or makes an empty one where there is none that can be used.
    pub(crate) fn open(path: &Path, disk: &Disk) -> Result<Self, CacheError> {
        Ok(Self {
            path: path.to_owned(),
            disk: disk.clone(),
            tables: RwLock::new(Arc::new(open_tables(path, disk)?)),
            changing: Mutex::new(()),
        })
    }

    /// Opens it again after it failed, or because there may be room for it now.
    pub(crate) fn reopen(&self) -> Result<(), CacheError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        // sled lets go of its files only when nobody has them any more.
        *tables = Arc::new(in_memory(&self.path, &self.disk)?);
        *tables = Arc::new(open_tables(&self.path, &self.disk)?);
        Ok(())
    }

    pub(crate) fn tables(&self) -> Arc<Tables> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&tables)
    }

    /// What is known of a content.
    pub(crate) fn get(&self, id: &ContentId) -> Option<Entry> {
        let bucket = self.bucket(Table::Contents, id.as_bytes());
        Some(decode_content(find(&bucket, id.as_bytes())?)?.1)
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
        let _changing = lock(&self.changing);
        let names = facts_names(id, facts);
        self.write(id, Some(entry), &names);
    }

    /// Whether it has this row of a content, and all its names lead somewhere.
    pub(crate) fn says(&self, id: &ContentId, entry: Entry, facts: &Facts) -> bool {
        let bucket = self.bucket(Table::Contents, id.as_bytes());
        let names = facts_names(id, facts);
        find(&bucket, id.as_bytes()) == Some(&content_row(id, entry, &names))
            && names.iter().all(|name| self.by_name(name).is_some())
    }

    /// Forgets a content and its names.
    pub(crate) fn remove(&self, id: &ContentId) {
        let _changing = lock(&self.changing);
        self.write(id, None, &[]);
    }

    /// Notes when a content was last used and where it stands.
    pub(crate) fn rerank(&self, id: &ContentId, new: Entry) {
        let _changing = lock(&self.changing);
        let bucket = self.bucket(Table::Contents, id.as_bytes());
        if let Some(row) = find(&bucket, id.as_bytes()) {
            let names: Vec<Name> = names_in(row).map(<[u8]>::to_vec).collect();
            self.write(id, Some(new), &names);
        }
    }

    /// All contents, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ContentId, Entry)> + use<> {
        self.after(None)
    }

    /// The contents that come after one in the order of their ids, or all.
    pub(crate) fn after(
        &self,
        id: Option<&ContentId>,
    ) -> impl Iterator<Item = (ContentId, Entry)> + use<> {
        let last = id.copied();
        let start = id.map_or([0; 3], |id| bucket_of(id.as_bytes()));
        Walk::new(self.tables(), start)
            .skip_while(move |(id, _)| last.is_some_and(|last| *id <= last))
    }

    /// A content and those that come after it in the order of their ids.
    pub(crate) fn from(&self, id: &ContentId) -> impl Iterator<Item = (ContentId, Entry)> + use<> {
        let first = *id;
        Walk::new(self.tables(), bucket_of(id.as_bytes())).skip_while(move |(id, _)| *id < first)
    }

    /// The head of a queue of contents that may be evicted, or what comes after a key in
    /// it, with its own key.
    pub(crate) fn next_in(
        &self,
        queue: Queue,
        after: Option<&[u8]>,
    ) -> Option<(Vec<u8>, ContentId, Entry)> {
        let tables = self.tables();
        let mut last = after.map_or(queue_start(queue, 0).to_vec(), <[u8]>::to_vec);
        loop {
            let next = tables.from(Table::ByAccess, Bound::Excluded(&last)).next();
            last = next?.0;
            if queue == Queue::Main && last.as_slice() >= &queue_start(Queue::Small, 0)[..] {
                return None;
            }
            let id = last.get(8..).and_then(|id| id.try_into().ok());
            let Some(id) = id.map(ContentId::from_bytes) else {
                continue;
            };
            match self.get(&id) {
                Some(entry) if entry.queue_key(&id).as_ref() == Some(&last) => {
                    return Some((last, id, entry));
                }
                // Left over: one half of a change that was cut off.
                _ => tables.remove(Table::ByAccess, &last),
            }
        }
    }

    /// The latest time at which something got its place in a queue; 0 when nothing has.
    pub(crate) fn last_stamp(&self) -> u64 {
        let tables = self.tables();
        let latest = |queue| {
            let end = queue_start(queue, u64::MAX);
            let last = tables.last_before(Table::ByAccess, &end)?;
            last.first_chunk().map(|start| queue_since(*start))
        };
        let latest = [Queue::Main, Queue::Small].map(latest);
        latest.into_iter().flatten().max().unwrap_or(0)
    }

    /// What was said at the last sync.
    pub(crate) fn standing(&self) -> Option<Standing> {
        Standing::decode(&self.tables().standing()?)
    }

    /// Makes durable what was noted, and how far that goes. Says whether it is.
    pub(crate) fn sync(&self, standing: &Standing) -> bool {
        self.tables().sync(Some(&standing.encode()))
    }

    /// Sees to it that it opens quickly the next time.
    pub(crate) fn close(&self) {
        self.tables().close_tidily();
    }

    /// The bucket of rows that begin with `start`; empty where there is none.
    pub(crate) fn bucket(&self, table: Table, start: &[u8]) -> Vec<u8> {
        let found = self.tables().get(table, &bucket_of(start));
        found.map(|bucket| bucket.to_vec()).unwrap_or_default()
    }

    fn by_name(&self, name: &[u8]) -> Option<ContentId> {
        let start = name_start(name);
        let names = self.bucket(Table::Names, &start);
        let half = find(&names, &start)?.get(start.len()..)?;
        let contents = self.bucket(Table::Contents, half);
        let row = find(&contents, half)?;
        let (id, _) = decode_content(row)?;
        names_in(row).any(|known| known == name).then_some(id)
    }

    /// Writes the row of a content, or removes it, and what leads to it.
    fn write(&self, id: &ContentId, new: Option<Entry>, names: &[Name]) {
        let tables = self.tables();
        let key = id.as_bytes();
        let bucket = self.bucket(Table::Contents, key);
        let old = find(&bucket, key);
        let place = |entry: Entry| entry.queue_key(id);
        let before = old.and_then(decode_content).and_then(|(_, e)| place(e));
        let after = new.and_then(place);
        for name in old.into_iter().flat_map(names_in) {
            if !names.iter().any(|kept| kept == name) {
                self.change_name(name, id, false);
            }
        }
        if let Some(stale) = before.as_ref().filter(|key| Some(*key) != after.as_ref()) {
            tables.remove(Table::ByAccess, stale);
        }
        let row = new.map(|entry| content_row(id, entry, names));
        if row.as_deref() != old {
            store(
                &tables,
                Table::Contents,
                key,
                &replace(&bucket, key, row.as_deref()),
            );
        }
        if let Some(key) = after.filter(|key| Some(key) != before.as_ref()) {
            tables.insert(Table::ByAccess, &key, &[]);
        }
        for name in names {
            self.change_name(name, id, true);
        }
    }

    /// Lets a name lead to a content, or to none if it leads to this one. A name that was
    /// given to another content since stays there.
    fn change_name(&self, name: &[u8], id: &ContentId, leads: bool) {
        let (start, row) = (name_start(name), name_row(name, id));
        let bucket = self.bucket(Table::Names, &start);
        let here = find(&bucket, &start) == Some(&row);
        if here != leads {
            let bucket = replace(&bucket, &start, leads.then_some(&row));
            store(&self.tables(), Table::Names, &start, &bucket);
        }
    }
}

/// Contents in the order of their ids.
struct Walk {
    tables: Arc<Tables>,
    start: Bound<[u8; 3]>,
    found: std::vec::IntoIter<(ContentId, Entry)>,
}

impl Walk {
    fn new(tables: Arc<Tables>, start: [u8; 3]) -> Self {
        Self {
            tables,
            start: Bound::Included(start),
            found: Vec::new().into_iter(),
        }
    }
}

/// Buckets that are read at once.
const AHEAD: usize = 64;

impl Iterator for Walk {
    type Item = (ContentId, Entry);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.found.next() {
                return Some(next);
            }
            let start = self.start.as_ref().map(|key| &key[..]);
            let buckets = self.tables.from(Table::Contents, start);
            let buckets: Vec<_> = buckets.take(AHEAD).collect();
            let last = buckets.last()?.0.as_slice().try_into().ok()?;
            self.start = Bound::Excluded(last);
            let entries = buckets.iter().flat_map(|(_, bucket)| rows(bucket));
            let found: Vec<_> = entries.filter_map(decode_content).collect();
            self.found = found.into_iter();
        }
    }
}

/// Writes a bucket, or removes it when it is empty.
pub(crate) fn store(tables: &Tables, table: Table, start: &[u8], bucket: &[u8]) {
    let key = bucket_of(start);
    if bucket.is_empty() {
        tables.remove(table, &key);
    } else {
        tables.insert(table, &key, bucket);
    }
}

fn open_tables(path: &Path, disk: &Disk) -> Result<Tables, CacheError> {
    let reason = match Tables::open(path, disk) {
        Ok(tables) => return Ok(tables),
        Err(Unusable::Damaged(reason)) => reason,
        Err(other) => return instead(path, disk, other),
    };
    tracing::warn!(path = %path.display(), %reason, "index set aside, to be rebuilt");
    set_aside(path, disk).map_err(|e| CacheError::io(path, e))?;
    Tables::open(path, disk).or_else(|unusable| instead(path, disk, unusable))
}

/// What to do without a database on disk.
fn instead(path: &Path, disk: &Disk, unusable: Unusable) -> Result<Tables, CacheError> {
    let reason = match unusable {
        Unusable::Full(reason) => {
            tracing::warn!(path = %path.display(), %reason, "index kept in memory, to be rebuilt");
            return in_memory(path, disk);
        }
        Unusable::Newer(format) => format!(
            "it has format {format}, which only a newer Potluck reads; \
             remove it to have it made again from the files"
        ),
        Unusable::Damaged(reason) => reason,
    };
    Err(index_error(path, reason))
}

fn in_memory(path: &Path, disk: &Disk) -> Result<Tables, CacheError> {
    Tables::in_memory(path, disk).map_err(|reason| index_error(path, reason))
}

fn index_error(path: &Path, reason: String) -> CacheError {
    CacheError::Index {
        path: path.to_owned(),
        reason,
    }
}
