//! Opening files of the data directory without following links out of it.
//!
//! Nothing in there is ever made a link. Where one is found all the same, what it leads
//! to is not ours: it is neither read, nor written, nor removed.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

/// Opens a file to be read. Neither it nor its directory may be a link.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if is_link(parent) {
        return Err(io::Error::other("its directory is a symbolic link"));
    }
    // And it did not become one in between.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = open(parent, flags | OFlags::DIRECTORY, Mode::empty())?;
    // Not to wait for ever for the other end of a pipe.
    let file = openat(parent, name, flags | OFlags::NONBLOCK, Mode::empty())?;
    Ok(File::from(file))
}

/// The same where one is sure to be told whether there is a file of ours: `None` where
/// there is none.
pub(crate) fn open_own(path: &Path) -> io::Result<Option<File>> {
    if is_behind_link(path) {
        return Ok(None);
    }
    match open_plain(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Whether a path names a symbolic link.
pub(crate) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Whether a file of ours is surely not there. One that cannot be looked at may be.
pub(crate) fn is_gone(path: &Path) -> bool {
    !is_behind_link(path) && path.try_exists().is_ok_and(|exists| !exists)
}

/// Whether a file lies behind a link, and so is not ours.
pub(crate) fn is_behind_link(path: &Path) -> bool {
    path.parent().is_some_and(is_link)
}
