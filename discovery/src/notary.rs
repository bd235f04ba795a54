//! Signing as a member of the domain, and proving what other members signed.
//!
//! A connection proves its two ends to each other and nobody else. What is signed here
//! can be handed on: whoever has the certificates beside it can tell which member said it,
//! by the same rule by which a certificate makes a peer. Keys, chains and signatures are
//! those of TLS 1.3 (RFC 8446, sections 4.2.3 and 4.4.3), with a context of their own.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use libp2p::PeerId;
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SigningKey;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};

use crate::certificate_key::KeyKind;
use crate::certificate_policy::{CertificatePolicy, Leaf};
use crate::given_policy::CertificateId;
use crate::membership::Membership;
use crate::name::Name;
use crate::reject_reason::RejectReason;
use crate::revocations::Revocations;
use crate::standing::Standing;
use crate::tls;

/// What every signed message begins with, after 64 spaces: no handshake, certificate or
/// proof for joining does.
const CONTEXT: &[u8] = b"potluck swarm statement 1\0";
/// A longer chain is not looked at, in bytes; TLS reads no longer one either.
const MAX_CHAIN_LEN: usize = 64 * 1024;

/// What a member's key made of a message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemberSignature {
    /// How, as TLS numbers it (`SignatureScheme`, RFC 8446, section 4.2.3): 0x0807 for an
    /// Ed25519 key, 0x0403 for one of ECDSA P-256, 0x0804 for RSA.
    pub scheme: u16,
    /// The signature, as TLS writes it: 64 bytes of Ed25519, some 70 of ECDSA, as many
    /// as the key has of RSA.
    pub bytes: Vec<u8>,
}

/// The node's key does not sign.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CannotSign {
    /// It is of a kind that members do not have.
    #[error("the key of this node is not of Ed25519, ECDSA P-256 or RSA")]
    WrongKeyType,
    /// The library says why.
    #[error("the key of this node does not sign: {0}")]
    Failed(rustls::Error),
}

/// A signature is not the member's, or not over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not this member's, or not over this message")]
pub struct BadSignature;

/// A node whose certificates were proven, to be kept for all that it signs. Whether it is
/// a member still is to be asked of [`Standing::is_still_member`].
#[derive(Clone, Debug)]
pub struct ProvenMember {
    /// Its id, from the key of its certificate.
    pub peer_id: PeerId,
    /// Its name, as its certificate says.
    pub name: Name,
    /// When its certificate ends: nothing is believed after.
    pub ends: SystemTime,
    /// Its certificate.
    pub certificate: CertificateId,
    scheme: SignatureScheme,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    key: Vec<u8>,
}

/// What this node signs with, and proves others with.
pub(crate) struct Notary {
    key: Arc<dyn SigningKey>,
    certificates: Vec<CertificateDer<'static>>,
    /// The stock verifier, which looks at signatures, times and the lists of an authority
    /// of the site's own; the policy looks at all the rest.
    verifier: Arc<dyn ClientCertVerifier>,
    policy: CertificatePolicy,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Standing {
    /// Signs a message as this member. Whoever has [`certificates`](Self::certificates)
    /// beside it can prove it.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(&self, message: &[u8]) -> Result<MemberSignature, CannotSign> {
        let schemes = KeyKind::ALL.map(KeyKind::scheme);
        let signer = self.notary().key.choose_scheme(&schemes);
        let signer = signer.ok_or(CannotSign::WrongKeyType)?;
        let signed = signer.sign(&in_context(message));
        Ok(MemberSignature {
            scheme: signer.scheme().into(),
            bytes: signed.map_err(CannotSign::Failed)?,
        })
    }

    /// This node's certificate and what leads from there to the authority, without the
    /// authority's own. They are other ones after a renewal.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.notary().certificates.clone()
    }

    /// Proves that certificates, a node's own first, make a member now: by the rule of a
    /// connection with it. Takes as long as a handshake does; what comes out can be kept.
    ///
    /// # Errors
    /// Why they do not.
    pub fn prove_member(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<ProvenMember, RejectReason> {
        self.notary().prove(chain, now)
    }

    /// Whether a proven member is one still: a matter of two look-ups.
    ///
    /// # Errors
    /// When its certificate has ended, or it was revoked since.
    pub fn is_still_member(
        &self,
        member: &ProvenMember,
        now: SystemTime,
    ) -> Result<(), RejectReason> {
        let notary = self.notary();
        let policy = &notary.policy;
        if policy.is_revoked(&member.peer_id) || policy.has_revoked(&member.certificate) {
            return Err(RejectReason::Revoked);
        }
        if now > member.ends {
            return Err(RejectReason::Expired);
        }
        Ok(())
    }
}

impl ProvenMember {
    /// Whether the member signed this message.
    ///
    /// # Errors
    /// When it did not, or not in the way that its key signs.
    pub fn verify(&self, message: &[u8], signature: &MemberSignature) -> Result<(), BadSignature> {
        if signature.scheme != u16::from(self.scheme) {
            return Err(BadSignature);
        }
        let message = in_context(message);
        let verified = self
            .algorithm
            .verify_signature(&self.key, &message, &signature.bytes);
        verified.map_err(|_| BadSignature)
    }
}

impl Notary {
    pub(crate) fn of(
        membership: &Membership,
        revocations: &Revocations,
    ) -> Result<Self, rustls::Error> {
        let authority = membership.authority_certificate();
        let chain = membership.certificate_chain().iter();
        Ok(Self {
            key: membership.signing_key()?,
            certificates: chain.filter(|it| *it != authority).cloned().collect(),
            verifier: tls::caller_verifier(membership)?,
            policy: membership.policy().without_revoked(revocations),
            algorithms: tls::provider().signature_verification_algorithms,
        })
    }

    fn prove(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<ProvenMember, RejectReason> {
        let (own, others) = chain.split_first().ok_or(RejectReason::NoCertificate)?;
        if chain.iter().map(|it| it.len()).sum::<usize>() > MAX_CHAIN_LEN {
            return Err(RejectReason::TooLarge);
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let time = UnixTime::since_unix_epoch(since.unwrap_or_default());
        let proven = self.verifier.verify_client_cert(own, others, time);
        proven.map_err(|error| RejectReason::from(&error))?;
        let peer = self.policy.check(Some(chain), now)?;
        let leaf = Leaf::parse(own)?;
        let (kind, key) = leaf.key()?;
        let scheme = kind.scheme();
        Ok(ProvenMember {
            peer_id: peer.peer_id,
            name: peer.name,
            ends: peer.expires,
            certificate: peer.certificate,
            scheme,
            algorithm: self.algorithm(scheme).ok_or(RejectReason::WrongKeyType)?,
            key: key.to_vec(),
        })
    }

    /// How signatures of a scheme are verified: in TLS 1.3 there is one way for each.
    fn algorithm(
        &self,
        scheme: SignatureScheme,
    ) -> Option<&'static dyn SignatureVerificationAlgorithm> {
        let mut known = self.algorithms.mapping.iter();
        let (_, algorithms) = known.find(|(known, _)| *known == scheme)?;
        algorithms.first().copied()
    }
}

/// What is signed for a message.
fn in_context(message: &[u8]) -> Vec<u8> {
    [&[b' '; 64], CONTEXT, message].concat()
}

impl fmt::Debug for Notary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notary")
    }
}

#[cfg(test)]
#[path = "notary_tests.rs"]
mod tests;
