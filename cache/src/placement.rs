//! A file on its way to where the user wants it.

use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use potluck_content::ContentId;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::PlaceError;
use crate::disk::begin_sync;
use crate::error::is_full;
use crate::place::{copy, copy_span};

/// A file in the directory of its destination that does not bear its name yet. Its bytes
/// are synced before the one step that gives it the name, so nobody ever sees half a file,
/// also after a crash. A file that was there is replaced.
///
/// Until then it has no name at all where the filesystem can do that, and not even a
/// process that is killed leaves anything behind; elsewhere it is called
/// `.NAME.potluck-XXXXXX` and removed when this is dropped.
#[derive(Debug)]
pub struct Placement {
    destination: PathBuf,
    directory: PathBuf,
    file: Arc<File>,
    temporary: Option<PathBuf>,
}

/// A directory with new names in it.
#[must_use]
pub(crate) struct Unsynced(PathBuf);

impl Unsynced {
    /// Makes the names durable.
    pub(crate) fn sync(self) {
        // The file is in its place: that its name is not on the disk yet, as where the
        // directory may not be read, must not look as if it were not.
        if let Err(error) = File::open(&self.0).and_then(|dir| dir.sync_all()) {
            tracing::debug!(path = %self.0.display(), %error, "directory not synced");
        }
    }
}

impl Placement {
    /// Makes an empty file.
    ///
    /// # Errors
    /// When there can be none in the directory, or the destination is a directory itself.
    pub fn begin(destination: &Path) -> Result<Self, PlaceError> {
        let (directory, name) = look_at(destination)?;
        let (file, temporary) = match nameless(directory) {
            Some(file) => (file, None),
            None => {
                let (path, file) = create_temporary(directory, name)?;
                (file, Some(path))
            }
        };
        Ok(Self::new(destination, directory, file, temporary))
    }

    /// The same, but only where nothing of it can be left behind.
    pub(crate) fn begin_nameless(destination: &Path) -> Option<Self> {
        let (directory, _) = look_at(destination).ok()?;
        let file = nameless(directory)?;
        Some(Self::new(destination, directory, file, None))
    }

    fn new(destination: &Path, directory: &Path, file: File, temporary: Option<PathBuf>) -> Self {
        Self {
            destination: destination.to_owned(),
            directory: directory.to_owned(),
            file: Arc::new(file),
            temporary,
        }
    }

    /// The file, to be written.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The same, for another thread.
    pub(crate) fn shared(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Copies parts of `source`, in rising order, to the same places.
    pub(crate) fn fill_spans(
        &self,
        source: &File,
        spans: impl IntoIterator<Item = Range<u64>>,
    ) -> Result<(), PlaceError> {
        let mut spans = spans.into_iter().peekable();
        while let Some(mut span) = spans.next() {
            while let Some(next) = spans.next_if(|next| next.start == span.end) {
                span.end = next.end;
            }
            copy_span(source, &self.file, span)
                .map_err(|error| place_error(&self.destination, error))?;
        }
        Ok(())
    }

    /// Makes it a copy of the first `size` bytes of `source`: a clone that shares them where
    /// the filesystem can. The cursor of `source` stays where it is.
    ///
    /// # Errors
    /// When the disk fails, or `source` is shorter.
    pub fn fill(&self, source: &File, size: u64) -> Result<(), PlaceError> {
        copy(source, &self.file, size).map_err(|error| place_error(&self.destination, error))
    }

    /// Makes it a copy of `source`, which has `size` bytes, a few only, if these are the
    /// content that they should be.
    ///
    /// # Errors
    /// [`PlaceError::Damaged`] when they are not; others when the disk fails.
    pub fn fill_checked(&self, source: &File, size: u64, id: &ContentId) -> Result<(), PlaceError> {
        let fail = |error| place_error(&self.destination, error);
        let mut bytes = vec![0; usize::try_from(size).map_err(|e| fail(io::Error::other(e)))?];
        match source.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(fail)?,
        }
        if ContentId::of(&bytes) != *id {
            return Err(PlaceError::Damaged(*id));
        }
        self.file.write_all_at(&bytes, 0).map_err(fail)
    }

    /// Has the disk begin with what was written, and waits for nothing.
    pub(crate) fn begin_sync(&self) {
        begin_sync(&self.file);
    }

    /// Makes what was written durable. `mtime` becomes its time of the last change.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn seal(&self, mtime: Option<SystemTime>) -> Result<(), PlaceError> {
        mtime
            .map_or(Ok(()), |time| self.file.set_modified(time))
            .and_then(|()| self.file.sync_all())
            .map_err(|error| place_error(&self.destination, error))
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// When it cannot have it. Then the destination is as it was.
    pub fn finish(self) -> Result<(), PlaceError> {
        self.name_it()?.sync();
        Ok(())
    }

