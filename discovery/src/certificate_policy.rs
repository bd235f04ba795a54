//! The one rule by which a certificate makes a peer, the same for both ends of a
//! connection and for both ports.
//!
//! The stock verifiers check different things for each role: the accepting side
//! looks at no name, each side asks for another usage. They have proven the
//! signatures by the time this is asked; this asks for all the rest, so that who
//! is let in does not depend on who dialled.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::domain_id::DomainId;
use crate::identity::PublicKey;
use crate::name::Name;
use crate::reject_reason::RejectReason;
use crate::revocations::Revocations;

/// A node's own certificate and its authority's.
pub(crate) const MAX_CHAIN: usize = 2;
const ED25519_OID: &str = "1.3.101.112";

/// A node that has proven to be of the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPeer {
    /// Its id, from the key of its certificate.
    pub peer_id: PeerId,
    /// Its name, as its certificate says.
    pub name: Name,
    /// When its certificate ends; a connection must not outlive it.
    pub expires: SystemTime,
}

impl VerifiedPeer {
    /// Passes the peer on if it is the one that was called.
    pub fn expect(self, called: PeerId) -> Result<Self, RejectReason> {
        if self.peer_id == called {
            Ok(self)
        } else {
            Err(RejectReason::WrongPeer)
        }
    }
}

/// What a domain asks of a certificate.
#[derive(Debug, Clone)]
pub struct CertificatePolicy {
    certificate_name: String,
    authority: CertificateDer<'static>,
    revocations: Option<Revocations>,
}

impl CertificatePolicy {
    /// The policy of the domain with this authority.
    pub(crate) fn new(domain: DomainId, authority: CertificateDer<'static>) -> Self {
        Self {
            certificate_name: domain.certificate_name(),
            authority,
            revocations: None,
        }
    }

    /// The same policy, which also turns away who was revoked.
    pub(crate) fn without_revoked(self, revocations: &Revocations) -> Self {
        Self {
            revocations: Some(revocations.clone()),
            ..self
        }
    }

    /// Whether a node of the domain was revoked.
    pub(crate) fn is_revoked(&self, peer: &PeerId) -> bool {
        let revocations = self.revocations.as_ref();
        revocations.is_some_and(|revocations| revocations.is_revoked(peer))
    }

    /// Judges the certificates that the other side showed, its own first, after
    /// a handshake in which their signatures held.
    pub fn check(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        now: SystemTime,
    ) -> Result<VerifiedPeer, RejectReason> {
        let chain = chain.unwrap_or_default();
        let own = chain.first().ok_or(RejectReason::NoCertificate)?;
        let rest_is_authority = chain[1..].iter().all(|next| *next == self.authority);
        if chain.len() > MAX_CHAIN || !rest_is_authority {
            return Err(RejectReason::ChainTooLong);
        }
        let leaf = Leaf::parse(own)?;
        leaf.check_domain(&self.certificate_name)?;
        leaf.check_usage()?;
        let peer_id = leaf.public_key()?.peer_id();
        if self.is_revoked(&peer_id) {
            return Err(RejectReason::Revoked);
        }
        leaf.check_time(now)?;
        Ok(VerifiedPeer {
            peer_id,
            name: leaf.name(),
            expires: leaf.not_after(),
        })
    }
}

/// A node's certificate, read.
pub(crate) struct Leaf<'a>(X509Certificate<'a>);

impl<'a> Leaf<'a> {
    pub(crate) fn parse(der: &'a CertificateDer<'_>) -> Result<Self, RejectReason> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(Self(certificate)),
            _ => Err(RejectReason::BadCertificate),
        }
    }

    /// The common name of its subject, made harmless.
    pub(crate) fn name(&self) -> Name {
        let common = self.0.subject().iter_common_name().next();
        Name::nearest(
            common
                .and_then(|name| name.as_str().ok())
                .unwrap_or_default(),
        )
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, RejectReason> {
        let info = self.0.public_key();
        if info.algorithm.algorithm.to_id_string() != ED25519_OID {
            return Err(RejectReason::WrongKeyType);
        }
        let bytes = <[u8; 32]>::try_from(info.subject_public_key.data.as_ref());
        bytes
            .map(PublicKey::from_bytes)
            .map_err(|_| RejectReason::WrongKeyType)
    }

    pub(crate) fn not_before(&self) -> SystemTime {
        time_of(self.0.validity().not_before.timestamp())
    }

    pub(crate) fn not_after(&self) -> SystemTime {
        time_of(self.0.validity().not_after.timestamp())
    }

    fn check_domain(&self, wanted: &str) -> Result<(), RejectReason> {
        let extension = self.0.subject_alternative_name();
        let names = extension.map_err(|_| RejectReason::BadCertificate)?;
        let names = names.map(|names| names.value.general_names.as_slice());
        match names {
            Some([GeneralName::DNSName(name)]) if *name == wanted => Ok(()),
            _ => Err(RejectReason::WrongDomain),
        }
    }

    fn check_usage(&self) -> Result<(), RejectReason> {
        let extended = self
            .0
            .extended_key_usage()
            .map_err(|_| RejectReason::BadCertificate)?;
        let both = extended.is_some_and(|usage| usage.value.client_auth && usage.value.server_auth);
        // Who says nothing of the key's usage allows all (RFC 5280, section 4.2.1.3);
        // TLS 1.3 takes signatures with it.
        let usage = self
            .0
            .key_usage()
            .map_err(|_| RejectReason::BadCertificate)?;
        let signs = usage.is_none_or(|usage| usage.value.digital_signature());
        if both && signs && !self.0.is_ca() {
            Ok(())
        } else {
            Err(RejectReason::WrongUsage)
        }
    }

    fn check_time(&self, now: SystemTime) -> Result<(), RejectReason> {
        if now < self.not_before() {
            Err(RejectReason::NotYetValid)
        } else if now > self.not_after() {
            Err(RejectReason::Expired)
        } else {
            Ok(())
        }
    }
}

/// Seconds since 1970, where certificates may name any time at all.
fn time_of(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}
