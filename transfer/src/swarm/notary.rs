//! Signing as this node, and proving who signed elsewhere.

use std::sync::Arc;
use std::time::SystemTime;

use potluck_discovery::{
    CannotSign, MemberSignature, PeerId, ProvenMember, RejectReason, Standing,
};
use rustls_pki_types::CertificateDer;

/// The domain as far as signatures go.
pub trait Notary: Send + Sync + 'static {
    /// Signs as this node. Takes up to some milliseconds.
    ///
    /// # Errors
    /// When its key does not sign.
    fn sign(&self, message: &[u8]) -> Result<MemberSignature, CannotSign>;

    /// The certificates that prove this node's signatures, its own first.
    fn certificates(&self) -> Vec<CertificateDer<'static>>;

    /// Judges the certificates of who signed, its own first.
    ///
    /// # Errors
    /// Why it is no member of the domain.
    fn prove(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<dyn Prover>, RejectReason>;
}

/// A member of the domain whose signatures can be checked.
pub trait Prover: Send + Sync {
    /// Who it is.
    fn peer(&self) -> PeerId;

    /// Whether it is a member still: its certificate has not ended, and was not revoked
    /// since it was proven.
    fn is_member(&self, now: SystemTime) -> bool;

    /// Whether it signed this.
    fn has_signed(&self, message: &[u8], signature: &MemberSignature) -> bool;
}

/// The notary of a real domain.
impl Notary for Standing {
    fn sign(&self, message: &[u8]) -> Result<MemberSignature, CannotSign> {
        Self::sign(self, message)
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        Self::certificates(self)
    }

    fn prove(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<dyn Prover>, RejectReason> {
        let proven = self.prove_member(chain, SystemTime::now())?;
        let standing = self.clone();
        Ok(Arc::new(Member { standing, proven }))
    }
}

struct Member {
    standing: Standing,
    proven: ProvenMember,
}

impl Prover for Member {
    fn peer(&self) -> PeerId {
        self.proven.peer_id
    }

    fn is_member(&self, now: SystemTime) -> bool {
        self.standing.is_still_member(&self.proven, now).is_ok()
    }

    fn has_signed(&self, message: &[u8], signature: &MemberSignature) -> bool {
        self.proven.verify(message, signature).is_ok()
    }
}
