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

use crate::certificate_key::{KeyKind, peer_id_of};
use crate::domain_id::DomainId;
use crate::given_files::MAX_INTERMEDIATES;
use crate::given_policy::{CertificateId, GivenPolicy};
use crate::identity::PublicKey;
use crate::name::Name;
use crate::name_pattern::NamePattern;
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
    /// Its certificate.
    pub certificate: CertificateId,
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
    /// The rules of an authority that is not Potluck's own.
    given: Option<GivenPolicy>,
    revocations: Option<Revocations>,
}

impl CertificatePolicy {
    /// The policy of the domain with this authority.
    pub(crate) fn new(domain: DomainId, authority: CertificateDer<'static>) -> Self {
        Self {
            certificate_name: domain.certificate_name(),
            authority,
            given: None,
            revocations: None,
        }
    }

    /// The policy of an authority that is not Potluck's own.
    pub(crate) fn of_given(self, given: GivenPolicy) -> Self {
        Self {
            given: Some(given),
            ..self
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

    /// Whether a certificate was revoked by the lists of an authority that is not
    /// Potluck's own.
    #[must_use]
    pub fn has_revoked(&self, certificate: &CertificateId) -> bool {
        let given = self.given.as_ref();
        given.is_some_and(|given| given.is_revoked(certificate))
    }

    /// Why this certificate is out, whatever else it is.
    pub(crate) fn refuse_revoked(&self, leaf: &Leaf<'_>) -> Result<(), RejectReason> {
        let peer = leaf.peer_id().ok();
        if peer.is_some_and(|peer| self.is_revoked(&peer)) || self.has_revoked(&leaf.id()) {
            return Err(RejectReason::Revoked);
        }
        Ok(())
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
        self.check_length(chain)?;
        let leaf = Leaf::parse(own)?;
        let name = match &self.given {
            Some(given) => leaf.given_name(&given.names)?,
            None => {
                leaf.check_domain(&self.certificate_name)?;
                leaf.name()
            }
        };
        leaf.check_usage()?;
        let peer_id = match self.given {
            Some(_) => leaf.peer_id()?,
            None => leaf.public_key()?.peer_id(),
        };
        self.refuse_revoked(&leaf)?;
        leaf.check_time(now)?;
        Ok(VerifiedPeer {
            peer_id,
            name,
            expires: leaf.not_after(),
            certificate: leaf.id(),
        })
    }

    fn check_length(&self, chain: &[CertificateDer<'_>]) -> Result<(), RejectReason> {
        let good = match self.given {
            // The authority's own may come along.
            Some(_) => chain.len() <= MAX_INTERMEDIATES + 2,
            None => chain.len() <= MAX_CHAIN && chain[1..].iter().all(|it| *it == self.authority),
        };
        good.then_some(()).ok_or(RejectReason::ChainTooLong)
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

    /// Whose key it is, of whatever kind.
    pub(crate) fn peer_id(&self) -> Result<PeerId, RejectReason> {
        peer_id_of(self.0.public_key())
    }

    /// The kind of its key, and the key as the certificate has it.
    pub(crate) fn key(&self) -> Result<(KeyKind, &[u8]), RejectReason> {
        let key = self.0.public_key();
        Ok((KeyKind::of(key)?, key.subject_public_key.data.as_ref()))
    }

    /// Which certificate it is.
    pub(crate) fn id(&self) -> CertificateId {
        CertificateId {
            issuer: self.0.issuer().as_raw().to_vec(),
            serial: self.0.raw_serial().to_vec(),
        }
    }

    /// The name of a node of an authority that is not Potluck's own: its common name, or
    /// else the DNS name that makes it a node.
    pub(crate) fn given_name(&self, names: &[NamePattern]) -> Result<Name, RejectReason> {
        let extension = self.0.subject_alternative_name();
        let extension = extension.map_err(|_| RejectReason::BadCertificate)?;
        let mut found = extension.iter().flat_map(|it| &it.value.general_names);
        let fitting = found.find_map(|name| match name {
            GeneralName::DNSName(name) if names.iter().any(|it| it.fits(name)) => Some(*name),
            _ => None,
        });
        let fitting = fitting.ok_or(RejectReason::WrongDomain)?;
        let common = self.0.subject().iter_common_name().next();
        let common = common.and_then(|name| name.as_str().ok());
        Ok(Name::nearest(common.unwrap_or(fitting)))
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
