//! How tests look on while the disk changes.

use std::fs::File;
use std::io;
use std::path::Path;

/// One change to the data directory, which a crash leaves done or not done; only writes
/// can be done in part.
#[derive(Debug, Clone, Copy)]
pub enum DiskStep<'a> {
    /// A file is made, or emptied if it was there.
    Create {
        /// Its name.
        path: &'a Path,
    },
    /// Bytes are written.
    Write {
        /// Where to.
        file: &'a File,
        /// The offset of the first in the file.
        at: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A file becomes a copy of another one, of which it shares the blocks.
    Clone {
        /// What becomes the copy.
        file: &'a File,
        /// What is copied.
        source: &'a File,
    },
    /// A file is cut, or grows by zeros.
    SetLen {
        /// The file.
        file: &'a File,
        /// Its new length in bytes.
        len: u64,
    },
    /// What was written to a file becomes durable, and how long it is; not its name.
    SyncFile {
        /// The file.
        file: &'a File,
    },
    /// The names in a directory become durable.
    SyncDir {
        /// The directory.
        path: &'a Path,
    },
    /// A file gets another name and takes the place of what had it.
    Rename {
        /// The old name.
        from: &'a Path,
        /// The new name.
        to: &'a Path,
    },
    /// A name goes, and the file with its last name.
    Remove {
        /// The name.
        path: &'a Path,
    },
    /// A directory is made, with those above it.
    MakeDir {
        /// Its name.
        path: &'a Path,
    },
    /// A directory goes with all that is in it.
    RemoveDir {
        /// Its name.
        path: &'a Path,
    },
}

/// Is told of every change to the data directory that is not sled's: what a test needs
/// to make a disk fail at any step, or to see what a crash at any step would leave.
pub trait DiskWatcher: Send + Sync {
    /// A step is about to be taken.
    ///
    /// # Errors
    /// What the step is to fail with; then it is not taken.
    fn before(&self, step: &DiskStep<'_>) -> io::Result<()>;

    /// The step was taken. One that the system refused is not told of.
    fn after(&self, step: &DiskStep<'_>);
}
