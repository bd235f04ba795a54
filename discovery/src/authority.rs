//! The domain's authority: the key that makes members.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SigningKey as _,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::certificate_policy::Leaf;
use crate::domain_files::{self, FileError};
use crate::domain_id::{DomainId, Fingerprint};
use crate::hex::{hex, unhex};
use crate::identity::PublicKey;
use crate::membership::version_of;
use crate::name::Name;
use crate::secret::BeaconKey;

/// The folder of the authority in the data directory.
pub(crate) const FOLDER: &str = "authority";
const KEY_FILE: &str = "ca.key";
const CERTIFICATE_FILE: &str = "ca.pem";
const SETTINGS_FILE: &str = "authority.json";
const VERSION: u32 = 1;

/// How long a node's certificate holds unless told otherwise: long enough for
/// machines that are off for some weeks, short enough that a lost one is out soon.
pub const DEFAULT_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * DAY);
/// How long an authority's own certificate holds.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * DAY);
/// Certificates begin at most this much in the past, because clocks differ, and at
/// most a tenth of their life, so that what is left of a life can be told from them.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);
const DAY: u64 = 24 * 3600;

/// The certificate authority of a domain.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    name: Name,
    settings: Settings,
}

/// The time in which a certificate holds.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// From when on.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

struct Settings {
    certificate_lifetime: Duration,
    beacon_key: BeaconKey,
}

#[derive(Serialize, Deserialize)]
struct StoredSettings {
    version: u32,
    /// In seconds.
    certificate_lifetime: u64,
    beacon_key: String,
}

/// The authority cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is damaged.
    #[error("{0} is damaged: restore the authority's folder from a copy")]
    Damaged(PathBuf),
    /// The settings are of another version.
    #[error("{path} is of version {found}; this program knows version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A key or certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}

impl Validity {
    /// From a little before `now`, for `lifetime`.
    #[must_use]
    pub fn starting(now: SystemTime, lifetime: Duration) -> Self {
        Self {
            not_before: now - CLOCK_SLACK.min(lifetime / 10),
            not_after: now + lifetime,
        }
    }
}

impl Authority {
    /// Makes a new authority. Nothing is written.
    pub fn create(
        name: &Name,
        certificate_lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(|error| cannot_make(&error))?;
        let mut params = params(name, Validity::starting(now, AUTHORITY_LIFETIME));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(|error| cannot_make(&error))?
            .der()
            .clone();
        let beacon_key = BeaconKey::generate()
            .ok_or_else(|| AuthorityError::Certificate("no random numbers".to_owned()))?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            name: name.clone(),
            settings: Settings {
                certificate_lifetime,
                beacon_key,
            },
        })
    }

    /// Reads the authority that lives in `data_dir`; `None` if there is none.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, AuthorityError> {
        let folder = data_dir.join(FOLDER);
        let path = folder.join(CERTIFICATE_FILE);
        let Some(pem) = domain_files::read(&path)? else {
            return Ok(None);
        };
        let certificate = CertificateDer::from_pem_slice(&pem)
            .map_err(|_| AuthorityError::Damaged(path.clone()))?;
        let name = Leaf::parse(&certificate)
            .map_err(|_| AuthorityError::Damaged(path))?
            .name();
        let key = load_key(&folder.join(KEY_FILE))?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|error| cannot_make(&error))?;
        let settings = Settings::load(&folder.join(SETTINGS_FILE))?;
        Ok(Some(Self {
            issuer,
            certificate,
            name,
            settings,
        }))
    }

    /// Writes the authority into `data_dir`, all of it or nothing.
    pub(crate) fn save(&self, data_dir: &Path) -> Result<(), FileError> {
        let folder = data_dir.join(FOLDER);
        let aside = data_dir.join(format!("{FOLDER}.new"));
        let saved = self.save_into(&aside).and_then(|()| {
            std::fs::rename(&aside, &folder)
                .and_then(|()| domain_files::sync_parent(&folder))
                .map_err(|error| FileError::new("write", &folder, error))
        });
        if saved.is_err() {
            let _ = std::fs::remove_dir_all(&aside);
        }
        saved
    }

    fn save_into(&self, folder: &Path) -> Result<(), FileError> {
        // What a crash may have left.
        let _ = std::fs::remove_dir_all(folder);
        domain_files::make_folder(folder)?;
        let key = domain_files::pem("PRIVATE KEY", self.issuer.key().serialized_der());
        domain_files::write_private(&folder.join(KEY_FILE), key.as_bytes())?;
        let settings = self.settings.to_json();
        domain_files::write_private(&folder.join(SETTINGS_FILE), &settings)?;
        let certificate = domain_files::pem("CERTIFICATE", &self.certificate);
        domain_files::write_public(&folder.join(CERTIFICATE_FILE), certificate.as_bytes())
    }

    /// Makes a node's certificate for the time that the domain gives.
    pub fn issue(
        &self,
        key: PublicKey,
        name: &Name,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let own = Leaf::parse(&self.certificate)
            .map_err(|reason| AuthorityError::Certificate(reason.to_string()))?;
        let wanted = Validity::starting(now, self.settings.certificate_lifetime);
        // Never outside the authority's own time, even if the clock was set back
        // after it was made: such a certificate would hold nowhere.
        let validity = Validity {
            not_before: wanted.not_before.max(own.not_before()),
            not_after: wanted.not_after.min(own.not_after()),
        };
        self.issue_for(key, name, validity)
    }

    /// Makes a node's certificate for a given time.
    pub fn issue_for(
        &self,
        key: PublicKey,
        name: &Name,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let params = node_params(name, &self.domain_id().certificate_name(), validity)?;
        self.sign(&params, &key)
    }

    pub(crate) fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(|error| cannot_make(&error))?;
        Ok(certificate.der().clone())
    }

    /// Signs bytes that are no certificate.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let signed = self.issuer.key().sign(bytes);
        signed.map_err(|error| cannot_make(&error))
    }

    /// The name of the domain.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The fingerprint of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The id of the domain.
    #[must_use]
    pub fn domain_id(&self) -> DomainId {
        self.fingerprint().domain_id()
    }

    /// How long the certificates hold that it makes.
    #[must_use]
    pub fn certificate_lifetime(&self) -> Duration {
        self.settings.certificate_lifetime
    }

    /// The key of the domain's beacons.
    #[must_use]
    pub fn beacon_key(&self) -> &BeaconKey {
        &self.settings.beacon_key
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({}, {})", self.name, self.domain_id())
    }
}

