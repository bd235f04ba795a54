//! A membership out of files that an authority of the site's own has given.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::domain_files::{self, FileError, Stamp};
use crate::given_policy::GivenPolicy;
use crate::hex::unhex;
use crate::membership::Membership;
use crate::name_pattern::NamePattern;
use crate::reject_reason::RejectReason;
use crate::secret::BeaconKey;

/// Certificates between a node's and its authority, at most.
pub(crate) const MAX_INTERMEDIATES: usize = 3;
/// What tells a PEM file from a DER one.
const PEM: &[u8] = b"-----BEGIN";

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenFiles {
    /// The node's certificate, then those between it and the authority, as PEM.
    pub certificate: PathBuf,
    /// Its key as PEM: PKCS#8, SEC1 or PKCS#1; Ed25519, ECDSA P-256 or RSA of 2048 bits
    /// or more.
    pub key: PathBuf,
    /// The certificate of the authority, as PEM.
    pub ca: PathBuf,
    /// The authority's revocations, as PEM or DER.
    pub crl: Option<PathBuf>,
    /// Whose certificates make nodes.
    pub names: Vec<NamePattern>,
    /// The key of the beacons, 64 hexadecimal digits; without it there are none.
    pub beacon_key: Option<PathBuf>,
}

/// The files do not make a membership.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not there.
    #[error("there is no {0}")]
    Missing(PathBuf),
    /// A file holds something else.
    #[error("{path} {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Others can read a secret.
    #[error("{0} can be read by others: chmod 600 it")]
    Open(PathBuf),
    /// The parts do not fit together.
    #[error("{path} does not fit the other files: {reason}")]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// Why not.
        reason: RejectReason,
    },
}

impl GivenFiles {
    /// Reads the files and joins them, if they fit.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn load(&self) -> Result<Membership, GivenError> {
        let chain = certificates(&self.certificate)?;
        if chain.len() > 1 + MAX_INTERMEDIATES {
            return Err(wrong(
                &self.certificate,
                "has more than three certificates between the node's and the authority",
            ));
        }
        let authorities = certificates(&self.ca)?;
        let [authority] = authorities.as_slice() else {
            return Err(wrong(&self.ca, "holds more than one certificate"));
        };
        let private = |meta: u32| meta & 0o007 == 0;
        let key = secret(&self.key, private)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
            wrong(
                &self.key,
                "holds no private key as PEM (PKCS#8, SEC1 or PKCS#1)",
            )
        })?;
        let crls = self.crl.as_deref().map(revocations).transpose()?;
        let policy = GivenPolicy::new(self.names.clone(), crls.unwrap_or_default());
        let policy = policy.ok_or_else(|| self.bad_crl())?;
        let beacon_key = self.beacon_key.as_deref().map(beacon_key).transpose()?;
        Membership::given(key, chain, authority.clone(), policy, beacon_key).map_err(|reason| {
            let path = self.certificate.clone();
            GivenError::Unfit { path, reason }
        })
    }

    /// What the files look like from outside; it differs when one was changed.
    pub(crate) fn stamps(&self) -> Vec<Option<Stamp>> {
        let always = [&self.certificate, &self.key, &self.ca];
        let files = always.into_iter().chain(&self.crl).chain(&self.beacon_key);
        files.map(|path| Stamp::of(path)).collect()
    }

    fn bad_crl(&self) -> GivenError {
        let path = self.crl.as_deref().unwrap_or(Path::new("crl_file"));
        wrong(path, "holds no list of revocations that can be read")
    }
}

fn wrong(path: &Path, problem: &'static str) -> GivenError {
    let path = path.to_owned();
    GivenError::Content { path, problem }
}

fn read(path: &Path) -> Result<Vec<u8>, GivenError> {
    domain_files::read(path)?.ok_or_else(|| GivenError::Missing(path.to_owned()))
}

fn secret(path: &Path, is_private: impl Fn(u32) -> bool) -> Result<Vec<u8>, GivenError> {
    let bytes = read(path)?;
    match std::fs::metadata(path) {
        Ok(meta) if is_private(meta.mode()) => Ok(bytes),
        Ok(_) => Err(GivenError::Open(path.to_owned())),
        Err(error) => Err(FileError::new("look at", path, error).into()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, GivenError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(path, "holds no certificate as PEM")),
    }
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, GivenError> {
    let bytes = read(path)?;
    if !bytes.starts_with(PEM) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(path, "holds no list of revocations that can be read")),
    }
}

fn beacon_key(path: &Path) -> Result<BeaconKey, GivenError> {
    let bytes = secret(path, |mode| mode & 0o077 == 0)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    let key = unhex(text).map(BeaconKey::from_bytes);
    key.ok_or_else(|| {
        wrong(
            path,
            "holds no key: write 64 hexadecimal digits (openssl rand -hex 32)",
        )
    })
}
