//! Why another machine was turned away, in words for the one who looks after it.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

/// Why a connection with another node came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// Its certificate comes from another authority.
    UnknownIssuer,
    /// A signature is wrong: a forged certificate, or one without its key.
    BadSignature,
    /// Its certificate has ended.
    Expired,
    /// Its certificate has not begun.
    NotYetValid,
    /// Its certificate was revoked.
    Revoked,
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate names another domain, or none.
    WrongDomain,
    /// Its certificate is not for both ends of a connection between nodes.
    WrongUsage,
    /// Its key is not Ed25519.
    WrongKeyType,
    /// It is another node than the one that was called.
    WrongPeer,
    /// It sent more certificates than a node of the domain has.
    ChainTooLong,
    /// What it sent in place of a certificate is larger than any is.
    TooLarge,
    /// Its certificate cannot be read.
    BadCertificate,
    /// It speaks no TLS: plain text or rubbish.
    NotTls,
    /// It speaks TLS, but not the protocol of this port.
    WrongProtocol,
    /// It is on another subnet, and no peer that was configured.
    OffSubnet,
    /// It did not finish in time.
    Timeout,
    /// It closed the connection before it was known.
    Closed,
    /// It turned this node away; in words, why.
    RefusedUs(&'static str),
    /// Anything else, as the library says it.
    Other(String),
}

impl RejectReason {
    /// A short name for logs and JSON.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::NoCertificate => "no_certificate",
            Self::WrongDomain => "wrong_domain",
            Self::WrongUsage => "wrong_usage",
            Self::WrongKeyType => "wrong_key_type",
            Self::WrongPeer => "wrong_peer",
            Self::ChainTooLong => "chain_too_long",
            Self::TooLarge => "too_large",
            Self::BadCertificate => "bad_certificate",
            Self::NotTls => "not_tls",
            Self::WrongProtocol => "wrong_protocol",
            Self::OffSubnet => "off_subnet",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::RefusedUs(_) => "refused_us",
            Self::Other(_) => "other",
        }
    }

    /// What an I/O error means that ended a TLS handshake.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Self {
        if let Some(inner) = error.get_ref() {
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return Self::from(tls);
            }
            if let Some(nested) = inner.downcast_ref::<io::Error>() {
                return Self::from_io(nested);
            }
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<&rustls::Error> for RejectReason {
    fn from(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidMessage(
                InvalidMessage::HandshakePayloadTooLarge
                | InvalidMessage::CertificatePayloadTooLarge,
            ) => Self::TooLarge,
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::WrongProtocol,
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                Self::WrongProtocol
            }
            Error::AlertReceived(alert) => of_alert(*alert),
            other => Self::Other(other.to_string()),
        }
    }
}

fn of_certificate(error: &CertificateError) -> RejectReason {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => RejectReason::UnknownIssuer,
        E::BadSignature => RejectReason::BadSignature,
        E::Expired | E::ExpiredContext { .. } => RejectReason::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => RejectReason::NotYetValid,
        E::Revoked => RejectReason::Revoked,
        E::NotValidForName | E::NotValidForNameContext { .. } => RejectReason::WrongDomain,
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => RejectReason::WrongUsage,
        E::BadEncoding | E::UnhandledCriticalExtension => RejectReason::BadCertificate,
        E::Other(other) if says(other, &["PathLenConstraintViolated", "PathDepthExceeded"]) => {
            RejectReason::ChainTooLong
        }
        E::Other(other) if says(other, &["CaUsedAsEndEntity"]) => RejectReason::WrongUsage,
        other => RejectReason::Other(other.to_string()),
    }
}

/// webpki has no public type for this inside rustls, only its `Debug`.
fn says(error: &rustls::OtherError, words: &[&str]) -> bool {
    let text = format!("{error:?}");
    words.iter().any(|word| text.contains(word))
}

fn of_alert(alert: AlertDescription) -> RejectReason {
    use AlertDescription as A;
    RejectReason::RefusedUs(match alert {
        A::UnknownCA => "it does not know our authority",
        A::CertificateExpired => "our certificate has ended, or its clock is ahead",
        A::CertificateRevoked => "our certificate was revoked",
        A::CertificateRequired => "it saw no certificate from us",
        A::DecryptError => "our certificate's signature does not hold there",
        A::BadCertificate | A::CertificateUnknown | A::UnsupportedCertificate => {
            "it does not accept our certificate"
        }
        A::NoApplicationProtocol => return RejectReason::WrongProtocol,
        A::ProtocolVersion | A::HandshakeFailure => return RejectReason::WrongProtocol,
        _ => "it ended the handshake",
    })
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "its certificate comes from another authority",
            Self::BadSignature => "a signature is wrong: the certificate is forged or not its own",
            Self::Expired => "its certificate has ended",
            Self::NotYetValid => "its certificate is not valid yet: compare the clocks",
            Self::Revoked => "its certificate was revoked",
            Self::NoCertificate => "it showed no certificate",
            Self::WrongDomain => "its certificate is not for this domain",
            Self::WrongUsage => "its certificate is not for both ends of a connection",
            Self::WrongKeyType => "its key is not Ed25519",
            Self::WrongPeer => "it is another node than the one that was called",
            Self::ChainTooLong => "it sent too many certificates",
            Self::TooLarge => "its certificate is too large",
            Self::BadCertificate => "its certificate cannot be read",
            Self::NotTls => "it does not speak TLS",
            Self::WrongProtocol => "it does not speak this port's protocol",
            Self::OffSubnet => "it is not on a subnet of this node, nor a configured peer",
            Self::Timeout => "it did not answer in time",
            Self::Closed => "it closed the connection before it was known",
            Self::RefusedUs(why) => return write!(f, "it turned us away: {why}"),
            Self::Other(text) => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_errors_are_understood() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(RejectReason::from_io(&error), RejectReason::Expired);
        let error = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(RejectReason::from_io(&error), RejectReason::Timeout);
        let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        let reason = RejectReason::from(&alert);
        assert_eq!(
            reason.to_string(),
            "it turned us away: it does not know our authority"
        );
    }
}
