//! The membership as it lies in the data directory.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use crate::domain_files::{self, FileError};
use crate::hex::{hex, unhex};
use crate::identity::{IdentityError, NodeIdentity};
use crate::membership::Membership;
use crate::reject_reason::RejectReason;
use crate::secret::BeaconKey;

/// The folder of the membership in the data directory.
pub(crate) const FOLDER: &str = "domain";
const FILE: &str = "membership.json";
/// The version of the membership file that this program writes and reads.
const VERSION: u32 = 1;
const CERTIFICATE_LABEL: &str = "CERTIFICATE";

/// There is no usable membership.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The node's key is missing or broken.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The membership is there, the node's key is not.
    #[error("{0} is there, but the node's key is not: restore identity/node.key or join again")]
    KeyMissing(PathBuf),
    /// Another key has come while this membership was made.
    #[error("the node's key has changed meanwhile: try again")]
    KeyChanged,
    /// The file is of a newer or unknown version.
    #[error("{path} is of version {found}; this program knows version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file is damaged.
    #[error("{0} is damaged: restore it or join again")]
    Damaged(PathBuf),
    /// Certificate and key are not Potluck's to change.
    #[error("this node's certificate and key are files of the site's own authority")]
    Given,
    /// The parts do not fit together.
    #[error("the certificate does not fit the domain and key: {0}")]
    Unfit(RejectReason),
}

/// What lies on the disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    certificate: String,
    authority: String,
    beacon_key: String,
}

impl Membership {
    /// Reads the membership of the node that lives in `data_dir`; `None` if it
    /// is in no domain.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, MembershipError> {
        let path = file_in(data_dir);
        let Some(bytes) = domain_files::read(&path)? else {
            return Ok(None);
        };
        let damaged = || MembershipError::Damaged(path.clone());
        let version = version_of(&bytes).ok_or_else(damaged)?;
        if version != VERSION {
            return Err(MembershipError::Version {
                path,
                found: version,
            });
        }
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let certificate = CertificateDer::from_pem_slice(stored.certificate.as_bytes());
        let authority = CertificateDer::from_pem_slice(stored.authority.as_bytes());
        let beacon_key = unhex(&stored.beacon_key).map(BeaconKey::from_bytes);
        let (Ok(certificate), Ok(authority), Some(beacon_key)) =
            (certificate, authority, beacon_key)
        else {
            return Err(damaged());
        };
        let identity = NodeIdentity::load(data_dir)?
            .ok_or_else(|| MembershipError::KeyMissing(path.clone()))?;
        Self::new(identity, certificate, authority, beacon_key)
            .map(Some)
            .map_err(MembershipError::Unfit)
    }

    /// Writes the membership, and the node's key if it is new. After an error
    /// the disk is as it was.
    pub(crate) fn save(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let identity = self.identity().ok_or(MembershipError::Given)?;
        let old_key = NodeIdentity::load(data_dir)?.map(|old| old.public_key());
        match old_key {
            Some(old) if old != identity.public_key() => {
                return Err(MembershipError::KeyChanged);
            }
            Some(_) => {}
            None => identity.save(data_dir)?,
        }
        let saved = self.save_file(data_dir);
        if saved.is_err() && old_key.is_none() {
            NodeIdentity::unsave(data_dir);
        }
        saved
    }

    fn save_file(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let beacon_key = self.beacon_key().ok_or(MembershipError::Given)?;
        let folder = data_dir.join(FOLDER);
        domain_files::make_folder(&folder)?;
        let stored = Stored {
            version: VERSION,
            certificate: domain_files::pem(CERTIFICATE_LABEL, &self.certificate_chain()[0]),
            authority: domain_files::pem(CERTIFICATE_LABEL, self.authority_certificate()),
            beacon_key: hex(beacon_key.expose()),
        };
        let json = serde_json::to_vec_pretty(&stored).expect("texts and a number are JSON");
        if let Err(error) = domain_files::write_private(&folder.join(FILE), &json) {
            // Goes only if it is empty, so only if it is new.
            let _ = std::fs::remove_dir(&folder);
            return Err(error.into());
        }
        // Copies for curl and openssl, which the node itself never reads.
        for (name, pem) in [
            ("node.pem", &stored.certificate),
            ("ca.pem", &stored.authority),
        ] {
            if let Err(error) = domain_files::write_public(&folder.join(name), pem.as_bytes()) {
                tracing::warn!(%error, "no copy of a certificate");
            }
        }
        Ok(())
    }
}

/// The file that makes the membership.
pub(crate) fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER).join(FILE)
}

/// The version of a JSON file of ours, whatever else is in it.
pub(crate) fn version_of(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let versioned: Versioned = serde_json::from_slice(bytes).ok()?;
    Some(versioned.version)
}
