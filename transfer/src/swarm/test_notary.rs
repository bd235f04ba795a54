//! A domain whose certificates are numbers. Its signatures are hashes, so that anybody
//! could make them: what real ones prove is tested with real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use potluck_content::ContentId;
use potluck_discovery::{CannotSign, MemberSignature, PeerId, RejectReason};
use rustls_pki_types::CertificateDer;

use crate::swarm::{Notary, Prover};

pub(crate) struct TestNotary {
    number: u16,
    ends: SystemTime,
    revoked: Arc<AtomicBool>,
    judged: AtomicUsize,
    signed: AtomicUsize,
}

struct TestMember {
    number: u16,
    ends: SystemTime,
    revoked: Arc<AtomicBool>,
}

impl TestNotary {
    /// How long certificates hold.
    pub(super) const LIFE: Duration = Duration::from_secs(3600);

    /// That of the member with this number.
    pub(crate) fn new(number: u16) -> Self {
        Self::ending(number, SystemTime::now() + Self::LIFE)
    }

    /// As it sees it, all certificates end then.
    pub(super) fn ending(number: u16, ends: SystemTime) -> Self {
        Self {
            number,
            ends,
            revoked: Arc::default(),
            judged: AtomicUsize::new(0),
            signed: AtomicUsize::new(0),
        }
    }

    /// Everybody is revoked.
    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    /// How many certificates were judged.
    pub(super) fn judged(&self) -> usize {
        self.judged.load(Ordering::Relaxed)
    }

    /// How many signatures were made.
    pub(super) fn signed(&self) -> usize {
        self.signed.load(Ordering::Relaxed)
    }
}

fn signature(number: u16, message: &[u8]) -> MemberSignature {
    let hash = ContentId::of(&[&number.to_be_bytes(), message].concat());
    MemberSignature {
        scheme: 0x0807,
        bytes: hash.to_hex().into_bytes(),
    }
}

impl Notary for TestNotary {
    fn sign(&self, message: &[u8]) -> Result<MemberSignature, CannotSign> {
        self.signed.fetch_add(1, Ordering::Relaxed);
        Ok(signature(self.number, message))
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.number.to_be_bytes().to_vec())]
    }

    fn prove(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<dyn Prover>, RejectReason> {
        self.judged.fetch_add(1, Ordering::Relaxed);
        if self.revoked.load(Ordering::Relaxed) {
            return Err(RejectReason::Revoked);
        }
        let number = <[u8; 2]>::try_from(&**chain.first().ok_or(RejectReason::NoCertificate)?);
        Ok(Arc::new(TestMember {
            number: u16::from_be_bytes(number.map_err(|_| RejectReason::UnknownIssuer)?),
            ends: self.ends,
            revoked: Arc::clone(&self.revoked),
        }))
    }
}

impl Prover for TestMember {
    fn peer(&self) -> PeerId {
        // The multihash of an Ed25519 key is the key with this before it.
        let mut id = vec![0, 0x24, 8, 1, 0x12, 0x20];
        id.extend_from_slice(&[0; 30]);
        id.extend_from_slice(&self.number.to_be_bytes());
        PeerId::from_bytes(&id).unwrap()
    }

    fn is_member(&self, now: SystemTime) -> bool {
        now < self.ends && !self.revoked.load(Ordering::Relaxed)
    }

    fn has_signed(&self, message: &[u8], given: &MemberSignature) -> bool {
        *given == signature(self.number, message)
    }
}
