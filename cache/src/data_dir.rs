//! The directories on disk, and how files get into them safely.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_content::ContentId;
use rustix::fs::{Mode, OFlags, open};

use crate::CacheError;
use crate::disk::{Disk, private_file};
use crate::inner::lock;
use crate::notice::Notices;
use crate::plain::{is_behind_link, is_link, open_plain};

/// The data directory, locked for as long as this lives.
///
/// ```text
/// contents/<2 hex>/<62 hex>        the bytes of a content, and beside them
/// contents/<2 hex>/<62 hex>.meta   what is known of it
/// partial/<name>, <name>.meta      the same for unfinished contents
/// partial/<name>.written           what was written of them, durable or not
/// scratch/                         files on their way in or out; emptied at open
/// aside/                           files that cannot be trusted; nothing reads them
/// index/                           the index
/// changes/<number>                 contents that changed and may not be in the index
/// lock                             held while a process has the directory open
/// ```
pub(crate) struct DataDir {
    pub(crate) disk: Disk,
    /// What is found out about the files.
    pub(crate) notices: Notices,
    root: PathBuf,
    scratch_count: AtomicU64,
    /// Whether directories were made in `contents` whose names may not be durable.
    new_shelves: Mutex<bool>,
    _lock: File,
}

impl DataDir {
    /// Makes what is missing, takes the lock and empties `scratch`.
    pub(crate) fn open(root: &Path, disk: Disk) -> Result<Self, CacheError> {
        disk.make_dir(root).map_err(|e| CacheError::io(root, e))?;
        let lock = take_lock(root)?;
        let dir = Self {
            disk,
            notices: Notices::default(),
            root: root.to_owned(),
            scratch_count: AtomicU64::new(0),
            new_shelves: Mutex::new(false),
            _lock: lock,
        };
        for name in ["contents", "partial", "scratch", "aside", "changes"] {
            let path = root.join(name);
            if is_link(&path) {
                let refused = "it is a symbolic link, which is not followed; \
                    to have the cache elsewhere, set data_dir";
                return Err(CacheError::io(&path, io::Error::other(refused)));
            }
            dir.make_dir(&path)?;
        }
        // Whoever made a directory may have died before its name was durable.
        for made in [root, &dir.contents()] {
            dir.sync_dir(made)?;
        }
        for (path, _) in list(&root.join("scratch"))? {
            dir.disk.discard(&path);
        }
        Ok(dir)
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    pub(crate) fn contents(&self) -> PathBuf {
        self.root.join("contents")
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn changes(&self) -> PathBuf {
        self.root.join("changes")
    }

    pub(crate) fn aside(&self) -> PathBuf {
        self.root.join("aside")
    }

    /// Where the bytes of a content lie.
    pub(crate) fn content(&self, id: &ContentId) -> PathBuf {
        let hex = id.to_hex();
        self.contents().join(&hex[..2]).join(&hex[2..])
    }

    /// A name in `scratch` that nobody else uses.
    pub(crate) fn scratch(&self) -> PathBuf {
        let number = self.scratch_count.fetch_add(1, Ordering::Relaxed);
        self.root.join("scratch").join(number.to_string())
    }

    /// Makes a new file in `scratch`.
    pub(crate) fn scratch_file(&self) -> Result<(PathBuf, File), CacheError> {
        let path = self.scratch();
        let file = self.disk.create_new(&path);
        let file = file.map_err(|e| CacheError::io(&path, e))?;
        Ok((path, file))
    }

    /// Makes sure that the directory of a content exists; after a crash only once
    /// [`DataDir::sync_shelves`] was called.
    pub(crate) fn prepare_content(&self, id: &ContentId) -> Result<(), CacheError> {
        let path = self.content(id);
        if let Some(parent) = path.parent()
            && (!parent.is_dir() || is_link(parent))
        {
            if is_link(parent) {
                tracing::warn!(path = %parent.display(), "symbolic link set aside: it is not followed");
                self.set_aside(parent);
            }
            let mut made = lock(&self.new_shelves);
            self.make_dir(parent)?;
            *made = true;
        }
        Ok(())
    }

    /// Makes the names of new directories of contents durable.
    pub(crate) fn sync_shelves(&self) -> Result<(), CacheError> {
        // Who finds nothing to do may rely on it: the lock is held until it is done.
        let mut made = lock(&self.new_shelves);
        if *made {
            self.sync_dir(&self.contents())?;
            *made = false;
        }
        Ok(())
    }

    /// Makes durable which names are in a directory of contents.
    pub(crate) fn sync_shelf(&self, first: u8) -> Result<(), CacheError> {
        let path = self.contents().join(format!("{first:02x}"));
        if path.is_dir() {
            self.sync_dir(&path)?;
        }
        Ok(())
    }

    /// Writes a whole file so that after a crash it is either the old or the new one.
    /// Its directory is not synced: see [`DataDir::sync_dir`].
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        self.replace_with(path, bytes, |file| self.disk.sync(file))
    }

    /// As [`DataDir::replace`], but after a loss of power it may be anything.
    pub(crate) fn replace_unsynced(&self, path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        self.replace_with(path, bytes, |_| Ok(()))
    }

    /// Writes bytes to a file where `place` says, by what is there. Nothing is synced.
    /// Says whether there was a place.
    pub(crate) fn add_to(
        &self,
        path: &Path,
        place: impl FnOnce(&[u8]) -> Option<u64>,
        bytes: &[u8],
    ) -> Result<bool, CacheError> {
        let add = || {
            let Some(at) = place(&read(path)?) else {
                return Ok(false);
            };
            let file = File::from(open(
                path,
                OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?);
            self.disk.write_at(&file, bytes, at).map(|()| true)
        };
        add().map_err(|e: io::Error| CacheError::io(path, e))
    }

    fn replace_with(
        &self,
        path: &Path,
        bytes: &[u8],
        sync: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), CacheError> {
        let (scratch, file) = self.scratch_file()?;
        let disk = &self.disk;
        let written = disk
            .write_at(&file, bytes, 0)
            .and_then(|()| sync(&file))
            .and_then(|()| disk.rename(&scratch, path));
        written.map_err(|error| {
            disk.discard(&scratch);
            CacheError::io(path, error)
        })
    }

    /// Takes a file out of sight at once. The bytes go when the returned name is
    /// discarded, which may take long and needs no lock.
    pub(crate) fn withdraw(&self, path: &Path) -> Option<PathBuf> {
        if is_behind_link(path) {
            return None;
        }
        let scratch = self.scratch();
        match self.disk.rename(path, &scratch) {
            Ok(()) => Some(scratch),
            Err(_) => {
                self.disk.discard(path);
                None
            }
        }
    }

    /// Moves a file that cannot be trusted to where nothing reads it.
    pub(crate) fn set_aside(&self, path: &Path) {
        if is_behind_link(path) {
            return;
        }
        let name = path.strip_prefix(&self.root).unwrap_or(path);
        let name = name.to_string_lossy().replace('/', "-");
        if self.disk.rename(path, &self.aside().join(name)).is_err() {
            self.disk.discard(path);
        }
    }

    /// Makes everything durable. Takes as long as all that others write to the disk.
    pub(crate) fn sync_all(&self) -> Result<(), CacheError> {
        let contents = self.contents();
        let synced = File::open(&contents).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        synced.map_err(|e| CacheError::io(&contents, e))
    }

    /// Makes the bytes of a file durable.
    pub(crate) fn sync_file(&self, path: &Path) -> Result<(), CacheError> {
        let synced = open_plain(path).and_then(|file| self.disk.sync(&file));
        synced.map_err(|e| CacheError::io(path, e))
    }

    /// Makes the names in a directory durable.
    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), CacheError> {
        let synced = self.disk.sync_dir(path);
        synced.map_err(|e| CacheError::io(path, e))
    }

    /// Discards files that are out of sight already.
    pub(crate) fn throw_out(&self, trash: Vec<PathBuf>) {
        for path in trash {
            self.disk.discard(&path);
        }
    }

    fn make_dir(&self, path: &Path) -> Result<(), CacheError> {
        let made = self.disk.make_dir(path);
        made.map_err(|e| CacheError::io(path, e))
    }
}

/// The sidecar of a file.
pub(crate) fn meta_path(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".meta");
    name.into()
}

