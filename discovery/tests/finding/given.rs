//! Nodes of an authority of the site's own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use potluck_discovery::{
    Departure, DiscoveryEvent, GivenError, GivenFiles, Membership, RejectReason, Revocations,
    Standing,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::support::{Node, PATIENCE, config, eventually, group};

const ORDINARY: [ExtendedKeyUsagePurpose; 2] = [
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];

/// An authority with one between it and the nodes.
struct Enterprise {
    dir: TempDir,
    middle: Issuer<'static, KeyPair>,
    /// The certificate of the one between, as PEM.
    between: String,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Enterprise {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = authority("Enterprise Root");
        let root = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), root.pem()).unwrap();
        std::fs::write(dir.path().join("beacon.key"), "ab".repeat(32)).unwrap();
        private(&dir.path().join("beacon.key"));
        let root = Issuer::new(params, key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = authority("Enterprise Machines");
        let between = params.signed_by(&key, &root).unwrap().pem();
        let middle = Issuer::new(params, key);
        Self {
            dir,
            middle,
            between,
        }
    }

    fn files(&self, name: &str) -> GivenFiles {
        let file = |end: &str| self.dir.path().join(format!("{name}{end}"));
        GivenFiles {
            certificate: file(".pem"),
            key: file(".key"),
            ca: self.dir.path().join("ca.pem"),
            crl: None,
            names: vec!["*.potluck.example".parse().unwrap()],
            beacon_key: Some(self.dir.path().join("beacon.key")),
        }
    }

    /// Gives a machine a certificate under `name` for the DNS name.
    fn give(&self, name: &str, dns: &str, serial: u64, key: &KeyPair) -> GivenFiles {
        let files = self.files(name);
        let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = ORDINARY.to_vec();
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.middle).unwrap().pem();
        std::fs::write(&files.certificate, certificate + &self.between).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        private(&files.key);
        files
    }

    /// Writes the list of revoked serial numbers.
    fn revoke(&self, serials: &[u64]) -> std::path::PathBuf {
        let now = OffsetDateTime::now_utc();
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::from_secs(3600),
            crl_number: SerialNumber::from(serials.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.path().join("crl.pem");
        let list = params.signed_by(&self.middle).unwrap();
        std::fs::write(&path, list.pem().unwrap()).unwrap();
        path
    }
}

