//! Putting a file where the user wants it.

use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;

use crate::PlaceError;
use crate::error::is_full;

/// Makes `destination` a copy of the first `size` bytes of `source`: a clone that shares
/// them where the filesystem can, never a hard link. The bytes get there under a
/// temporary name in the same directory and are synced before the one rename, so nobody
/// ever sees half a file, also after a crash. A file that was there is replaced.
///
/// # Errors
/// When it cannot be put there. Then the destination is as it was, and no temporary
/// file is left.
pub fn place_file(
    source: &File,
    size: u64,
    destination: &Path,
    mtime: Option<SystemTime>,
) -> Result<(), PlaceError> {
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
    let (temporary, file) = create_temporary(directory, name)?;
    let placed = copy(source, &file, size)
        .and_then(|()| mtime.map_or(Ok(()), |time| file.set_modified(time)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, destination));
    placed.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        place_error(destination, error)
    })
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

fn create_temporary(directory: &Path, name: &OsStr) -> Result<(PathBuf, File), PlaceError> {
    loop {
        let path = directory.join(temporary_name(name));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(place_error(directory, error)),
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

/// Clones; else lets the kernel copy; else copies through memory. Never moves the
/// cursor of `source`, which others share.
fn copy(source: &File, target: &File, size: u64) -> io::Result<()> {
    if source.metadata()?.len() == size && rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let chunk = usize::try_from((size - at).min(1 << 30)).unwrap_or(usize::MAX);
        let (mut from, mut to) = (at, at);
        let copied =
            rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), chunk);
        match copied {
            Ok(0) => return Err(cut_short()),
            Ok(count) => at += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_through_memory(source, target, at, size);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_through_memory(source: &File, target: &File, mut at: u64, size: u64) -> io::Result<()> {
    let mut block = vec![0; 1 << 20];
    while at < size {
        let wanted = usize::try_from(size - at).map_or(block.len(), |left| left.min(block.len()));
        match source.read_at(&mut block[..wanted], at) {
            Ok(0) => return Err(cut_short()),
            Ok(read) => {
                target.write_all_at(&block[..read], at)?;
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the cached file is too short")
}

fn place_error(path: &Path, source: io::Error) -> PlaceError {
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
    use std::time::Duration;

    fn source(dir: &Path, bytes: &[u8]) -> File {
        let path = dir.join("source");
        fs::write(&path, bytes).unwrap();
        File::open(path).unwrap()
    }

    #[test]
    fn places_bytes_and_time_and_replaces() {
        let temp = tempfile::tempdir().unwrap();
        let bytes = vec![3; 3_000_000];
        let file = source(temp.path(), &bytes);
        let to = temp.path().join("out");
        fs::write(&to, "before").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        place_file(&file, bytes.len() as u64, &to, Some(time)).unwrap();
        assert_eq!(fs::read(&to).unwrap(), bytes);
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), time);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2);
        // A copy, not a link.
        fs::write(&to, "after").unwrap();
        assert_eq!(fs::read(temp.path().join("source")).unwrap(), bytes);
    }

    #[test]
    fn copies_through_memory_as_well() {
        let temp = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|i| (i % 251) as u8).collect();
        let file = source(temp.path(), &bytes);
        let to = temp.path().join("out");
        copy_through_memory(&file, &File::create(&to).unwrap(), 0, bytes.len() as u64).unwrap();
        assert_eq!(fs::read(&to).unwrap(), bytes);
    }

    #[test]
    fn says_what_is_wrong_and_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let file = source(temp.path(), b"bytes");
        let place = |to: &str, size| place_file(&file, size, &temp.path().join(to), None);
        assert!(matches!(
            place("no/out", 5),
            Err(PlaceError::DirectoryMissing(_))
        ));
        assert!(matches!(
            place("source/out", 5),
            Err(PlaceError::NotADirectory(_))
        ));
        assert!(matches!(place("", 5), Err(PlaceError::IsADirectory(_))));
        assert!(matches!(place("new/", 5), Err(PlaceError::IsADirectory(_))));
        assert!(matches!(place("out", 6), Err(PlaceError::Io { .. })));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_has_its_own_error() {
        let full = place_error(Path::new("x"), Errno::NOSPC.into());
        assert!(matches!(full, PlaceError::NoSpace(_)));
        let denied = place_error(Path::new("x"), Errno::ROFS.into());
        assert!(matches!(denied, PlaceError::NotWritable(_)));
    }

    #[test]
    fn long_names_are_cut() {
        let temp = tempfile::tempdir().unwrap();
        let file = source(temp.path(), b"bytes");
        let to = temp.path().join("n".repeat(255));
        place_file(&file, 5, &to, None).unwrap();
        assert_eq!(fs::read(to).unwrap(), b"bytes");
    }
}
