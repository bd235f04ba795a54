//! The tables of the index, in sled. No other file knows of it.
//!
//! sled 0.34 has to be handled with care. After a crash it may panic when it is opened,
//! or open silently empty; its flush does not sync the file's length; after a write that
//! failed it is of no use until it is opened again, for which it needs room on the disk.
//! So every call is guarded, a mark tells an empty database from a lost one, the file is
//! synced here after a flush, and where the disk is full the tables are kept in memory.

use std::fs::File;
use std::io;
use std::ops::{Bound, Deref};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sled::{Db, Tree};

use crate::disk::Disk;
use crate::error::is_full;

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Buckets of rows, each about one content.
    Contents,
    /// When contents were used that may be evicted.
    ByAccess,
    /// Buckets of rows that lead from names to contents.
    Names,
}

/// An open database.
pub(crate) struct Tables {
    db: Db,
    trees: [Tree; 3],
    path: PathBuf,
    disk: Disk,
    in_memory: bool,
    broken: AtomicBool,
    written: AtomicU64,
    /// Goes last, when the database is closed.
    again: OpenAgain,
}

/// Opens a closed database once more, which makes sled note down where everything is.
struct OpenAgain {
    path: PathBuf,
    disk: Disk,
    wanted: AtomicBool,
}

impl Drop for OpenAgain {
    fn drop(&mut self) {
        if self.wanted.load(Ordering::Relaxed) {
            let _ = Tables::open(&self.path, &self.disk);
        }
    }
}

/// Why the database cannot be opened.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// A newer Potluck wrote it, in this format.
    Newer(u32),
    /// The disk is full.
    Full(String),
    /// Anything else: it is damaged, or of an older Potluck.
    Damaged(String),
}

/// What sled may hold of its pages. It counts them as they are on disk; in memory they
/// take about three times as much. With a million contents and less than this, looking up
/// takes no longer, because the kernel holds the file; with 32 MiB the whole process
/// would come close to 150 MB.
const CACHE_BYTES: u64 = 8 << 20;

const MARK: &[u8] = b"potluck cache index";
/// 1 had a row for each content and two for each of its names, 2 no URLs.
const FORMAT: u32 = 3;
const STANDING: &[u8] = b"standing";

/// Bytes that sled would have to read again when it is opened the next time, which takes
/// some tenths of a second. It notes down where everything is only when it is opened.
const MUCH_LOG: u64 = 16 << 20;

impl Tables {
    /// Opens the database in a directory, or makes it.
    pub(crate) fn open(path: &Path, disk: &Disk) -> Result<Self, Unusable> {
        if broken_mark(path).exists() {
            return Err(Unusable::Damaged(
                "it failed while it was in use".to_owned(),
            ));
        }
        let config = sled::Config::new().path(path);
        let (tables, format) = guarded(|| {
            let db = open_db(&config)?;
            let recovered = db.was_recovered();
            let tables = Self::of(db, path, disk, false)?;
            let format = tables.format(recovered)?;
            Ok((tables, format))
        })
        .map_err(|failure| match failure {
            Failure::Full(reason) => Unusable::Full(reason),
            Failure::Other(reason) => Unusable::Damaged(reason),
        })?;
        match format {
            FORMAT => Ok(tables),
            newer if newer > FORMAT => Err(Unusable::Newer(newer)),
            older => Err(Unusable::Damaged(format!(
                "it has format {older}, of an older Potluck"
            ))),
        }
    }

    /// Empty tables that are gone with the process: sled puts them where memory is used
    /// as a disk.
    pub(crate) fn in_memory(path: &Path, disk: &Disk) -> Result<Self, String> {
        let config = sled::Config::new().temporary(true);
        guarded(|| Self::of(open_db(&config)?, path, disk, true)).map_err(Failure::into_reason)
    }

    fn of(db: Db, path: &Path, disk: &Disk, in_memory: bool) -> sled::Result<Self> {
        Ok(Self {
            trees: [
                db.open_tree("contents")?,
                db.open_tree("by_access")?,
                db.open_tree("names")?,
            ],
            db,
            path: path.to_owned(),
            disk: disk.clone(),
            in_memory,
            broken: AtomicBool::new(false),
            written: AtomicU64::new(0),
            again: OpenAgain {
                path: path.to_owned(),
                disk: disk.clone(),
                wanted: AtomicBool::new(false),
            },
        })
    }

