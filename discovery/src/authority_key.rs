//! The private key of an authority: how it lies on the disk, with and without a
//! passphrase, and which keys this process has unlocked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use rcgen::{PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

use crate::authority_error::AuthorityError;
use crate::domain_files;
use crate::domain_id::Fingerprint;
use crate::passphrase::Passphrase;

const PLAIN_LABEL: &str = "PRIVATE KEY";
const PROTECTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// The cost of trying a passphrase: scrypt (RFC 7914) with N = 2^14, r = 8, p = 5. That
/// is a fifth of a second and 16 MiB; with a larger N `openssl` would refuse to read
/// the key.
const SCRYPT: (u8, u32, u32) = (14, 8, 5);

/// An Ed25519 key that signs certificates. Its bytes are wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct AuthorityKey {
    pair: Arc<Ed25519KeyPair>,
}

/// A key as a file holds it.
pub(crate) enum StoredKey {
    Plain(AuthorityKey),
    /// PKCS#8 under PBES2, DER.
    Protected(Vec<u8>),
}

/// What this process has unlocked. It belongs to the process and not to a handle: who
/// works with an authority need not know that somebody typed its passphrase.
static UNLOCKED: LazyLock<Mutex<HashMap<Fingerprint, AuthorityKey>>> =
    LazyLock::new(Mutex::default);

impl AuthorityKey {
    pub(crate) fn generate() -> Result<Self, AuthorityError> {
        let pair = Ed25519KeyPair::generate()
            .map_err(|_| AuthorityError::Certificate("no random numbers".to_owned()))?;
        Ok(Self {
            pair: Arc::new(pair),
        })
    }

    pub(crate) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
        Some(Self {
            pair: Arc::new(pair),
        })
    }

    /// PKCS#8, version 1, which everything reads.
    pub(crate) fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().ok()?;
        Some(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// Writes the key to a file that only its owner can read.
    pub(crate) fn save(
        &self,
        path: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), AuthorityError> {
        let failed = || AuthorityError::Certificate("the key cannot be written out".to_owned());
        let plain = self.to_pkcs8().ok_or_else(failed)?;
        let pem = match passphrase {
            None => domain_files::pem(PLAIN_LABEL, &plain),
            Some(passphrase) => {
                let sealed = protect(&plain, passphrase).ok_or_else(failed)?;
                domain_files::pem(PROTECTED_LABEL, sealed.as_bytes())
            }
        };
        let pem = Zeroizing::new(pem);
        Ok(domain_files::write_private(path, pem.as_bytes())?)
    }

    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

impl StoredKey {
    pub(crate) fn load(path: &Path) -> Result<Self, AuthorityError> {
        let damaged = || AuthorityError::Damaged(path.to_owned());
        let bytes = Zeroizing::new(domain_files::read(path)?.ok_or_else(damaged)?);
        let pem = pem::parse(bytes.as_slice()).map_err(|_| damaged())?;
        match pem.tag() {
            PLAIN_LABEL => AuthorityKey::from_pkcs8(pem.contents())
                .map(Self::Plain)
                .ok_or_else(damaged),
            PROTECTED_LABEL => {
                let der = pem.contents().to_vec();
                EncryptedPrivateKeyInfoRef::try_from(der.as_slice()).map_err(|_| damaged())?;
                Ok(Self::Protected(der))
            }
            _ => Err(damaged()),
        }
    }

    /// The key, if this is the passphrase. A key without one needs none.
    pub(crate) fn open(&self, passphrase: &Passphrase) -> Result<AuthorityKey, AuthorityError> {
        let der = match self {
            Self::Plain(key) => return Ok(key.clone()),
            Self::Protected(der) => der,
        };
        let sealed = EncryptedPrivateKeyInfoRef::try_from(der.as_slice());
        sealed
            .ok()
            .and_then(|sealed| sealed.decrypt(passphrase.expose()).ok())
            .and_then(|plain| AuthorityKey::from_pkcs8(plain.as_bytes()))
            .ok_or(AuthorityError::WrongPassphrase)
    }
}

/// The key of this authority, if this process has unlocked it.
pub(crate) fn unlocked(fingerprint: Fingerprint) -> Option<AuthorityKey> {
    let keys = UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    keys.get(&fingerprint).cloned()
}

/// Keeps a key in memory.
pub(crate) fn keep(fingerprint: Fingerprint, key: AuthorityKey) {
    let mut keys = UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    keys.insert(fingerprint, key);
}

/// Forgets a key.
pub(crate) fn forget(fingerprint: Fingerprint) {
    let mut keys = UNLOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    keys.remove(&fingerprint);
}

fn protect(plain: &[u8], passphrase: &Passphrase) -> Option<SecretDocument> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    aws_lc_rs::rand::fill(&mut iv).ok()?;
    let (log_n, r, p) = SCRYPT;
    let cost = scrypt::Params::new(log_n, r, p).ok()?;
    let how = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).ok()?;
    let key = PrivateKeyInfoRef::try_from(plain).ok()?;
    key.encrypt_with_params(how, passphrase.expose()).ok()
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.public()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn a_protected_key_opens_with_its_passphrase_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        let key = AuthorityKey::generate().unwrap();
        key.save(&path, Some(&passphrase("open sesame"))).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let stored = StoredKey::load(&path).unwrap();
        assert!(matches!(stored, StoredKey::Protected(_)));
        let opened = stored.open(&passphrase("open sesame")).unwrap();
        assert_eq!(opened.public(), key.public());
        let wrong = stored.open(&passphrase("open barley"));
        assert!(matches!(wrong, Err(AuthorityError::WrongPassphrase)));

        key.save(&path, None).unwrap();
        let stored = StoredKey::load(&path).unwrap();
        assert!(matches!(stored, StoredKey::Plain(_)));
    }

    #[test]
    fn a_key_that_is_none_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        for label in ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "CERTIFICATE"] {
            std::fs::write(&path, domain_files::pem(label, b"rubbish")).unwrap();
            let loaded = StoredKey::load(&path);
            assert!(matches!(loaded, Err(AuthorityError::Damaged(_))), "{label}");
        }
    }
}
