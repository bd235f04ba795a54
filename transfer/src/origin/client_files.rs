//! Files with certificates and keys that a job names.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::origin::{ClientCertificate, OriginError};

/// The longest file of certificates that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// The certificates in a file.
///
/// # Errors
/// When there are none, or `owner` may not read it.
pub(crate) fn certificates(
    path: &Path,
    owner: Option<u32>,
) -> Result<Vec<CertificateDer<'static>>, OriginError> {
    let text = read(path, owner)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| bad(path, error.to_string()))?;
    if found.is_empty() {
        return Err(bad(path, "there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// A certificate with those up to its authority, and its key.
///
/// # Errors
/// As [`certificates`]; and when there is no key.
pub(crate) fn certificate_and_key(
    files: &ClientCertificate,
    owner: Option<u32>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), OriginError> {
    let chain = certificates(&files.certificate_file, owner)?;
    let text = read(&files.key_file, owner)?;
    // What is wrong inside a key is nobody's business.
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| bad(&files.key_file, "there is no private key in it".to_owned()))?;
    Ok((chain, key))
}

/// Reads a file on behalf of a user: the node may be allowed more than they are.
fn read(path: &Path, owner: Option<u32>) -> Result<Zeroizing<Vec<u8>>, OriginError> {
    let io = |error: std::io::Error| bad(path, error.to_string());
    if !path.is_absolute() {
        return Err(bad(path, "write its full path".to_owned()));
    }
    // Opening a pipe must not wait for somebody who writes into it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(io)?;
    let about = file.metadata().map_err(io)?;
    if !about.is_file() {
        return Err(bad(path, "it is no plain file".to_owned()));
    }
    let for_all = about.mode() & 0o004 != 0;
    if owner.is_some_and(|owner| owner != 0 && owner != about.uid()) && !for_all {
        return Err(bad(path, "the owner of the job may not read it".to_owned()));
    }
    if about.len() > LONGEST {
        return Err(bad(path, format!("it is longer than {LONGEST} bytes")));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(LONGEST).read_to_end(&mut text).map_err(io)?;
    Ok(text)
}

fn bad(path: &Path, reason: String) -> OriginError {
    OriginError::BadOption {
        what: path.display().to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_read_for_those_who_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(vec!["o".to_owned()]).unwrap();
        fs::write(&path, made.cert.pem()).unwrap();
        let me = fs::metadata(&path).unwrap().uid();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for owner in [None, Some(0), Some(me)] {
            assert_eq!(certificates(&path, owner).unwrap().len(), 1);
        }
        let refused = certificates(&path, Some(me + 1)).unwrap_err();
        assert!(refused.to_string().contains("may not read"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(certificates(&path, Some(me + 1)).is_ok());
    }

    #[test]
    fn what_is_no_file_of_certificates_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::write(&empty, "").unwrap();
        for path in [
            dir.path(),
            &empty,
            Path::new("/dev/zero"),
            Path::new("ca.pem"),
        ] {
            let refused = certificates(path, None).unwrap_err();
            assert_eq!(refused.code(), "bad_option", "{path:?}");
        }
    }
}
