//! A request for a certificate as a file, for a domain whose authority is kept off-line.
//!
//! Two blocks of PEM: a PKCS#10 request (RFC 2986) with the node's name and key, and
//! the key for which the answer is sealed, signed by the node's key.

use std::path::Path;

use aws_lc_rs::agreement::PrivateKey;
use libp2p::PeerId;
use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData, SigningKey};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use crate::domain_files::{self, FileError, FolderLock};
use crate::identity::{IdentityError, NodeIdentity, PublicKey};
use crate::name::Name;
use crate::sealing::{self, SealingPublic};

const REQUEST_LABEL: &str = "CERTIFICATE REQUEST";
const SEALING_LABEL: &str = "POTLUCK SEALING KEY";
const SEALING_CONTEXT: &[u8] = b"potluck sealing key 1\0";
const ED25519_OID: &str = "1.3.101.112";
/// Longer texts than this are no requests, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// A request whose signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    name: Name,
    public_key: PublicKey,
    sealing: SealingPublic,
}

/// A node cannot make a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The node's key is broken.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The request cannot be put together.
    #[error("cannot make a request: {0}")]
    Request(String),
}

/// A text that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// It has not the form.
    #[error("this is no request of potluck domain request, or a part of it is missing")]
    Form,
    /// A signature does not hold.
    #[error("the request was changed after it was made: its signatures do not hold")]
    Signature,
}

/// Makes the request of the node that lives in `data_dir`, and its key if it has none.
pub fn make_request(data_dir: &Path, name: &Name) -> Result<String, RequestError> {
    domain_files::make_data_dir(data_dir)?;
    let _lock = FolderLock::take(data_dir)?;
    let identity = match NodeIdentity::load(data_dir)? {
        Some(identity) => identity,
        None => {
            let identity = NodeIdentity::generate()?;
            identity.save(data_dir)?;
            identity
        }
    };
    write(&identity, name)
}

fn write(identity: &NodeIdentity, name: &Name) -> Result<String, RequestError> {
    let failed = |error: rcgen::Error| RequestError::Request(error.to_string());
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name.as_str());
    params.distinguished_name = subject;
    let request = params
        .serialize_request(&Pen(identity, identity.public_key()))
        .map_err(failed)?;
    let sealing = sealing_key(identity)
        .and_then(|key| sealing::public(&key))
        .ok_or_else(|| RequestError::Request("the system makes no keys".to_owned()))?;
    let signature = identity.sign(&sealing_proof(&sealing, request.der()));
    let signed = [sealing.as_slice(), &signature].concat();
    let mut text = domain_files::pem(REQUEST_LABEL, request.der());
    text.push_str(&domain_files::pem(SEALING_LABEL, &signed));
    Ok(text)
}

/// The key for which answers to this node are sealed. It is made of the node's own key,
/// so that an answer can be opened as long as the node is the one that asked.
pub(crate) fn sealing_key(identity: &NodeIdentity) -> Option<PrivateKey> {
    let bytes = identity.derive("potluck 2026-11 offline sealing key")?;
    PrivateKey::from_private_key(&aws_lc_rs::agreement::X25519, bytes.as_slice()).ok()
}

impl SigningRequest {
    /// Reads a request and checks its signatures.
    pub fn parse(text: &str) -> Result<Self, BadRequest> {
        if text.len() > MAX_TEXT {
            return Err(BadRequest::Form);
        }
        let blocks = pem::parse_many(text).map_err(|_| BadRequest::Form)?;
        let [request, sealing] = blocks.as_slice() else {
            return Err(BadRequest::Form);
        };
        if request.tag() != REQUEST_LABEL || sealing.tag() != SEALING_LABEL {
            return Err(BadRequest::Form);
        }
        Self::from_parts(request.contents(), sealing.contents())
    }

    fn from_parts(der: &[u8], sealing: &[u8]) -> Result<Self, BadRequest> {
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(BadRequest::Form);
        };
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        let oids = [&key.algorithm, &request.signature_algorithm];
        if oids
            .iter()
            .any(|oid| oid.algorithm.to_id_string() != ED25519_OID)
        {
            return Err(BadRequest::Form);
        }
        let key = <[u8; 32]>::try_from(key.subject_public_key.data.as_ref());
        let public_key = PublicKey::from_bytes(key.map_err(|_| BadRequest::Form)?);
        if !public_key.verify(info.raw, &request.signature_value.data) {
            return Err(BadRequest::Signature);
        }
        let (sealing, signature) = sealing.split_first_chunk().ok_or(BadRequest::Form)?;
        if !public_key.verify(&sealing_proof(sealing, der), signature) {
            return Err(BadRequest::Signature);
        }
        let name = info.subject.iter_common_name().next();
        let name = name.and_then(|name| name.as_str().ok());
        let name = name.and_then(|name| name.parse().ok());
        Ok(Self {
            name: name.ok_or(BadRequest::Form)?,
            public_key,
            sealing: *sealing,
        })
    }

    /// What the node is to be called.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The id of the node, to compare with what it says itself.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.public_key.peer_id()
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.public_key
    }

    pub(crate) fn sealing(&self) -> &SealingPublic {
        &self.sealing
    }
}

/// A node's key as rcgen takes it.
struct Pen<'a>(&'a NodeIdentity, PublicKey);

impl PublicKeyData for Pen<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.1.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl SigningKey for Pen<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).to_vec())
    }
}

fn sealing_proof(sealing: &SealingPublic, request: &[u8]) -> Vec<u8> {
    [SEALING_CONTEXT, sealing, request].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_and_keeps_its_node() {
        let dir = tempfile::tempdir().unwrap();
        let name: Name = "till-3".parse().unwrap();
        let text = make_request(dir.path(), &name).unwrap();
        let request = SigningRequest::parse(&text).unwrap();
        let identity = NodeIdentity::load(dir.path()).unwrap().unwrap();
        assert_eq!(request.name(), &name);
        assert_eq!(request.peer_id(), identity.peer_id());
        let again = make_request(dir.path(), &name).unwrap();
        assert_eq!(SigningRequest::parse(&again).unwrap(), request);
        assert!(!text.contains("PRIVATE"));
    }

    #[test]
    fn every_change_is_noticed() {
        let name: Name = "till-3".parse().unwrap();
        let (one, two) = (
            NodeIdentity::generate().unwrap(),
            NodeIdentity::generate().unwrap(),
        );
        let (one, two) = (write(&one, &name).unwrap(), write(&two, &name).unwrap());
        let blocks = |text: &str| pem::parse_many(text).unwrap();
        let (one, two) = (blocks(&one), blocks(&two));
        // The sealing key of somebody who wants to read the answer.
        let mixed = SigningRequest::from_parts(one[0].contents(), two[1].contents());
        assert_eq!(mixed, Err(BadRequest::Signature));
        for at in [60, one[0].contents().len() - 1] {
            let mut der = one[0].contents().to_vec();
            der[at] ^= 1;
            assert!(SigningRequest::from_parts(&der, one[1].contents()).is_err());
        }
        let short = SigningRequest::from_parts(one[0].contents(), &one[1].contents()[..40]);
        assert!(short.is_err());
        assert_eq!(SigningRequest::parse("hello"), Err(BadRequest::Form));
        let half = domain_files::pem(REQUEST_LABEL, one[0].contents());
        assert_eq!(SigningRequest::parse(&half), Err(BadRequest::Form));
    }
}
