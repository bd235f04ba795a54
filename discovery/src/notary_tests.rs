use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RevokedCertParams, SerialNumber,
    SignatureAlgorithm,
};
use rustls_pki_types::{CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::*;
use crate::authority::{Authority, DEFAULT_CERTIFICATE_LIFETIME, Validity};
use crate::given_policy::GivenPolicy;
use crate::identity::NodeIdentity;
use crate::revocation_list::Revocation;

const HOUR: Duration = Duration::from_secs(3600);
const MESSAGE: &[u8] = b"piece 7 is soup";

/// A domain that Potluck made.
struct Domain(Authority);

impl Domain {
    fn new() -> Self {
        Self::named("site")
    }

    fn named(name: &str) -> Self {
        let (name, life) = (name.parse().unwrap(), DEFAULT_CERTIFICATE_LIFETIME);
        Self(Authority::create(&name, life, SystemTime::now()).unwrap())
    }

    fn member(&self, left: Duration) -> Standing {
        let identity = NodeIdentity::generate().unwrap();
        let now = SystemTime::now();
        let validity = Validity {
            not_before: now - HOUR,
            not_after: now + left,
        };
        let (key, name) = (identity.public_key(), "node".parse().unwrap());
        let certificate = self.0.issue_for(key, &name, validity).unwrap();
        let (ca, beacon) = (self.0.certificate().clone(), self.0.beacon_key().clone());
        standing(&Membership::new(identity, certificate, ca, beacon).unwrap())
    }
}

/// An authority of the site's own, with one between it and the nodes.
struct Enterprise {
    root: CertificateDer<'static>,
    between: CertificateDer<'static>,
    middle: Issuer<'static, KeyPair>,
}

impl Enterprise {
    fn new() -> Self {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let (root_key, middle_key) = (key(), key());
        let root = params("Root").self_signed(&root_key).unwrap();
        let issuer = Issuer::new(params("Root"), root_key);
        let between = params("Machines").signed_by(&middle_key, &issuer).unwrap();
        Self {
            root: root.der().clone(),
            between: between.der().clone(),
            middle: Issuer::new(params("Machines"), middle_key),
        }
    }

    fn certificate(&self, key: &KeyPair, dns: &str, serial: u64) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "till");
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.middle).unwrap().der().clone()
    }

    fn member(&self, kind: &'static SignatureAlgorithm, dns: &str, serial: u64) -> Membership {
        let key = KeyPair::generate_for(kind).unwrap();
        let certificate = self.certificate(&key, dns, serial);
        let names = dns.replacen("till", "*", 1).replacen("printer", "*", 1);
        self.given(&key, certificate, &names, Vec::new())
    }

    fn given(
        &self,
        key: &KeyPair,
        own: CertificateDer<'static>,
        names: &str,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Membership {
        // The root may come along in TLS.
        let chain = vec![own, self.between.clone(), self.root.clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let policy = GivenPolicy::new(vec![names.parse().unwrap()], lists).unwrap();
        Membership::given(key, chain, self.root.clone(), policy, None).unwrap()
    }

    /// The list of revocations that names one serial number.
    fn list(&self, serial: u64) -> CertificateRevocationListDer<'static> {
        let now = OffsetDateTime::now_utc();
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + HOUR,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.middle).unwrap().der().clone()
    }
}

fn standing(membership: &Membership) -> Standing {
    Standing::new(membership, Revocations::in_memory(membership)).unwrap()
}

fn proven(judge: &Standing, signer: &Standing) -> Result<ProvenMember, RejectReason> {
    judge.prove_member(&signer.certificates(), SystemTime::now())
}