fn private(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn key_of(kind: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(kind).unwrap()
}

fn standing(membership: &Membership) -> Standing {
    Standing::new(membership, Revocations::in_memory(membership)).unwrap()
}

#[tokio::test]
async fn they_find_each_other_whatever_their_keys_and_only_by_name() {
    let enterprise = Enterprise::new();
    let group = Some(group());
    let keys = [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_RSA_SHA256,
        &rcgen::PKCS_ED25519,
    ];
    let mut nodes = Vec::new();
    for (n, kind) in keys.into_iter().enumerate() {
        let name = format!("till-{n}");
        let dns = format!("{name}.potluck.example");
        let files = enterprise.give(&name, &dns, n as u64 + 1, &key_of(kind));
        let member = files.load().unwrap();
        assert_eq!(member.node_name().as_str(), name);
        let address = format!("127.0.0.{}", n + 1);
        nodes.push(Node::start_as(&standing(&member), &config(&address, group)));
    }
    nodes[0].sees(&["till-1", "till-2"]).await;
    nodes[1].sees(&["till-0", "till-2"]).await;
    nodes[2].sees(&["till-0", "till-1"]).await;

    // A certificate of the same authority that is no node's.
    let key = key_of(&PKCS_ECDSA_P256_SHA256);
    let mut files = enterprise.give("printer", "printer.office.example", 9, &key);
    let own = files.load();
    let unfit = matches!(
        &own,
        Err(GivenError::Unfit {
            reason: RejectReason::WrongDomain,
            ..
        })
    );
    assert!(unfit, "{own:?}");
    files.names = vec!["*.office.example".parse().unwrap()];
    let printer = files.load().unwrap();
    let _printer = Node::start_as(&standing(&printer), &config("127.0.0.9", group));
    let refused = nodes[0]
        .refuses(|it| it.reason == RejectReason::WrongDomain)
        .await;
    assert_eq!(refused.address.ip().to_string(), "127.0.0.9");
    assert_eq!(nodes[0].handle.peers().len(), 2);
}

#[tokio::test]
async fn a_new_certificate_and_a_new_list_take_effect_at_once() {
    let enterprise = Enterprise::new();
    let group = Some(group());
    let keys = [0, 1].map(|_| key_of(&PKCS_ECDSA_P256_SHA256));
    let give = |name: &str, serial, key| {
        let dns = format!("{name}.potluck.example");
        enterprise.give(name, &dns, serial, key)
    };
    let (mut here, there) = (give("here", 1, &keys[0]), give("there", 2, &keys[1]));
    here.crl = Some(enterprise.revoke(&[]));
    let here_standing = standing(&here.load().unwrap());
    let there_standing = standing(&there.load().unwrap());
    let first = Node::start_as(&here_standing, &config("127.0.0.1", group));
    let second = Node::start_as(&there_standing, &config("127.0.0.2", group));
    first.sees(&["there"]).await;
    second.sees(&["here"]).await;
    let mut events = first.handle.subscribe();

    // The same key with a later certificate: nobody notices.
    give("there", 3, &keys[1]);
    there_standing.renew(&there.load().unwrap()).unwrap();
    assert_eq!(first.handle.peers().len(), 1);
    assert!(events.try_recv().is_err());

    // The connection stands on the old certificate, which is out now.
    enterprise.revoke(&[2]);
    here_standing.renew(&here.load().unwrap()).unwrap();
    let departed = tokio::time::timeout(PATIENCE, async {
        loop {
            if let DiscoveryEvent::PeerRemoved { departure, .. } = events.recv().await.unwrap() {
                return departure;
            }
        }
    });
    assert_eq!(departed.await.unwrap(), Departure::Revoked);

    // The new one is out as well; a fresh start does not help.
    enterprise.revoke(&[2, 3]);
    here_standing.renew(&here.load().unwrap()).unwrap();
    second.stop().await;
    let again = Node::start_as(&there_standing, &config("127.0.0.2", group));
    let why = RejectReason::RefusedUs("our certificate was revoked");
    again
        .refuses(|it| it.reason == why || it.reason == RejectReason::Revoked)
        .await;
    assert!(again.handle.peers().is_empty());
    let refused = eventually(|| {
        let rejected = first.handle.rejected();
        let found = rejected.iter().any(|it| it.reason == RejectReason::Revoked);
        found.then_some(())
    });
    assert!(refused.await.is_some());
}

#[test]
fn each_wrong_file_is_named() {
    let enterprise = Enterprise::new();
    let key = key_of(&PKCS_ECDSA_P256_SHA256);
    let good = enterprise.give("till", "till.potluck.example", 1, &key);
    assert!(good.load().unwrap().expires() > SystemTime::now());
    let says = |files: &GivenFiles, words: &str| {
        let error = files.load().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let mut files = good.clone();
    files.ca = good.key.clone();
    says(&files, "holds no certificate");
    let mut files = good.clone();
    files.key = enterprise
        .give(
            "other",
            "other.potluck.example",
            2,
            &key_of(&PKCS_RSA_SHA256),
        )
        .key;
    says(&files, "does not fit");
    let mut files = good.clone();
    files.crl = Some(good.ca.clone());
    says(&files, "no list of revocations");
    std::fs::set_permissions(&good.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    says(&good, "chmod 600");
    let elsewhere = Enterprise::new();
    private(&good.key);
    let mut files = good.clone();
    files.ca = elsewhere.files("x").ca;
    says(&files, "does not fit");
}
