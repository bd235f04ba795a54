//! Putting a file where the user wants it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::io::Errno;

use crate::{PlaceError, Placement};

/// Makes `destination` a copy of the first `size` bytes of `source`: a clone that shares
/// them where the filesystem can, never a hard link. See [`Placement`] for how.
///
/// # Errors
/// When it cannot be put there. Then the destination is as it was.
pub fn place_file(
    source: &File,
    size: u64,
    destination: &Path,
    mtime: Option<SystemTime>,
) -> Result<(), PlaceError> {
    let placement = fill(source, size, destination)?;
    placement.seal(mtime)?;
    placement.finish()
}

/// A file with the bytes that has no name yet.
pub(crate) fn fill(source: &File, size: u64, destination: &Path) -> Result<Placement, PlaceError> {
    let placement = Placement::begin(destination)?;
    placement.fill(source, size)?;
    Ok(placement)
}

/// Clones; else copies. Never moves the cursor of `source`, which others share.
pub(crate) fn copy(source: &File, target: &File, size: u64) -> io::Result<()> {
    if source.metadata()?.len() == size && rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    copy_span(source, target, 0..size)
}

/// Copies a part to the same place: lets the kernel do it, or does it through memory.
pub(crate) fn copy_span(source: &File, target: &File, span: Range<u64>) -> io::Result<()> {
    let mut at = span.start;
    while at < span.end {
        let chunk = usize::try_from((span.end - at).min(1 << 30)).unwrap_or(usize::MAX);
        let (mut from, mut to) = (at, at);
        let copied =
            rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), chunk);
        match copied {
            Ok(0) => return Err(cut_short()),
            Ok(count) => at += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_through_memory(source, target, at, span.end);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::place_error;
    use std::fs;
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