/// Signs, and has it proven by another member.
fn signed_and_proven(signer: &Standing, judge: &Standing, scheme: u16) {
    let signature = signer.sign(MESSAGE).unwrap();
    assert_eq!(signature.scheme, scheme);
    let member = proven(judge, signer).unwrap();
    assert_eq!(member.peer_id, signer.peer_id());
    assert_eq!(member.ends, signer.expires());
    assert_eq!(member.verify(MESSAGE, &signature), Ok(()));
    assert_eq!(
        member.verify(b"piece 7 is stew", &signature),
        Err(BadSignature)
    );
    for at in 0..signature.bytes.len() {
        let mut tampered = signature.clone();
        tampered.bytes[at] ^= 1;
        assert_eq!(member.verify(MESSAGE, &tampered), Err(BadSignature), "{at}");
    }
    for scheme in [0, 0x0401, 0x0403, 0x0503, 0x0804, 0x0807, 0x0808] {
        let other = MemberSignature {
            scheme,
            bytes: signature.bytes.clone(),
        };
        let right = scheme == signature.scheme;
        assert_eq!(member.verify(MESSAGE, &other).is_ok(), right, "{scheme:#x}");
    }
    let cut = MemberSignature {
        bytes: Vec::new(),
        ..signature
    };
    assert_eq!(member.verify(MESSAGE, &cut), Err(BadSignature));
}

#[test]
fn a_member_signs_and_every_other_can_tell() {
    let domain = Domain::new();
    let (signer, judge) = (domain.member(HOUR), domain.member(HOUR));
    assert_eq!(signer.certificates().len(), 1, "the authority is known");
    signed_and_proven(&signer, &judge, 0x0807);
    // A third member's signature is not the first one's.
    let other = judge.sign(MESSAGE).unwrap();
    let member = proven(&judge, &signer).unwrap();
    assert_eq!(member.verify(MESSAGE, &other), Err(BadSignature));
}

#[test]
fn keys_of_every_kind_sign() {
    let enterprise = Enterprise::new();
    let dns = "till.potluck.example";
    let judge = standing(&enterprise.member(&PKCS_ED25519, dns, 1));
    let kinds = [
        (&PKCS_ED25519, 0x0807),
        (&PKCS_ECDSA_P256_SHA256, 0x0403),
        (&PKCS_RSA_SHA256, 0x0804),
    ];
    for (kind, scheme) in kinds {
        let signer = standing(&enterprise.member(kind, dns, 2));
        assert_eq!(signer.certificates().len(), 2, "its own, and one between");
        signed_and_proven(&signer, &judge, scheme);
    }
}

#[test]
fn what_is_signed_has_its_context() {
    let domain = Domain::new();
    let signer = domain.member(HOUR);
    let member = proven(&signer, &signer).unwrap();
    let key = signer.membership().identity().unwrap().clone();
    let bare = MemberSignature {
        scheme: 0x0807,
        bytes: key.sign(MESSAGE).to_vec(),
    };
    assert_eq!(member.verify(MESSAGE, &bare), Err(BadSignature));
    let wanted = [&[b' '; 64], &b"potluck swarm statement 1\0"[..], MESSAGE].concat();
    let spelt = MemberSignature {
        scheme: 0x0807,
        bytes: key.sign(&wanted).to_vec(),
    };
    assert_eq!(signer.sign(MESSAGE), Ok(spelt));
}

#[test]
fn strangers_are_no_members() {
    let domain = Domain::new();
    let judge = domain.member(HOUR);
    let reason = |signer: &Standing| proven(&judge, signer).unwrap_err();
    let elsewhere = Domain::named("elsewhere").member(HOUR);
    assert_eq!(reason(&elsewhere), RejectReason::UnknownIssuer);
    let namesake = Domain::new().member(HOUR);
    assert_eq!(reason(&namesake), RejectReason::BadSignature);
    let enterprise = Enterprise::new();
    let dns = "till.potluck.example";
    let till = standing(&enterprise.member(&PKCS_ED25519, dns, 1));
    assert_eq!(reason(&till), RejectReason::UnknownIssuer);
    // The same authority's, under a name that makes no node.
    let printer = enterprise.member(&PKCS_ED25519, "printer.office.example", 2);
    let refused = proven(&till, &standing(&printer)).unwrap_err();
    assert_eq!(refused, RejectReason::WrongDomain);
    // Without the certificate between, nothing leads to the authority.
    let alone = &till.certificates()[..1];
    let refused = till.prove_member(alone, SystemTime::now()).unwrap_err();
    assert_eq!(refused, RejectReason::UnknownIssuer);
}

