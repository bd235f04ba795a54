//! A list of revocations with its authority's signature.

use std::cmp::Ordering;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::Authority;
use crate::authority_error::AuthorityError;
use crate::domain_id::Fingerprint;
use crate::revocation_list::{MAX_LIST, RevocationList};

/// The longest signature, in bytes: one of ECDSA P-256 in DER takes 72.
const MAX_SIGNATURE: usize = 128;
const OID_ED25519: &str = "1.3.101.112";
const OID_EC: &str = "1.2.840.10045.2.1";

/// A list as it is kept and sent: bytes and a signature, which prove nothing before
/// [`verify`](Self::verify).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedList {
    list: Arc<RevocationList>,
    bytes: Arc<[u8]>,
    signature: Arc<[u8]>,
    stamp: ListStamp,
}

/// What tells lists of one domain apart and puts them in order: the version, then the
/// BLAKE3 hash of the bytes that are signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ListStamp {
    /// The version; 0 where there is no list.
    pub version: u64,
    /// The hash.
    pub hash: [u8; 32],
}

/// Bytes that are no list of this domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadList {
    /// They have not the form of a list.
    #[error("it is no list of revocations")]
    Form,
    /// The list is another authority's.
    #[error("it is another domain's")]
    Elsewhere,
    /// The signature is not the authority's.
    #[error("its signature does not hold")]
    Signature,
}

impl ListStamp {
    /// Where there is no list.
    pub const NONE: Self = Self {
        version: 0,
        hash: [0; 32],
    };
}

impl SignedList {
    /// Signs a list.
    pub(crate) fn sign(
        list: RevocationList,
        authority: &Authority,
    ) -> Result<Self, AuthorityError> {
        let bytes = list.to_bytes();
        let signature = authority.sign_bytes(&bytes)?;
        Ok(Self::new(list, bytes, signature))
    }

    /// Reads a list and its signature, as they came.
    ///
    /// # Errors
    /// When they are not of the right form.
    pub fn read(bytes: Vec<u8>, signature: Vec<u8>) -> Result<Self, BadList> {
        if signature.len() > MAX_SIGNATURE {
            return Err(BadList::Form);
        }
        let list = RevocationList::from_bytes(&bytes).ok_or(BadList::Form)?;
        Ok(Self::new(list, bytes, signature))
    }

    fn new(list: RevocationList, bytes: Vec<u8>, signature: Vec<u8>) -> Self {
        let stamp = ListStamp {
            version: list.version,
            hash: *blake3::hash(&bytes).as_bytes(),
        };
        Self {
            list: Arc::new(list),
            bytes: bytes.into(),
            signature: signature.into(),
            stamp,
        }
    }

    /// Whether the authority of this certificate has signed the list, and as its own.
    ///
    /// # Errors
    /// Why the list does not count.
    pub fn verify(&self, authority: &CertificateDer<'_>) -> Result<(), BadList> {
        if self.list.authority != Fingerprint::of(authority) {
            return Err(BadList::Elsewhere);
        }
        let (_, certificate) =
            X509Certificate::from_der(authority).map_err(|_| BadList::Signature)?;
        let key = certificate.public_key();
        let algorithm: &'static dyn VerificationAlgorithm =
            match key.algorithm.algorithm.to_id_string().as_str() {
                OID_ED25519 => &ED25519,
                OID_EC => &ECDSA_P256_SHA256_ASN1,
                _ => return Err(BadList::Signature),
            };
        UnparsedPublicKey::new(algorithm, key.subject_public_key.data.as_ref())
            .verify(&self.bytes, &self.signature)
            .map_err(|_| BadList::Signature)
    }

    /// The list.
    #[must_use]
    pub fn list(&self) -> &Arc<RevocationList> {
        &self.list
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signature over them.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Its place in the order of lists.
    #[must_use]
    pub const fn stamp(&self) -> ListStamp {
        self.stamp
    }

    /// What lies on the disk: the length of the list in four bytes, the list, and its
    /// signature.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        [&len.to_be_bytes(), &*self.bytes, &*self.signature].concat()
    }

    pub(crate) fn from_file(file: &[u8]) -> Result<Self, BadList> {
        let (len, rest) = file.split_first_chunk::<4>().ok_or(BadList::Form)?;
        let len = u32::from_be_bytes(*len) as usize;
        if len > MAX_LIST {
            return Err(BadList::Form);
        }
        let (bytes, signature) = rest.split_at_checked(len).ok_or(BadList::Form)?;
        Self::read(bytes.to_vec(), signature.to_vec())
    }

    /// Whether this list is later than one with that stamp.
    pub(crate) fn is_later_than(&self, other: ListStamp) -> bool {
        self.stamp.cmp(&other) == Ordering::Greater
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};

    use super::*;

    fn authority() -> Authority {
        let day = Duration::from_secs(24 * 3600);
        Authority::create(&"site".parse().unwrap(), day, SystemTime::now()).unwrap()
    }

    #[test]
    fn only_the_authoritys_own_lists_hold() {
        let (ours, theirs) = (authority(), authority());
        let signed = SignedList::sign(RevocationList::empty(ours.fingerprint()), &ours).unwrap();
        assert_eq!(signed.verify(ours.certificate()), Ok(()));
        let elsewhere = signed.verify(theirs.certificate());
        assert_eq!(elsewhere, Err(BadList::Elsewhere));
        let forged = SignedList::sign(RevocationList::empty(ours.fingerprint()), &theirs).unwrap();
        let forged = forged.verify(ours.certificate());
        assert_eq!(forged, Err(BadList::Signature));
        let again = SignedList::from_file(&signed.to_file()).unwrap();
        assert_eq!(again, signed);
        let mut file = signed.to_file();
        file[30] ^= 1;
        let changed = SignedList::from_file(&file).and_then(|it| it.verify(ours.certificate()));
        assert_eq!(changed, Err(BadList::Signature));
    }

    #[test]
    fn an_authority_with_an_ecdsa_key_is_understood() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let list = RevocationList::empty(Fingerprint::of(&certificate));
        let der = key.serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).unwrap();
        let signature = pair.sign(&SystemRandom::new(), &list.to_bytes()).unwrap();
        let signed = SignedList::read(list.to_bytes(), signature.as_ref().to_vec()).unwrap();
        assert_eq!(signed.verify(&certificate), Ok(()));
    }
}