impl Settings {
    fn load(path: &Path) -> Result<Self, AuthorityError> {
        let damaged = || AuthorityError::Damaged(path.to_owned());
        let bytes = domain_files::read(path)?.ok_or_else(damaged)?;
        let found = version_of(&bytes).ok_or_else(damaged)?;
        if found != VERSION {
            return Err(AuthorityError::Version {
                path: path.to_owned(),
                found,
            });
        }
        let stored: StoredSettings = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let beacon_key = unhex(&stored.beacon_key).ok_or_else(damaged)?;
        Ok(Self {
            certificate_lifetime: Duration::from_secs(stored.certificate_lifetime),
            beacon_key: BeaconKey::from_bytes(beacon_key),
        })
    }

    fn to_json(&self) -> Vec<u8> {
        let stored = StoredSettings {
            version: VERSION,
            certificate_lifetime: self.certificate_lifetime.as_secs(),
            beacon_key: hex(self.beacon_key.expose()),
        };
        serde_json::to_vec_pretty(&stored).expect("a text and numbers are JSON")
    }
}

fn load_key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let damaged = || AuthorityError::Damaged(path.to_owned());
    let pem = domain_files::read(path)?.ok_or_else(damaged)?;
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| damaged())?;
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).map_err(|_| damaged())
}

/// What every certificate of ours has.
fn params(name: &Name, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Potluck");
    subject.push(DnType::CommonName, name.as_str());
    params.distinguished_name = subject;
    params.not_before = OffsetDateTime::from(validity.not_before);
    params.not_after = OffsetDateTime::from(validity.not_after);
    params
}

/// What a node's certificate has.
pub(crate) fn node_params(
    name: &Name,
    certificate_name: &str,
    validity: Validity,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(name, validity);
    let dns = certificate_name
        .try_into()
        .map_err(|error| cannot_make(&error))?;
    params.subject_alt_names = vec![rcgen::SanType::DnsName(dns)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params)
}

fn cannot_make(error: &rcgen::Error) -> AuthorityError {
    AuthorityError::Certificate(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeIdentity;

    #[test]
    fn certificates_stay_within_the_authoritys_time() {
        let now = SystemTime::now();
        let name: Name = "site".parse().unwrap();
        let authority = Authority::create(&name, DEFAULT_CERTIFICATE_LIFETIME, now).unwrap();
        let key = NodeIdentity::generate().unwrap().public_key();
        let own = Leaf::parse(&authority.certificate).unwrap();
        let early = authority
            .issue(key, &name, now - Duration::from_secs(1800))
            .unwrap();
        assert_eq!(Leaf::parse(&early).unwrap().not_before(), own.not_before());
        let late = authority
            .issue(key, &name, now + AUTHORITY_LIFETIME - CLOCK_SLACK)
            .unwrap();
        assert_eq!(Leaf::parse(&late).unwrap().not_after(), own.not_after());
    }
}
