//! A node's place in a domain.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use libp2p::PeerId;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};

use crate::certificate_policy::{CertificatePolicy, Leaf};
use crate::domain_files::{self, FileError};
use crate::domain_id::{DomainId, Fingerprint};
use crate::hex::{hex, unhex};
use crate::identity::{IdentityError, NodeIdentity};
use crate::name::Name;
use crate::reject_reason::RejectReason;
use crate::secret::BeaconKey;
use crate::tls;

/// The folder of the membership in the data directory.
pub(crate) const FOLDER: &str = "domain";
const FILE: &str = "membership.json";
/// The version of the membership file that this program writes and reads.
const VERSION: u32 = 1;
const CERTIFICATE_LABEL: &str = "CERTIFICATE";

/// A node's place in a domain: its key, its certificate, its authority's
/// certificate and the key of the beacons. It is only ever made of parts that
/// fit together. Cheap to clone.
#[derive(Clone)]
pub struct Membership {
    inner: Arc<Inner>,
}

struct Inner {
    identity: NodeIdentity,
    chain: Vec<CertificateDer<'static>>,
    fingerprint: Fingerprint,
    domain_name: Name,
    node_name: Name,
    not_before: SystemTime,
    expires: SystemTime,
    beacon_key: BeaconKey,
}

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
    /// Joins the parts, if they fit: the certificate is the authority's, for
    /// this key and this domain, good for both roles. It may have ended.
    pub(crate) fn new(
        identity: NodeIdentity,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
        beacon_key: BeaconKey,
    ) -> Result<Self, RejectReason> {
        let fingerprint = Fingerprint::of(&authority);
        let (node_name, domain_name, not_before, expires) = {
            let leaf = Leaf::parse(&certificate)?;
            if leaf.public_key()? != identity.public_key() {
                return Err(RejectReason::BadSignature);
            }
            let domain_name = Leaf::parse(&authority)?.name();
            (
                leaf.name(),
                domain_name,
                leaf.not_before(),
                leaf.not_after(),
            )
        };
        verify_both_roles(
            &certificate,
            &authority,
            fingerprint.domain_id(),
            not_before,
        )?;
        let chain = vec![certificate, authority];
        let policy = CertificatePolicy::new(fingerprint.domain_id(), chain[1].clone());
        policy.check(Some(&chain), not_before)?;
        let inner = Inner {
            identity,
            chain,
            fingerprint,
            domain_name,
            node_name,
            not_before,
            expires,
            beacon_key,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

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
        let old_key = NodeIdentity::load(data_dir)?.map(|old| old.public_key());
        match old_key {
            Some(old) if old != self.inner.identity.public_key() => {
                return Err(MembershipError::KeyChanged);
            }
            Some(_) => {}
            None => self.inner.identity.save(data_dir)?,
        }
        let saved = self.save_file(data_dir);
        if saved.is_err() && old_key.is_none() {
            NodeIdentity::unsave(data_dir);
        }
        saved
    }

    fn save_file(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let folder = data_dir.join(FOLDER);
        domain_files::make_folder(&folder)?;
        let stored = Stored {
            version: VERSION,
            certificate: domain_files::pem(CERTIFICATE_LABEL, &self.inner.chain[0]),
            authority: domain_files::pem(CERTIFICATE_LABEL, &self.inner.chain[1]),
            beacon_key: hex(self.inner.beacon_key.expose()),
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

    /// The name of the domain, as its authority's certificate says.
    #[must_use]
    pub fn domain_name(&self) -> &Name {
        &self.inner.domain_name
    }

    /// The short id of the domain.
    #[must_use]
    pub fn domain_id(&self) -> DomainId {
        self.inner.fingerprint.domain_id()
    }

    /// The fingerprint of the authority's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.inner.fingerprint
    }

    /// The name of this node, as its certificate says.
    #[must_use]
    pub fn node_name(&self) -> &Name {
        &self.inner.node_name
    }

    /// The id of this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.inner.identity.peer_id()
    }

    /// When this node's certificate begins to hold.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.inner.not_before
    }

    /// When this node's certificate ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.inner.expires
    }

    /// The key that seals the domain's beacons.
    #[must_use]
    pub fn beacon_key(&self) -> &BeaconKey {
        &self.inner.beacon_key
    }

    /// This node's certificate, then its authority's.
    #[must_use]
    pub fn certificate_chain(&self) -> &[CertificateDer<'static>] {
        &self.inner.chain
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority_certificate(&self) -> &CertificateDer<'static> {
        &self.inner.chain[1]
    }

    /// The node's key.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.inner.identity
    }

    /// Whether `other` can take this one's place while the node runs: the same node
    /// in the same domain, with the same names and beacon key.
    pub(crate) fn is_renewed_by(&self, other: &Self) -> bool {
        let (old, new) = (&*self.inner, &*other.inner);
        old.fingerprint == new.fingerprint
            && old.identity.public_key() == new.identity.public_key()
            && old.node_name == new.node_name
            && old.beacon_key == new.beacon_key
    }

    /// What the domain asks of others' certificates.
    #[must_use]
    pub fn policy(&self) -> CertificatePolicy {
        CertificatePolicy::new(self.domain_id(), self.authority_certificate().clone())
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("domain", self.domain_name())
            .field("domain_id", &self.domain_id())
            .field("node", self.node_name())
            .field("peer_id", &self.peer_id())
            .finish_non_exhaustive()
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

/// Asks the stock verifiers, as both ends of a connection would.
pub(crate) fn verify_both_roles(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'static>,
    domain: DomainId,
    at: SystemTime,
) -> Result<(), RejectReason> {
    let at = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| RejectReason::BadCertificate)?;
    let at = UnixTime::since_unix_epoch(at);
    let roots = Arc::new(tls::roots(authority).map_err(|error| RejectReason::from(&error))?);
    let other =
        |error: rustls::server::VerifierBuilderError| RejectReason::Other(error.to_string());
    let as_server = WebPkiServerVerifier::builder_with_provider(roots.clone(), tls::provider())
        .build()
        .map_err(other)?;
    let as_client = WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
        .build()
        .map_err(other)?;
    as_server
        .verify_server_cert(certificate, &[], &domain.server_name(), &[], at)
        .map_err(|error| RejectReason::from(&error))?;
    as_client
        .verify_client_cert(certificate, &[], at)
        .map_err(|error| RejectReason::from(&error))?;
    Ok(())
}
