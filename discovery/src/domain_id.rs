//! What a domain is called by machines: the fingerprint of its authority.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, DnsName, ServerName};
use serde::{Serialize, Serializer};

use crate::hex::hex;

/// The first 16 bytes of the SHA-256 hash of an authority's certificate: the
/// start of what `openssl x509 -fingerprint -sha256` prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

/// The short id of a domain: the first 8 bytes of its authority's fingerprint.
///
/// It tells domains apart in names and packets. It proves nothing: that is what
/// certificates are for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId([u8; 8]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let hash = digest(&SHA256, certificate);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        Self(bytes)
    }

    /// Takes its 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id of the domain whose authority has this fingerprint.
    #[must_use]
    pub fn domain_id(&self) -> DomainId {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        DomainId(bytes)
    }
}

impl DomainId {
    /// Its 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The one DNS name that every certificate of the domain carries.
    #[must_use]
    pub fn certificate_name(&self) -> String {
        format!("node.{self}.potluck.internal")
    }

    /// The same name, as rustls takes it.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        let name = DnsName::try_from(self.certificate_name());
        ServerName::DnsName(name.expect("hexadecimal digits between fixed labels are a DNS name"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for DomainId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
