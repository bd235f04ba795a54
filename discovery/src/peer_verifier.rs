//! The stock verifiers of rustls, which also turn away who was revoked.
//!
//! The policy would do it after the handshake; here the other side is told by the alert
//! that TLS has for it, so that its operator learns why nobody speaks with it.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate_policy::{CertificatePolicy, Leaf};

/// Judges the certificate of who calls.
pub(crate) struct CallerVerifier {
    stock: Arc<dyn ClientCertVerifier>,
    policy: CertificatePolicy,
}

/// Judges the certificate of who answers.
pub(crate) struct AnswererVerifier {
    stock: Stock,
    policy: CertificatePolicy,
}

/// rustls has a verifier of answerers that wants one name, which the certificates of a
/// domain share. Those of an authority of the site's own bear many; the verifier of
/// callers asks for none.
enum Stock {
    Named(Arc<WebPkiServerVerifier>),
    Unnamed(Arc<dyn ClientCertVerifier>),
}

impl CallerVerifier {
    pub(crate) fn new(stock: Arc<dyn ClientCertVerifier>, policy: &CertificatePolicy) -> Self {
        let policy = policy.clone();
        Self { stock, policy }
    }
}

impl AnswererVerifier {
    pub(crate) fn new(stock: Arc<WebPkiServerVerifier>, policy: &CertificatePolicy) -> Self {
        let (stock, policy) = (Stock::Named(stock), policy.clone());
        Self { stock, policy }
    }

    pub(crate) fn unnamed(stock: Arc<dyn ClientCertVerifier>, policy: &CertificatePolicy) -> Self {
        let (stock, policy) = (Stock::Unnamed(stock), policy.clone());
        Self { stock, policy }
    }
}

/// Whatever else is wrong with a certificate the policy finds after the handshake.
fn refuse_revoked(policy: &CertificatePolicy, own: &CertificateDer<'_>) -> Result<(), Error> {
    match Leaf::parse(own).map(|leaf| policy.refuse_revoked(&leaf)) {
        Ok(Err(_)) => Err(CertificateError::Revoked.into()),
        _ => Ok(()),
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.stock.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.stock.verify_client_cert(own, others, now)?;
        refuse_revoked(&self.policy, own)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.stock.verify_tls12_signature(message, own, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.stock.verify_tls13_signature(message, own, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.stock.supported_verify_schemes()
    }
}

impl ServerCertVerifier for AnswererVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.stock {
            Stock::Named(stock) => {
                stock.verify_server_cert(own, others, name, ocsp, now)?;
            }
            Stock::Unnamed(stock) => {
                stock.verify_client_cert(own, others, now)?;
            }
        }
        refuse_revoked(&self.policy, own)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.stock {
            Stock::Named(stock) => stock.verify_tls12_signature(message, own, signature),
            Stock::Unnamed(stock) => stock.verify_tls12_signature(message, own, signature),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.stock {
            Stock::Named(stock) => stock.verify_tls13_signature(message, own, signature),
            Stock::Unnamed(stock) => stock.verify_tls13_signature(message, own, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.stock {
            Stock::Named(stock) => stock.supported_verify_schemes(),
            Stock::Unnamed(stock) => stock.supported_verify_schemes(),
        }
    }
}

impl fmt::Debug for CallerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerVerifier")
    }
}

impl fmt::Debug for AnswererVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswererVerifier")
    }
}
