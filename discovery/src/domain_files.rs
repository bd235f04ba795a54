//! How trust lies on the disk: whole files, written aside, synced and renamed;
//! folders and private files open to their owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use crate::hex::hex;

/// Larger files than this are none of ours, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file of the domain cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// What was being done to which file.
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self {
            action,
            path,
            source,
        }
    }
}

/// Reads a whole file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::other("it is too large"));
        }
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path, error)),
    }
}

/// Makes the data directory if there is none, for its owner alone.
pub(crate) fn make_data_dir(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        Ok(())
    } else {
        make_folder(path)
    }
}

/// Makes a folder that only its owner can enter, with what it lies in.
pub(crate) fn make_folder(path: &Path) -> Result<(), FileError> {
    let make = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::set_permissions(path, fs::Permissions::from_mode(0o700))?,
        }
        sync_parent(path)
    };
    make().map_err(|error| FileError::new("make the folder", path, error))
}

/// Replaces a file that only its owner may read, as a whole and for good.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o600)
}

/// Replaces a file that anyone who can enter its folder may read.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o644)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut suffix = [0; 6];
    let written = aws_lc_rs::rand::fill(&mut suffix)
        .map_err(|_| io::Error::other("no random numbers"))
        .and_then(|()| {
            let aside = path.with_extension(format!("tmp-{}", hex(&suffix)));
            let written = write_aside(&aside, bytes, mode).and_then(|()| fs::rename(&aside, path));
            if written.is_err() {
                let _ = fs::remove_file(&aside);
            }
            written
        })
        .and_then(|()| sync_parent(path));
    written.map_err(|error| FileError::new("write", path, error))
}

fn write_aside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A fresh name: never a file that someone else opened before with wider rights.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a file for good, if there is one.
pub(crate) fn remove_file(path: &Path) -> Result<(), FileError> {
    removed(path, fs::remove_file(path))
}

/// Removes a folder with all that is in it, if there is one.
pub(crate) fn remove_folder(path: &Path) -> Result<(), FileError> {
    removed(path, fs::remove_dir_all(path))
}

fn removed(path: &Path, result: io::Result<()>) -> Result<(), FileError> {
    let result = match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.and_then(|()| sync_parent(path)),
    };
    result.map_err(|error| FileError::new("remove", path, error))
}

/// Makes a new name in a folder last.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// The right to change what lies in a folder, among all processes; let go when
/// dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "the open folder holds the lock")] File);

impl FolderLock {
    /// Waits for the right. The folder itself is locked, so no file comes of it.
    pub(crate) fn take(folder: &Path) -> Result<Self, FileError> {
        let take = || {
            let file = File::open(folder)?;
            file.lock()?;
            Ok(Self(file))
        };
        take().map_err(|error| FileError::new("lock", folder, error))
    }
}

/// What tells one version of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file; `None` if there is none or it cannot be looked at.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            inode: meta.ino(),
            len: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// DER as PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_things_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        make_folder(&folder).unwrap();
        let file = folder.join("key");
        write_private(&file, b"one").unwrap();
        let before = Stamp::of(&file);
        write_private(&file, b"two").unwrap();
        assert_ne!(Stamp::of(&file), before);
        assert_eq!(read(&file).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing is left aside"
        );
    }

    #[test]
    fn pem_is_read_back() {
        use rustls_pki_types::pem::{PemObject as _, SectionKind};
        for len in [0usize, 1, 2, 3, 47, 48, 49, 500] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let text = pem("CERTIFICATE", &bytes);
            let (kind, back) = <(SectionKind, Vec<u8>)>::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!((kind, back), (SectionKind::Certificate, bytes));
        }
    }
}
