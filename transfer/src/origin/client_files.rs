//! Files with certificates and keys that a job names.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::origin::OriginError;
use crate::origin::on_behalf::open_all;

/// The longest file of certificates that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// A file that was opened with the rights of the user on whose behalf it is read.
#[derive(Debug)]
pub(crate) struct ClientFile {
    path: PathBuf,
    file: File,
    version: Version,
}

/// Which file it was, and when it was written: one that was replaced is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
}

impl ClientFile {
    /// Opens files for `owner`, or as the node itself without one. Blocks.
    ///
    /// # Errors
    /// When one of them is no plain file that `owner` may read.
    pub(crate) fn open(paths: &[&Path], owner: Option<u32>) -> Result<Vec<Self>, OriginError> {
        if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
            return Err(bad(path, "write its full path"));
        }
        let opened = open_all(paths, owner);
        let mut opened = opened.into_iter();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let file = opened.next().and_then(Result::ok);
            let about = file.as_ref().and_then(|file| file.metadata().ok());
            // One answer for all: whether it is there is nobody's business who may not look.
            let (Some(file), Some(about)) = (file, about.filter(std::fs::Metadata::is_file)) else {
                return Err(bad(
                    path,
                    "the owner of the job may not read it, or it is no plain file",
                ));
            };
            files.push(Self {
                path: path.to_path_buf(),
                file,
                version: Version {
                    place: (about.dev(), about.ino()),
                    size: about.len(),
                    written: (about.mtime(), about.mtime_nsec()),
                },
            });
        }
        Ok(files)
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The certificates in it.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, OriginError> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.map_err(|_| bad(&self.path, "it is no file of certificates"))?;
        if found.is_empty() {
            return Err(bad(&self.path, "there is no certificate in it"));
        }
        Ok(found)
    }

    /// The private key in it.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, OriginError> {
        let text = self.read()?;
        // What is wrong inside a key is nobody's business.
        PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| bad(&self.path, "there is no private key in it"))
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, OriginError> {
        let mut text = Zeroizing::new(Vec::new());
        let read = (&self.file).take(LONGEST + 1).read_to_end(&mut text);
        read.map_err(|error| bad(&self.path, error.to_string()))?;
        if text.len() as u64 > LONGEST {
            return Err(bad(
                &self.path,
                format!("it is longer than {LONGEST} bytes"),
            ));
        }
        Ok(text)
    }
}

fn bad(path: &Path, reason: impl Into<String>) -> OriginError {
    OriginError::BadOption {
        what: path.display().to_string(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn certificates(
        path: &Path,
        owner: Option<u32>,
    ) -> Result<Vec<CertificateDer<'static>>, OriginError> {
        ClientFile::open(&[path], owner)?[0].certificates()
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_are_read_for_those_who_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).unwrap();
        let path = closed.join("ca.pem");
        let made = rcgen::generate_simple_self_signed(vec!["o".to_owned()]).unwrap();
        fs::write(&path, made.cert.pem()).unwrap();
        let me = fs::metadata(&path).unwrap().uid();
        let other = Some(me + 64_101);
        set(&path, 0o600);
        set(dir.path(), 0o755);
        set(&closed, 0o755);
        for owner in [None, Some(0), Some(me)] {
            assert_eq!(certificates(&path, owner).unwrap().len(), 1);
        }
        let said = |path: &Path| {
            let refused = certificates(path, other).unwrap_err().to_string();
            refused.replace(&path.display().to_string(), "FILE")
        };
        let not_theirs = said(&path);
        // Everybody may read it who gets there, and they do not.
        set(&path, 0o644);
        set(&closed, 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let absent = closed.join("none");
        for path in [&path, &link, &absent, &dir.path().join("none")] {
            assert_eq!(said(path), not_theirs, "{path:?}");
        }
        set(&closed, 0o755);
        assert!(certificates(&path, other).is_ok());
        assert!(certificates(&link, other).is_ok());
        assert_eq!(
            rustix::process::geteuid().as_raw(),
            me,
            "nothing has changed"
        );
    }

    #[test]
    fn what_is_no_file_of_certificates_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, long) = (dir.path().join("empty"), dir.path().join("long"));
        fs::write(&empty, "").unwrap();
        File::create(&long).unwrap().set_len(LONGEST + 1).unwrap();
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).unwrap();
        for path in [
            dir.path(),
            &empty,
            &long,
            &pipe,
            Path::new("/dev/zero"),
            Path::new("ca.pem"),
        ] {
            let refused = certificates(path, None).unwrap_err();
            assert_eq!(refused.code(), "bad_option", "{path:?}");
        }
    }
}