/// The plain files of a directory.
pub(crate) fn list(path: &Path) -> Result<Vec<(PathBuf, String)>, CacheError> {
    let fail = |e| CacheError::io(path, e);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
        if let (true, Ok(name)) = (plain, entry.file_name().into_string()) {
            files.push((entry.path(), name));
        }
    }
    Ok(files)
}

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_plain(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The lock goes with the process, so a crash leaves none behind.
fn take_lock(root: &Path) -> Result<File, CacheError> {
    let path = root.join("lock");
    let fail = |e| CacheError::io(&path, e);
    let mut file = private_file()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            return Err(CacheError::InUse {
                dir: root.to_owned(),
                pid: read.ok().and_then(|_| text.trim().parse().ok()),
            });
        }
        Err(TryLockError::Error(error)) => return Err(fail(error)),
    }
    file.set_len(0).map_err(fail)?;
    file.rewind().map_err(fail)?;
    writeln!(file, "{}", std::process::id()).map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let first = DataDir::open(temp.path(), Disk::default()).unwrap();
        let Err(CacheError::InUse { pid, .. }) = DataDir::open(temp.path(), Disk::default()) else {
            panic!("opened twice");
        };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        DataDir::open(temp.path(), Disk::default()).unwrap();
    }

    #[test]
    fn scratch_is_emptied() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path(), Disk::default()).unwrap();
        let (path, _) = dir.scratch_file().unwrap();
        drop(dir);
        DataDir::open(temp.path(), Disk::default()).unwrap();
        assert!(!path.exists());
    }
}
