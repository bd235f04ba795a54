//! How a member asks for its next certificate: it shows the present one and proves
//! that it still has the key, over this very TLS session.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::certificate_policy::{CertificatePolicy, Leaf};
use crate::domain_id::Fingerprint;
use crate::hex::{hex, unhex, unhex_vec};
use crate::identity::{NodeIdentity, PublicKey};
use crate::join_protocol::{Binding, Refusal};
use crate::membership::verify_both_roles;
use crate::name::Name;

/// Other than the proof of a new node, so that neither passes for the other.
const PROOF_CONTEXT: &[u8] = b"potluck renewal proof 1\0";

/// What a member sends.
#[derive(Serialize, Deserialize)]
pub(crate) struct RenewalRequest {
    /// Its present certificate, DER in hexadecimal digits.
    certificate: String,
    proof: String,
}

/// A member whose present certificate may be followed by another.
#[derive(Debug)]
pub(crate) struct Renewable {
    pub(crate) public_key: PublicKey,
    pub(crate) name: Name,
}

impl RenewalRequest {
    pub(crate) fn new(
        certificate: &CertificateDer<'_>,
        identity: &NodeIdentity,
        binding: &Binding,
    ) -> Self {
        Self {
            certificate: hex(certificate),
            proof: hex(&identity.sign(&proven(binding, certificate))),
        }
    }

    /// Reads the certificate and checks that its key made the proof. Whose
    /// certificate it is remains to be seen.
    pub(crate) fn prove(&self, binding: &Binding) -> Option<CertificateDer<'static>> {
        let certificate = CertificateDer::from(unhex_vec(&self.certificate)?);
        let proof: [u8; 64] = unhex(&self.proof)?;
        let key = Leaf::parse(&certificate).ok()?.public_key().ok()?;
        key.verify(&proven(binding, &certificate), &proof)
            .then_some(certificate)
    }
}

/// Whether the authority may follow up `certificate` with another one: it issued it,
/// the certificate was good when it began, and it ended no longer ago than it had held.
/// One that begins later than now was issued while a clock was ahead, and a renewal is
/// the way out of that.
pub(crate) fn renewable(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'static>,
    now: SystemTime,
) -> Result<Renewable, Refusal> {
    let leaf = Leaf::parse(certificate).map_err(|_| Refusal::BadRequest)?;
    let (begin, end) = (leaf.not_before(), leaf.not_after());
    let domain = Fingerprint::of(authority).domain_id();
    verify_both_roles(certificate, authority, domain, begin).map_err(|_| Refusal::NotOurs)?;
    CertificatePolicy::new(domain, authority.clone())
        .check(Some(std::slice::from_ref(certificate)), begin)
        .map_err(|_| Refusal::NotOurs)?;
    let life = end.duration_since(begin).unwrap_or_default();
    let last = end.checked_add(life).unwrap_or(end);
    if now > last {
        return Err(Refusal::TooLate);
    }
    let public_key = leaf.public_key().map_err(|_| Refusal::NotOurs)?;
    let name = leaf.name();
    Ok(Renewable { public_key, name })
}

fn proven(binding: &Binding, certificate: &[u8]) -> Vec<u8> {
    [PROOF_CONTEXT, binding, certificate].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authority::{Authority, Validity};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn authority() -> Authority {
        let name = "site".parse().unwrap();
        Authority::create(&name, 30 * DAY, SystemTime::now()).unwrap()
    }

    fn issued(authority: &Authority, key: PublicKey, from: SystemTime) -> CertificateDer<'static> {
        let validity = Validity {
            not_before: from,
            not_after: from + 2 * DAY,
        };
        let name = "member".parse().unwrap();
        authority.issue_for(key, &name, validity).unwrap()
    }

    #[test]
    fn a_proof_holds_in_its_own_session_and_for_its_own_certificate() {
        let (authority, identity) = (authority(), NodeIdentity::generate().unwrap());
        let now = SystemTime::now();
        let certificate = issued(&authority, identity.public_key(), now);
        let request = RenewalRequest::new(&certificate, &identity, &[7; 32]);
        assert_eq!(request.prove(&[7; 32]), Some(certificate));
        assert_eq!(request.prove(&[8; 32]), None);
        let other = NodeIdentity::generate().unwrap();
        let stolen = issued(&authority, other.public_key(), now);
        let request = RenewalRequest::new(&stolen, &identity, &[7; 32]);
        assert_eq!(request.prove(&[7; 32]), None);
    }

    #[test]
    fn the_grace_is_as_long_as_the_life() {
        let (authority, identity) = (authority(), NodeIdentity::generate().unwrap());
        let begin = SystemTime::now();
        let certificate = issued(&authority, identity.public_key(), begin);
        let at = |now| renewable(&certificate, authority.certificate(), now);
        assert!(at(begin - DAY).is_ok(), "issued while the clock was ahead");
        let good = at(begin + DAY).unwrap();
        assert_eq!(good.public_key, identity.public_key());
        assert_eq!(good.name.as_str(), "member");
        assert!(at(begin + 3 * DAY).is_ok(), "ended a day ago");
        assert_eq!(at(begin + 5 * DAY).unwrap_err(), Refusal::TooLate);
    }

    #[test]
    fn only_what_this_authority_issued_is_renewed() {
        let (ours, theirs) = (authority(), authority());
        let now = SystemTime::now();
        let key = NodeIdentity::generate().unwrap().public_key();
        let foreign = issued(&theirs, key, now);
        let refused = renewable(&foreign, ours.certificate(), now).unwrap_err();
        assert_eq!(refused, Refusal::NotOurs);
        // Nor its own certificate, which is no node's.
        let own = renewable(ours.certificate(), ours.certificate(), now).unwrap_err();
        assert_eq!(own, Refusal::NotOurs);
    }
}