    /// Gives it its name, which is not durable until its directory is synced.
    pub(crate) fn name_it(mut self) -> Result<Unsynced, PlaceError> {
        self.name()
            .map_err(|error| place_error(&self.destination, error))?;
        self.temporary = None;
        Ok(Unsynced(std::mem::take(&mut self.directory)))
    }

    fn name(&mut self) -> io::Result<()> {
        let temporary = match &self.temporary {
            Some(temporary) => temporary,
            None => match link(&self.file, &self.destination) {
                // Only a rename replaces.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let name = self.destination.file_name().unwrap_or_default();
                    let path = unused(&self.directory, name, |path| link(&self.file, path))?.0;
                    self.temporary.insert(path)
                }
                linked => return linked,
            },
        };
        fs::rename(temporary, &self.destination)
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The directory and the name in it, if there can be a file.
fn look_at(destination: &Path) -> Result<(&Path, &OsStr), PlaceError> {
    let is_dir = || PlaceError::IsADirectory(destination.to_owned());
    let name = destination.file_name().ok_or_else(is_dir)?;
    if destination.as_os_str().as_bytes().ends_with(b"/") || destination.is_dir() {
        return Err(is_dir());
    }
    let directory = match destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    check_directory(directory)?;
    Ok((directory, name))
}

/// Tells a missing directory from a wrong one before anything is tried.
fn check_directory(directory: &Path) -> Result<(), PlaceError> {
    match fs::metadata(directory) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(PlaceError::NotADirectory(directory.to_owned())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Err(PlaceError::DirectoryMissing(directory.to_owned())),
            _ => Err(place_error(directory, error)),
        },
    }
}

/// A file without a name that can be given one; `None` where the system cannot do that.
fn nameless(directory: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)).ok()?);
    fs::symlink_metadata(in_proc(&file)).is_ok().then_some(file)
}

fn in_proc(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    rustix::fs::linkat(CWD, in_proc(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

fn create_temporary(directory: &Path, name: &OsStr) -> Result<(PathBuf, File), PlaceError> {
    let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
    unused(directory, name, create).map_err(|error| place_error(directory, error))
}

/// Makes something under a temporary name that nothing else has.
fn unused<T>(
    directory: &Path,
    name: &OsStr,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    loop {
        let path = directory.join(temporary_name(name));
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// `.NAME.potluck-XXXXXX`, with NAME cut so that a long one still makes a legal name.
fn temporary_name(name: &OsStr) -> OsString {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    const MAX_NAME: usize = 255;
    const ADDED: usize = 1 + ".potluck-".len() + 6;
    let mut random = RandomState::new().build_hasher().finish();
    let kept = name.len().min(MAX_NAME - ADDED);
    let mut bytes = vec![b'.'];
    bytes.extend(&name.as_bytes()[..kept]);
    bytes.extend(b".potluck-");
    for _ in 0..6 {
        bytes.push(LETTERS[(random % 32) as usize]);
        random /= 32;
    }
    OsString::from_vec(bytes)
}

pub(crate) fn place_error(path: &Path, source: io::Error) -> PlaceError {
    let path = path.to_owned();
    match source.kind() {
        _ if is_full(&source) => PlaceError::NoSpace(path),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            PlaceError::NotWritable(path)
        }
        io::ErrorKind::NotADirectory => PlaceError::NotADirectory(path),
        io::ErrorKind::IsADirectory => PlaceError::IsADirectory(path),
        _ => PlaceError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(dir: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn it_is_seen_under_its_name_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("out");
        for bytes in [b"first", b"again"] {
            let placement = Placement::begin(&to).unwrap();
            io::Write::write_all(&mut placement.file(), bytes).unwrap();
            placement.seal(None).unwrap();
            placement.finish().unwrap();
            assert_eq!(fs::read(&to).unwrap(), bytes);
            assert_eq!(names_in(temp.path()), ["out"]);
        }
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let begin = || Placement::begin(&temp.path().join("out")).unwrap();
        drop(begin());
        assert!(names_in(temp.path()).is_empty());
        // As when the process is killed, on filesystems that know files without a name.
        let killed = begin();
        let named = killed.temporary.is_some();
        std::mem::forget(killed);
        assert_eq!(names_in(temp.path()).len(), usize::from(named));
    }

    #[test]
    fn a_filesystem_without_nameless_files_will_do() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("out");
        let (path, file) = create_temporary(temp.path(), OsStr::new("out")).unwrap();
        let placement = Placement::new(&to, temp.path(), file, Some(path));
        placement.finish().unwrap();
        assert_eq!(names_in(temp.path()), ["out"]);
    }
}
