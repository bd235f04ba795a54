//! Who a certificate's key is, and how it signs: the kinds of keys that nodes may have,
//! and their libp2p ids.

use aws_lc_rs::digest::{SHA256, digest};
use libp2p::PeerId;
use rustls::SignatureScheme;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::reject_reason::RejectReason;

const ED25519: &str = "1.3.101.112";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const RSA: &str = "1.2.840.113549.1.1.1";
/// The shortest RSA key that is trusted, in bits.
const MIN_RSA: usize = 2048;
/// Keys whose encoding is longer than this are named by its hash, in bytes.
const MAX_INLINE: usize = 42;

/// The kinds of keys that nodes may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyKind {
    Ed25519,
    P256,
    Rsa,
}

impl KeyKind {
    pub(crate) const ALL: [Self; 3] = [Self::Ed25519, Self::P256, Self::Rsa];

    /// The kind of a key, if it is one that is trusted.
    pub(crate) fn of(key: &SubjectPublicKeyInfo<'_>) -> Result<Self, RejectReason> {
        match key.algorithm.algorithm.to_id_string().as_str() {
            ED25519 if key.subject_public_key.data.len() == 32 => Ok(Self::Ed25519),
            EC => {
                let parameters = key.algorithm.parameters.as_ref();
                let curve = parameters.and_then(|it| it.as_oid().ok());
                let curve = curve.filter(|curve| curve.to_id_string() == P256);
                curve.map(|_| Self::P256).ok_or(RejectReason::WrongKeyType)
            }
            RSA => match key.parsed() {
                Ok(Parsed::RSA(rsa)) if rsa.key_size() >= MIN_RSA => Ok(Self::Rsa),
                _ => Err(RejectReason::WrongKeyType),
            },
            _ => Err(RejectReason::WrongKeyType),
        }
    }

    /// How such a key signs in TLS 1.3.
    pub(crate) const fn scheme(self) -> SignatureScheme {
        match self {
            Self::Ed25519 => SignatureScheme::ED25519,
            Self::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::Rsa => SignatureScheme::RSA_PSS_SHA256,
        }
    }
}

/// The id of the node with this key, as the libp2p specification of peer ids has it: the
/// protobuf encoding of the key's kind and bytes, itself if it is short and else its
/// SHA-256 hash, as a multihash. Ed25519 is kind 1 with its 32 bytes, RSA kind 0 and ECDSA
/// kind 3 with the whole `SubjectPublicKeyInfo`.
pub(crate) fn peer_id_of(key: &SubjectPublicKeyInfo<'_>) -> Result<PeerId, RejectReason> {
    let wrong = || RejectReason::WrongKeyType;
    let (kind, bytes) = match KeyKind::of(key)? {
        KeyKind::Ed25519 => (1, key.subject_public_key.data.as_ref()),
        KeyKind::P256 => (3, key.raw),
        KeyKind::Rsa => (0, key.raw),
    };
    let mut encoded = vec![8, kind, 18];
    put_varint(&mut encoded, bytes.len());
    encoded.extend_from_slice(bytes);
    let multihash = if encoded.len() <= MAX_INLINE {
        let len = u8::try_from(encoded.len()).map_err(|_| wrong())?;
        [&[0, len], &encoded[..]].concat()
    } else {
        [&[0x12, 32], digest(&SHA256, &encoded).as_ref()].concat()
    };
    PeerId::from_bytes(&multihash).map_err(|_| wrong())
}

/// Seven bits a byte, the lowest first, the highest bit set on all but the last.
fn put_varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
    use rcgen::{PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm};
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    fn id_with(kind: &'static SignatureAlgorithm) -> Result<PeerId, RejectReason> {
        let key = KeyPair::generate_for(kind).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        peer_id_of(parsed.public_key())
    }

    #[test]
    fn the_kind_of_the_key_shows_in_the_id() {
        let id = id_with(&PKCS_ED25519).unwrap();
        assert!(id.to_string().starts_with("12D3KooW"), "{id}");
        for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256] {
            let id = id_with(kind).unwrap();
            assert!(id.to_string().starts_with("Qm"), "{id}");
        }
        let other = id_with(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(other, Err(RejectReason::WrongKeyType));
    }

    #[test]
    fn an_ecdsa_key_has_the_id_of_the_specification() {
        // The example of the peer id specification: kind 3 and the DER of the key.
        let key = "3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8\
            f5d530899d83abab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5\
            c47c646a597fb4dcec034e9f77c409e62";
        let der = crate::hex::unhex_vec(key).unwrap();
        let (_, info) = SubjectPublicKeyInfo::from_der(&der).unwrap();
        let mut encoded = vec![8, 3, 18, 0x5b];
        encoded.extend_from_slice(&der);
        let hash = digest(&SHA256, &encoded);
        let wanted = PeerId::from_bytes(&[&[0x12, 32], hash.as_ref()].concat()).unwrap();
        assert_eq!(peer_id_of(&info), Ok(wanted));
    }
}
