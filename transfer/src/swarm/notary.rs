//! Signing as this node, and proving who signed elsewhere.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use potluck_discovery::{PeerId, RejectReason};
use rustls_pki_types::CertificateDer;

/// The domain as far as signatures go.
pub trait Notary: Send + Sync + 'static {
    /// Signs as this node. Takes up to some milliseconds.
    ///
    /// # Errors
    /// Why it cannot, in words.
    fn sign(&self, message: &[u8]) -> Result<MemberSignature, String>;

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

    /// When its certificates end.
    fn ends(&self) -> SystemTime;

    /// Whether it was revoked since it was proven.
    fn is_revoked(&self) -> bool;

    /// Whether it signed this.
    fn has_signed(&self, message: &[u8], signature: &MemberSignature) -> bool;
}

/// A signature with the key of a member.
#[derive(Clone, PartialEq, Eq)]
pub struct MemberSignature {
    /// How it was made: a number of TLS's `SignatureScheme` (RFC 8446, section 4.2.3).
    pub scheme: u16,
    /// The signature.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for MemberSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}, {} bytes", self.scheme, self.bytes.len())
    }
}
