//! Certificates with their keys, right ones and wrong ones.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use potluck_discovery::{Authority, Name, PeerId, PublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::credulous::provider;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate with its key, or nothing at all.
#[derive(Debug)]
pub struct Papers(Option<(Vec<CertificateDer<'static>>, KeyPair)>);

/// Papers that must be refused.
#[derive(Debug)]
pub struct Mistake {
    /// What is wrong with them.
    pub name: &'static str,
    /// A part of the reason that is to be shown.
    pub reason: &'static str,
    /// The papers.
    pub papers: Papers,
}

impl Papers {
    /// A proper member's, from the authority that lives in `data_dir`.
    pub fn member(data_dir: &Path) -> Result<Self> {
        Office::of(data_dir)?.papers(|_| {})
    }

    /// From an authority of this name with another key.
    pub fn foreign_to(domain: &Name) -> Result<Self> {
        let foreign = Authority::create(domain, DAY, SystemTime::now())?;
        Self::of_another(&foreign, &foreign.domain_id().certificate_name())
    }

    /// None at all: good for calling only.
    pub fn missing() -> Self {
        Self(None)
    }

    /// What another authority would give, with this name in it. The other's key is its
    /// own, so a key of the same name stands for it.
    fn of_another(authority: &Authority, certificate_name: &str) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let issuer = Issuer::from_ca_cert_der(authority.certificate(), key)?;
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = member_params(certificate_name)?.signed_by(&key, &issuer)?;
        Ok(Self(Some((vec![certificate.der().clone()], key))))
    }

    /// The id of the node that these papers make.
    pub fn peer_id(&self) -> Result<PeerId> {
        let (_, key) = self.0.as_ref().context("no papers at all")?;
        let key = key.public_key_raw().try_into()?;
        Ok(PublicKey::from_bytes(key).peer_id())
    }

    /// As rustls shows them, whether they fit together or not.
    pub(crate) fn shown(&self) -> Result<Option<Arc<SingleCertAndKey>>> {
        let Some((chain, key)) = &self.0 else {
            return Ok(None);
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = provider().key_provider.load_private_key(key)?;
        let shown = CertifiedKey::new(chain.clone(), key);
        Ok(Some(Arc::new(shown.into())))
    }
}

/// Every mistake that papers can have, in the domain whose authority lives in `data_dir`.
pub fn mistakes(data_dir: &Path) -> Result<Vec<Mistake>> {
    let office = Office::of(data_dir)?;
    let mut all = Vec::new();
    let mut add = |name, reason, papers: Result<Papers>| {
        let papers = papers.with_context(|| name)?;
        all.push(Mistake {
            name,
            reason,
            papers,
        });
        anyhow::Ok(())
    };
    add("of another authority", UNKNOWN, office.foreign("elsewhere"))?;
    let namesake = office.authority.name().to_string();
    add("of a namesake", SIGNATURE, office.foreign(&namesake))?;
    add("self-signed", UNKNOWN, office.self_signed())?;
    add("stolen", SIGNATURE, office.stolen())?;
    add("broken", "cannot be read", office.broken())?;
    add("too long a chain", CHAIN, office.chain_of_three())?;
    add("in bad company", CHAIN, office.in_bad_company(1))?;
    add("in a crowd", CHAIN, office.in_bad_company(40))?;
    add("an authority's own", USAGE, office.of_the_authority())?;
    let spoilt: [(_, _, fn(&mut CertificateParams)); 10] = [
        ("expired", "has ended", |it| {
            it.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
        }),
        ("not yet valid", "not valid yet", |it| {
            it.not_before = (SystemTime::now() + DAY / 2).into();
        }),
        ("for servers only", USAGE, |it| {
            it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("for clients only", USAGE, |it| {
            it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
        ("not for signatures", USAGE, |it| {
            it.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        }),
        ("an authority below ours", USAGE, |it| {
            it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }),
        ("of another domain", DOMAIN, |it| {
            it.subject_alt_names = names(&["node.0123456789abcdef.potluck.internal"]);
        }),
        ("without a name", DOMAIN, |it| it.subject_alt_names.clear()),
        ("with two names", DOMAIN, |it| {
            it.subject_alt_names.extend(names(&["www.example.org"]));
        }),
        ("of an absurd size", "too large", |it| {
            let content = vec![7; 70_000];
            let more = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999], content);
            it.custom_extensions.push(more);
        }),
    ];
    for (name, reason, spoil) in spoilt {
        add(name, reason, office.papers(spoil))?;
    }
    add(
        "of another kind of key",
        "not Ed25519",
        office.of_another_kind(),
    )?;
    Ok(all)
}

const UNKNOWN: &str = "from another authority";
const SIGNATURE: &str = "a signature is wrong";
const CHAIN: &str = "too many certificates";
const USAGE: &str = "not for both ends";
const DOMAIN: &str = "not for this domain";

/// An authority's pen, for certificates that it would never sign.
struct Office {
    authority: Authority,
    pen: Issuer<'static, KeyPair>,
    name: String,
    key_pem: String,
}

impl Office {
    fn of(data_dir: &Path) -> Result<Self> {
        let authority = Authority::load(data_dir)?.context("no authority there")?;
        let key_pem = std::fs::read_to_string(data_dir.join("authority/ca.key"))?;
        let pen = Issuer::from_ca_cert_der(authority.certificate(), KeyPair::from_pem(&key_pem)?)?;
        let name = authority.domain_id().certificate_name();
        Ok(Self {
            authority,
            pen,
            name,
            key_pem,
        })
    }

    /// A member's papers, spoilt.
    fn papers(&self, spoil: impl FnOnce(&mut CertificateParams)) -> Result<Papers> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = member_params(&self.name)?;
        spoil(&mut params);
        let certificate = params.signed_by(&key, &self.pen)?.der().clone();
        Ok(Papers(Some((vec![certificate], key))))
    }

    fn foreign(&self, domain: &str) -> Result<Papers> {
        let foreign = Authority::create(&domain.parse()?, DAY, SystemTime::now())?;
        Papers::of_another(&foreign, &self.name)
    }

    fn self_signed(&self) -> Result<Papers> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = member_params(&self.name)?.self_signed(&key)?.der().clone();
        Ok(Papers(Some((vec![certificate], key))))
    }

    fn stolen(&self) -> Result<Papers> {
        let chain = self.chain(|_| {})?;
        Ok(Papers(Some((chain, KeyPair::generate_for(&PKCS_ED25519)?))))
    }

    fn broken(&self) -> Result<Papers> {
        let Papers(right) = self.papers(|_| {})?;
        let (chain, key) = right.context("papers")?;
        let mut bytes = chain.first().context("a certificate")?.to_vec();
        bytes.truncate(bytes.len() / 2);
        Ok(Papers(Some((vec![bytes.into()], key))))
    }

    /// A member made itself an authority.
    fn chain_of_three(&self) -> Result<Papers> {
        let middle_key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut middle = member_params(&self.name)?;
        middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        middle.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = middle.signed_by(&middle_key, &self.pen)?.der().clone();
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let issuer = Issuer::new(middle, middle_key);
        let own = member_params(&self.name)?.signed_by(&key, &issuer)?;
        Ok(Papers(Some((vec![own.der().clone(), certificate], key))))
    }

    /// A right certificate with others behind it.
    fn in_bad_company(&self, others: usize) -> Result<Papers> {
        let Papers(right) = self.papers(|_| {})?;
        let (mut chain, key) = right.context("papers")?;
        let other = Authority::create(&"other".parse()?, DAY, SystemTime::now())?;
        chain.extend(vec![other.certificate().clone(); others]);
        Ok(Papers(Some((chain, key))))
    }

    fn of_the_authority(&self) -> Result<Papers> {
        let chain = vec![self.authority.certificate().clone()];
        Ok(Papers(Some((chain, KeyPair::from_pem(&self.key_pem)?))))
    }

    fn of_another_kind(&self) -> Result<Papers> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = member_params(&self.name)?.signed_by(&key, &self.pen)?;
        Ok(Papers(Some((vec![certificate.der().clone()], key))))
    }

    fn chain(
        &self,
        spoil: impl FnOnce(&mut CertificateParams),
    ) -> Result<Vec<CertificateDer<'static>>> {
        let Papers(papers) = self.papers(spoil)?;
        Ok(papers.context("papers")?.0)
    }
}

/// What the authority writes for a member.
fn member_params(certificate_name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new([certificate_name.to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, "stranger");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.not_before = (SystemTime::now() - DAY / 2).into();
    params.not_after = (SystemTime::now() + DAY).into();
    Ok(params)
}

fn names(all: &[&str]) -> Vec<rcgen::SanType> {
    let names = all.iter().filter_map(|&name| name.try_into().ok());
    names.map(rcgen::SanType::DnsName).collect()
}