    /// The format that the database says it has. One that says nothing is new, or was
    /// lost: what may be left in it is removed.
    fn format(&self, recovered: bool) -> sled::Result<u32> {
        if let Some(found) = self.db.get(MARK)? {
            let text = std::str::from_utf8(&found).ok();
            return Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0));
        }
        if recovered {
            self.db.remove(STANDING)?;
            for tree in &self.trees {
                tree.clear()?;
            }
        }
        self.db.insert(MARK, FORMAT.to_string().as_bytes())?;
        Ok(FORMAT)
    }

    /// Whether they are gone with the process.
    pub(crate) const fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Whether a call failed since they were opened.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(crate) fn get(
        &self,
        table: Table,
        key: &[u8],
    ) -> Option<impl Deref<Target = [u8]> + use<>> {
        self.ask(None, || self.tree(table).get(key))
    }

    pub(crate) fn insert(&self, table: Table, key: &[u8], value: &[u8]) {
        let len = (key.len() + value.len()) as u64;
        self.written.fetch_add(len, Ordering::Relaxed);
        self.ask((), || self.tree(table).insert(key, value).map(drop));
    }

    pub(crate) fn remove(&self, table: Table, key: &[u8]) {
        self.ask((), || self.tree(table).remove(key).map(drop));
    }

    pub(crate) fn clear(&self, table: Table) {
        self.ask((), || self.tree(table).clear());
    }

    /// Keys and values, in order, from a key on.
    pub(crate) fn from(
        &self,
        table: Table,
        start: Bound<&[u8]>,
    ) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + use<'_> {
        let mut rows = self
            .tree(table)
            .range::<&[u8], _>((start, Bound::Unbounded));
        std::iter::from_fn(move || {
            let (key, value) = self.ask(None, || rows.next().transpose())?;
            Some((key.to_vec(), value.to_vec()))
        })
    }

    /// The last key before this one.
    pub(crate) fn last_before(&self, table: Table, end: &[u8]) -> Option<Vec<u8>> {
        let last = self.ask(None, || self.tree(table).get_lt(end))?;
        Some(last.0.to_vec())
    }

    /// What was said at the last [`Tables::sync`].
    pub(crate) fn standing(&self) -> Option<Vec<u8>> {
        self.ask(None, || self.db.get(STANDING))
            .map(|found| found.to_vec())
    }

    /// Makes durable what was written, and this after it. Says whether it did.
    pub(crate) fn sync(&self, standing: Option<&[u8]>) -> bool {
        // Of what was to be written, something is missing.
        if self.is_broken() {
            return false;
        }
        self.ask(false, || {
            match standing {
                Some(standing) => self.db.insert(STANDING, standing)?,
                None => self.db.remove(STANDING)?,
            };
            if self.in_memory {
                return Ok(false);
            }
            self.db.flush()?;
            // sled's flush leaves the file's length to the kernel.
            self.disk.sync(&File::open(self.path.join("db"))?)?;
            Ok(true)
        })
    }

    /// Sees to it that the database opens quickly the next time, at the cost of closing
    /// slowly now.
    pub(crate) fn close_tidily(&self) {
        let much = self.written.load(Ordering::Relaxed) > MUCH_LOG;
        let good = !self.in_memory && !self.is_broken();
        self.again.wanted.store(much && good, Ordering::Relaxed);
    }

    const fn tree(&self, table: Table) -> &Tree {
        &self.trees[table as usize]
    }

    /// Asks sled. Where it fails the answer is `or`: a cache may miss, but it must not
    /// stop the node. The index is then made again.
    fn ask<T>(&self, or: T, call: impl FnOnce() -> sled::Result<T>) -> T {
        guarded(call).unwrap_or_else(|failure| {
            if !self.broken.swap(true, Ordering::Relaxed) {
                let reason = failure.into_reason();
                tracing::error!(path = %self.path.display(), reason, "index failed");
                if !self.in_memory {
                    let _ = self.disk.create(&broken_mark(&self.path));
                }
            }
            or
        })
    }
}

/// Moves away a database that cannot be used. One is kept, for whoever wants to find out
/// why.
pub(crate) fn set_aside(path: &Path, disk: &Disk) -> io::Result<()> {
    let aside = path.with_extension("old");
    let _ = disk.remove_dir(&aside);
    if path.is_dir() {
        disk.rename(path, &aside)?;
    } else if path.exists() {
        disk.remove(path)?;
    }
    disk.discard(&broken_mark(path));
    Ok(())
}

fn broken_mark(path: &Path) -> PathBuf {
    path.with_extension("broken")
}

fn open_db(config: &sled::Config) -> sled::Result<Db> {
    let config = config
        .clone()
        .cache_capacity(CACHE_BYTES)
        // By itself it would sync twice a second for ever, and keep a disk at rest awake.
        // What it loses in a crash the files give back.
        .flush_every_ms(None);
    // A closed database keeps its file locked until its threads are gone. Nobody else
    // can hold it: the data directory is locked.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("lock") && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

/// What sled said, as far as it matters.
enum Failure {
    Full(String),
    Other(String),
}

impl Failure {
    fn into_reason(self) -> String {
        match self {
            Self::Full(reason) | Self::Other(reason) => reason,
        }
    }
}

/// sled panics on some damage.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) if is_full(&error) => Err(Failure::Full(error.to_string())),
        Ok(Err(error)) => Err(Failure::Other(error.to_string())),
        Err(_) => Err(Failure::Other("sled panicked".to_owned())),
    }
}