#[test]
fn chains_that_are_none_are_refused() {
    let domain = Domain::new();
    let (judge, now) = (domain.member(HOUR), SystemTime::now());
    let own = judge.certificates()[0].clone();
    let reason = |chain: &[CertificateDer<'_>]| judge.prove_member(chain, now).unwrap_err();
    assert_eq!(reason(&[]), RejectReason::NoCertificate);
    let rubbish = CertificateDer::from(vec![7; 500]);
    assert_eq!(
        reason(std::slice::from_ref(&rubbish)),
        RejectReason::BadCertificate
    );
    assert_eq!(
        reason(&[own.clone(), rubbish.clone()]),
        RejectReason::ChainTooLong
    );
    let huge = CertificateDer::from(vec![7; MAX_CHAIN_LEN]);
    assert_eq!(reason(&[own.clone(), huge]), RejectReason::TooLarge);
    let whole = [own, domain.0.certificate().clone()];
    assert!(
        judge.prove_member(&whole, now).is_ok(),
        "as TLS may show it"
    );
}

#[test]
fn certificates_count_only_in_their_time() {
    let domain = Domain::new();
    let (judge, signer) = (domain.member(HOUR), domain.member(HOUR / 2));
    let chain = signer.certificates();
    let now = SystemTime::now();
    let at = |time| judge.prove_member(&chain, time).map(|it| it.peer_id);
    assert_eq!(at(now), Ok(signer.peer_id()));
    assert_eq!(at(now + HOUR), Err(RejectReason::Expired));
    assert_eq!(at(now - 2 * HOUR), Err(RejectReason::NotYetValid));
    let member = judge.prove_member(&chain, now).unwrap();
    assert_eq!(judge.is_still_member(&member, now), Ok(()));
    let later = judge.is_still_member(&member, now + HOUR);
    assert_eq!(later, Err(RejectReason::Expired));
}

#[test]
fn the_revoked_are_no_members_any_more() {
    let domain = Domain::new();
    let (judge, signer) = (domain.member(HOUR), domain.member(HOUR));
    let now = SystemTime::now();
    let member = proven(&judge, &signer).unwrap();
    let entry = Revocation::new("lost".parse().unwrap(), "stolen", now);
    let list = judge.revocations();
    list.revoke(&domain.0, signer.peer_id(), entry).unwrap();
    assert_eq!(proven(&judge, &signer).unwrap_err(), RejectReason::Revoked);
    let still = judge.is_still_member(&member, now);
    assert_eq!(still, Err(RejectReason::Revoked));
    assert!(proven(&judge, &domain.member(HOUR)).is_ok());
}

#[test]
fn the_lists_of_another_authority_count_too() {
    let enterprise = Enterprise::new();
    let dns = "till.potluck.example";
    let signer = standing(&enterprise.member(&PKCS_ECDSA_P256_SHA256, dns, 2));
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let own = enterprise.certificate(&key, dns, 1);
    let with = |lists| enterprise.given(&key, own.clone(), "*.potluck.example", lists);
    let judge = standing(&with(Vec::new()));
    let member = proven(&judge, &signer).unwrap();
    judge.renew(&with(vec![enterprise.list(2)])).unwrap();
    assert_eq!(proven(&judge, &signer).unwrap_err(), RejectReason::Revoked);
    let still = judge.is_still_member(&member, SystemTime::now());
    assert_eq!(still, Err(RejectReason::Revoked));
}
