//! A site that has an authority of its own: nodes with the certificates that it gives.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, poll, until};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber,
};
use serde_json::Value;
use time::OffsetDateTime;

/// At 10 Mbit/s this takes thirteen seconds, some of which pass until new files are seen.
const SIZE: usize = 16 << 20;
/// New files are seen within five seconds.
const SEEN: Duration = Duration::from_secs(15);

struct Enterprise {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Enterprise {
    fn new(lab: &Lab) -> Result<Self> {
        let dir = lab.subdir("enterprise")?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        let subject = &mut params.distinguished_name;
        subject.push(DnType::CommonName, "Enterprise Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        fs::write(dir.join("ca.pem"), params.self_signed(&key)?.pem())?;
        secret(&dir.join("beacon.key"), &"5a".repeat(32))?;
        let issuer = Issuer::new(params, key);
        let enterprise = Self { dir, issuer };
        enterprise.revoke(&[])?;
        Ok(enterprise)
    }

    /// A certificate for the key, in the place of the former one.
    fn certify(&self, name: &str, domain: &str, key: &KeyPair, serial: u64) -> Result<()> {
        let mut params = CertificateParams::new(vec![format!("{name}.{domain}")])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(key, &self.issuer)?;
        replace(&self.dir.join(format!("{name}.pem")), &certificate.pem())
    }

    fn revoke(&self, serials: &[u64]) -> Result<()> {
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
        let list = params.signed_by(&self.issuer)?;
        replace(&self.dir.join("crl.pem"), &list.pem()?)
    }

    /// A node with a certificate for a name under `domain`.
    fn node(&self, lab: &Lab, name: &str, domain: &str, serial: u64) -> Result<(Node, KeyPair)> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        secret(&self.dir.join(format!("{name}.key")), &key.serialize_pem())?;
        self.certify(name, domain, &key, serial)?;
        let mut node = Node::new(lab, &lab.host(name)?, &[])?;
        let dir = self.dir.display();
        node.set("peering.max_bandwidth_served = \"10 Mbps\"");
        node.set("peering.min_peer_rate = \"0 KB/s\"");
        node.set(&format!("domain.certificate_file = \"{dir}/{name}.pem\""));
        node.set(&format!("domain.key_file = \"{dir}/{name}.key\""));
        node.set(&format!("domain.ca_file = \"{dir}/ca.pem\""));
        node.set(&format!("domain.crl_file = \"{dir}/crl.pem\""));
        node.set(&format!("domain.beacon_key_file = \"{dir}/beacon.key\""));
        node.set(&format!("domain.names = [\"*.{domain}\"]"));
        node.start()?;
        Ok((node, key))
    }
}

fn secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// In one step, as programs that renew certificates do.
fn replace(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, text)?;
    Ok(fs::rename(aside, path)?)
}

fn has_refused(node: &Node, word: &str) -> Result<bool> {
    let rejected = node.json(&["peers", "--rejected"])?;
    let rejected = rejected.as_array().context("rejected is an array")?;
    let reason = |entry: &Value| entry["reason"].as_str().unwrap_or_default().to_owned();
    Ok(rejected.iter().any(|entry| reason(entry).contains(word)))
}

mod needs_nginx_namespaces {
    use super::*;

    #[test]
    fn its_certificates_are_renewed_and_revoked_under_transfers() {
        Lab::run_in_namespaces(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE);
            blob.write(nginx.root(), "file.bin")?;
            let enterprise = Enterprise::new(lab)?;
            let (giver, key) = enterprise.node(lab, "giver", "potluck.example", 1)?;
            let (taker, own_key) = enterprise.node(lab, "taker", "potluck.example", 2)?;
            giver.await_peers(1)?;
            taker.await_peers(1)?;
            let shown = taker.json(&["domain", "show"])?;
            let file = shown["authority_file"].as_str().unwrap_or_default();
            ensure!(
                file.ends_with("ca.pem") && shown["node"] == "taker",
                "{shown}"
            );
            let refused = taker.run(&["domain", "create", "other"])?;
            ensure!(
                refused.stderr.contains("site's own authority"),
                "{refused:?}"
            );

            // A certificate of the same authority that is no node's.
            let (printer, _) = enterprise.node(lab, "printer", "office.example", 3)?;
            poll(SEEN, "the printer to be turned away", || {
                has_refused(&giver, "not for this domain")
            })?;
            printer.await_peers(0)?;

            // Another certificate for the same key, in the middle of a transfer.
            giver.get(&nginx.url("file.bin"), "file.bin")?;
            let job = taker.get_with(&nginx.url("file.bin"), "file.bin", &["--detach"])?;
            let id = job["id"].as_str().context("a detached job has an id")?;
            until(Duration::from_secs(20), "some bytes from the peer", || {
                let job = taker.json(&["job", "show", id])?;
                Ok((bytes_of(&job, "bytes_from_peers")? > 1 << 20).then_some(()))
            })?;
            enterprise.certify("giver", "potluck.example", &key, 4)?;
            // A file that is broken meanwhile changes nothing.
            replace(&enterprise.dir.join("taker.pem"), "rubbish")?;
            poll(SEEN, "the broken file to be told", || {
                let events = taker.json_lines(&["events"])?;
                Ok(events
                    .iter()
                    .any(|event| event["kind"] == "peering_trouble"))
            })?;
            let report = taker.json(&["doctor"])?;
            ensure!(
                report["findings"].as_array().is_some_and(|findings| {
                    findings.iter().any(|finding| {
                        finding["check"] == "domain files"
                            && finding["health"] == "warning"
                            && finding["finding"]
                                .as_str()
                                .unwrap_or_default()
                                .contains("taker.pem")
                    })
                }),
                "{report}"
            );
            let done = taker.await_job(id, &["acknowledged", "error"], Duration::from_secs(60))?;
            ensure!(
                bytes_of(&done, "bytes_from_peers")? == SIZE as u64,
                "{done}"
            );
            blob.check(&taker.downloaded("file.bin")?)?;
            let events = taker.json_lines(&["events"])?;
            let lost = events.iter().any(|event| event["kind"] == "peer_removed");
            ensure!(!lost, "somebody left: {events:#?}");

            // The authority revokes both certificates of the giver.
            enterprise.certify("taker", "potluck.example", &own_key, 5)?;
            enterprise.revoke(&[1, 4])?;
            poll(SEEN, "the giver to be dropped", || {
                let peers = taker.json(&["peers"])?;
                Ok(peers.as_array().is_some_and(Vec::is_empty))
            })?;
            ensure!(has_refused(&taker, "revoked")?, "it is not said why");
            Ok(())
        });
    }
}
