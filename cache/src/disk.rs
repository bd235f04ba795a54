//! Everything that changes the data directory, each change one step.
//!
//! Nothing else in this crate writes there, but sled to its own files and who takes the
//! directory's lock. So a test that watches knows every point at which a crash can come.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::{DiskStep, DiskWatcher};

/// The way to the disk. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    watcher: Option<Arc<dyn DiskWatcher>>,
}

impl Disk {
    /// One that somebody watches.
    pub(crate) fn watched(watcher: Arc<dyn DiskWatcher>) -> Self {
        Self {
            watcher: Some(watcher),
        }
    }

    /// Makes a file where there was none.
    pub(crate) fn create_new(&self, path: &Path) -> io::Result<File> {
        self.step(&DiskStep::Create { path }, || {
            private_file().create_new(true).open(path)
        })
    }

    /// Makes a file, or empties the one that is there.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.step(&DiskStep::Create { path }, || {
            private_file().create(true).truncate(true).open(path)
        })
    }

    /// Writes all of `bytes` at an offset.
    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        self.step(&DiskStep::Write { file, at, bytes }, || {
            file.write_all_at(bytes, at)
        })
    }

    /// Makes an empty file a clone of another one, where the filesystem can do that.
    pub(crate) fn clone_from(&self, file: &File, source: &File) -> io::Result<()> {
        self.step(&DiskStep::Clone { file, source }, || {
            Ok(rustix::fs::ioctl_ficlone(file, source)?)
        })
    }

    /// Cuts a file, or lets it grow by zeros that take no room.
    pub(crate) fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.step(&DiskStep::SetLen { file, len }, || file.set_len(len))
    }

    /// Makes the bytes of a file durable, and its length.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.step(&DiskStep::SyncFile { file }, || file.sync_data())
    }

    /// Makes the names in a directory durable.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(&DiskStep::SyncDir { path }, || {
            File::open(path).and_then(|dir| dir.sync_all())
        })
    }

    /// Gives a file or a directory another name; a file that had it goes.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(&DiskStep::Rename { from, to }, || fs::rename(from, to))
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(&DiskStep::Remove { path }, || fs::remove_file(path))
    }

    /// Removes a file if it is there; that it cannot be removed is told, not failed upon.
    pub(crate) fn discard(&self, path: &Path) {
        match self.remove(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "file not removed"),
        }
    }

    /// Makes a directory, with those above it, for its owner only.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step(&DiskStep::MakeDir { path }, || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)
        })
    }

    /// Removes a directory with all that is in it.
    pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step(&DiskStep::RemoveDir { path }, || fs::remove_dir_all(path))
    }

    fn step<T>(&self, step: &DiskStep<'_>, take: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watcher) = &self.watcher else {
            return take();
        };
        watcher.before(step)?;
        let taken = take()?;
        watcher.after(step);
        Ok(taken)
    }
}

/// Has the disk begin with what was written to a file, and waits for nothing: who syncs
/// many files begins with all before it waits for the first.
pub(crate) fn begin_sync(file: &File) {
    // The kernel writes what it is told it need not keep, and keeps what is on its way.
    // Where this cannot be done, the sync does all of it.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// How files of the cache are opened to be written: for their owner only, because
/// they may hold what others on this machine must not read.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}
