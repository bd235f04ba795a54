//! The directories on disk, and how files get into them safely.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_content::ContentId;

use crate::CacheError;

/// The data directory, locked for as long as this lives.
///
/// ```text
/// contents/<2 hex>/<62 hex>        the bytes of a content, and beside them
/// contents/<2 hex>/<62 hex>.meta   what is known of it
/// partial/<name>, <name>.meta      the same for unfinished contents
/// scratch/                         files on their way in or out; emptied at open
/// aside/                           files that cannot be trusted; nothing reads them
/// index/                           the index
/// lock                             held while a process has the directory open
/// ```
pub(crate) struct DataDir {
    root: PathBuf,
    scratch_count: AtomicU64,
    _lock: File,
}

impl DataDir {
    /// Makes what is missing, takes the lock and empties `scratch`.
    pub(crate) fn open(root: &Path) -> Result<Self, CacheError> {
        make_dir(root)?;
        let lock = take_lock(root)?;
        let dir = Self {
            root: root.to_owned(),
            scratch_count: AtomicU64::new(0),
            _lock: lock,
        };
        for name in ["contents", "partial", "scratch", "aside"] {
            make_dir(&root.join(name))?;
        }
        for (path, _) in list(&root.join("scratch"))? {
            discard(&path);
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
        let file = private_file()
            .create_new(true)
            .open(&path)
            .map_err(|e| CacheError::io(&path, e))?;
        Ok((path, file))
    }

    /// Makes sure that the directory of a content exists, also after a crash.
    pub(crate) fn prepare_content(&self, id: &ContentId) -> Result<(), CacheError> {
        let path = self.content(id);
        if let Some(parent) = path.parent()
            && !parent.is_dir()
        {
            make_dir(parent)?;
            sync_dir(&self.contents())?;
        }
        Ok(())
    }

    /// Writes a whole file so that after a crash it is either the old or the new one.
    /// Its directory is not synced: see [`sync_dir`].
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        let (scratch, mut file) = self.scratch_file()?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&scratch, path));
        written.map_err(|error| {
            discard(&scratch);
            CacheError::io(path, error)
        })
    }

    /// Takes a file out of sight at once. The bytes go when the returned name is
    /// discarded, which may take long and needs no lock.
    pub(crate) fn withdraw(&self, path: &Path) -> Option<PathBuf> {
        let scratch = self.scratch();
        match fs::rename(path, &scratch) {
            Ok(()) => Some(scratch),
            Err(_) => {
                discard(path);
                None
            }
        }
    }

    /// Moves a file that cannot be trusted to where nothing reads it.
    pub(crate) fn set_aside(&self, path: &Path) {
        let name = path.strip_prefix(&self.root).unwrap_or(path);
        let name = name.to_string_lossy().replace('/', "-");
        if fs::rename(path, self.aside().join(name)).is_err() {
            discard(path);
        }
    }
}

/// The sidecar of a file.
pub(crate) fn meta_path(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".meta");
    name.into()
}

/// How files of the cache are opened to be written: for their owner only, because
/// they may hold what others on this machine must not read.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), CacheError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| CacheError::io(path, e))
}

/// Removes a file if it is there; that it cannot be removed is told, not failed upon.
pub(crate) fn discard(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "file not removed"),
    }
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
    fs::read(path)
}

fn make_dir(path: &Path) -> Result<(), CacheError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| CacheError::io(path, e))
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
        let first = DataDir::open(temp.path()).unwrap();
        let Err(CacheError::InUse { pid, .. }) = DataDir::open(temp.path()) else {
            panic!("opened twice");
        };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        DataDir::open(temp.path()).unwrap();
    }

    #[test]
    fn scratch_is_emptied() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let (path, _) = dir.scratch_file().unwrap();
        drop(dir);
        DataDir::open(temp.path()).unwrap();
        assert!(!path.exists());
    }
}
