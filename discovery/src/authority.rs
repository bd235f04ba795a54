//! The domain's authority: the key that makes members.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SigningKey as _,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::authority_error::AuthorityError;
use crate::authority_facts::{AuthorityFacts, key_file};
use crate::authority_key::{self, AuthorityKey, StoredKey};
use crate::authority_settings::AuthoritySettings;
use crate::certificate_policy::Leaf;
use crate::domain_files::{self, FileError};
use crate::domain_id::{DomainId, Fingerprint};
use crate::identity::PublicKey;
use crate::name::Name;
use crate::passphrase::Passphrase;
use crate::secret::BeaconKey;

/// The folder of the authority in the data directory.
pub(crate) const FOLDER: &str = "authority";
pub(crate) const KEY_FILE: &str = "ca.key";
pub(crate) const CERTIFICATE_FILE: &str = "ca.pem";
pub(crate) const SETTINGS_FILE: &str = "authority.json";

/// How long a node's certificate holds unless told otherwise: long enough for
/// machines that are off for some weeks, short enough that a lost one is out soon.
pub const DEFAULT_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * DAY);
/// How long an authority's own certificate holds.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * DAY);
/// Certificates begin at most this much in the past, because clocks differ, and at
/// most a tenth of their life, so that what is left of a life can be told from them.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);
const DAY: u64 = 24 * 3600;

/// The certificate authority of a domain, with its key.
pub struct Authority {
    issuer: Issuer<'static, AuthorityKey>,
    facts: AuthorityFacts,
}

/// The time in which a certificate holds.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// From when on.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
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
        let key = AuthorityKey::generate()?;
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
        let settings = AuthoritySettings {
            certificate_lifetime,
            beacon_key,
            others: Vec::new(),
        };
        Self::assemble(certificate, settings, key)
            .ok_or_else(|| AuthorityError::Certificate("it does not fit its key".to_owned()))
    }

    /// Puts an authority together; `None` if the certificate is not one of this key.
    pub(crate) fn assemble(
        certificate: CertificateDer<'static>,
        settings: AuthoritySettings,
        key: AuthorityKey,
    ) -> Option<Self> {
        let (name, public) = {
            let own = Leaf::parse(&certificate).ok()?;
            (own.name(), own.public_key().ok()?)
        };
        if public.as_bytes() != key.public() {
            return None;
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).ok()?;
        let facts = AuthorityFacts {
            certificate,
            name,
            settings,
        };
        Some(Self { issuer, facts })
    }

    /// Reads the authority that lives in `data_dir`; `None` if there is none. One that
    /// is locked is an error; see [`unlock_authority`](crate::unlock_authority).
    pub fn load(data_dir: &Path) -> Result<Option<Self>, AuthorityError> {
        let Some(facts) = AuthorityFacts::load(data_dir)? else {
            return Ok(None);
        };
        let path = key_file(data_dir);
        let key = match StoredKey::load(&path)? {
            StoredKey::Plain(key) => key,
            StoredKey::Protected(_) => authority_key::unlocked(facts.fingerprint())
                .ok_or_else(|| AuthorityError::Locked(facts.name.clone()))?,
        };
        let authority = Self::assemble(facts.certificate, facts.settings, key);
        authority.map(Some).ok_or(AuthorityError::Damaged(path))
    }

    /// Writes the authority into `data_dir`, all of it or nothing.
    pub(crate) fn save(
        &self,
        data_dir: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), AuthorityError> {
        let folder = data_dir.join(FOLDER);
        let aside = data_dir.join(format!("{FOLDER}.new"));
        let saved = self.save_into(&aside, passphrase).and_then(|()| {
            std::fs::rename(&aside, &folder)
                .and_then(|()| domain_files::sync_parent(&folder))
                .map_err(|error| FileError::new("write", &folder, error).into())
        });
        if saved.is_err() {
            let _ = std::fs::remove_dir_all(&aside);
        }
        saved
    }

    fn save_into(
        &self,
        folder: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), AuthorityError> {
        // What a crash may have left.
        let _ = std::fs::remove_dir_all(folder);
        domain_files::make_folder(folder)?;
        let key = self.issuer.key();
        key.save(&folder.join(KEY_FILE), passphrase)?;
        let settings = self.facts.settings.to_json();
        domain_files::write_private(&folder.join(SETTINGS_FILE), &settings)?;
        let certificate = domain_files::pem("CERTIFICATE", &self.facts.certificate);
        domain_files::write_public(&folder.join(CERTIFICATE_FILE), certificate.as_bytes())?;
        Ok(())
    }

    /// Makes a node's certificate for the time that the domain gives.
    pub fn issue(
        &self,
        key: PublicKey,
        name: &Name,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let own = Leaf::parse(&self.facts.certificate)
            .map_err(|reason| AuthorityError::Certificate(reason.to_string()))?;
        let wanted = Validity::starting(now, self.facts.settings.certificate_lifetime);
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

    /// The key, for a node that is to hold the authority too.
    pub(crate) fn key(&self) -> &AuthorityKey {
        self.issuer.key()
    }

    /// The ids of the other nodes that are known to hold it.
    pub(crate) fn others(&self) -> &[String] {
        &self.facts.settings.others
    }

    /// The name of the domain.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.facts.name
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.facts.certificate
    }

    /// The fingerprint of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint()
    }

    /// The id of the domain.
    #[must_use]
    pub fn domain_id(&self) -> DomainId {
        self.fingerprint().domain_id()
    }

    /// How long the certificates hold that it makes.
    #[must_use]
    pub fn certificate_lifetime(&self) -> Duration {
        self.facts.settings.certificate_lifetime
    }

    /// The key of the domain's beacons.
    #[must_use]
    pub fn beacon_key(&self) -> &BeaconKey {
        &self.facts.settings.beacon_key
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({}, {})", self.name(), self.domain_id())
    }
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
        let own = Leaf::parse(authority.certificate()).unwrap();
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
