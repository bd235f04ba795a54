//! The node's own key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use libp2p::PeerId;
use rcgen::{PKCS_ED25519, PublicKeyData, SignatureAlgorithm};
use rustls::sign::SigningKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::domain_files::{self, FileError};
use crate::tls;

/// The folder of the node's key in the data directory.
pub(crate) const FOLDER: &str = "identity";
/// The file of the node's key: PKCS#8 as PEM, readable by its owner alone.
const KEY_FILE: &str = "node.key";
const KEY_LABEL: &str = "PRIVATE KEY";

/// The node's Ed25519 key pair. The private half never leaves this type but for
/// its own file and for rustls. Cheap to clone.
#[derive(Clone)]
pub struct NodeIdentity {
    inner: Arc<Inner>,
}

struct Inner {
    pkcs8: PrivatePkcs8KeyDer<'static>,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// The public half of a node's key: 32 bytes of Ed25519.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// The node has no usable key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key file holds something else.
    #[error("{0} holds no Ed25519 key in PKCS#8: restore it, or remove it and join again")]
    NoKey(std::path::PathBuf),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers for a new key")]
    NoRandomness,
}

impl NodeIdentity {
    /// Makes a new key. Nothing is written.
    pub fn generate() -> Result<Self, IdentityError> {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
            .map_err(|_| IdentityError::NoRandomness)?;
        Self::from_pkcs8(document.as_ref()).ok_or(IdentityError::NoRandomness)
    }

    /// Reads the key of the node that lives in `data_dir`; `None` if it has none yet.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(FOLDER).join(KEY_FILE);
        let Some(pem) = domain_files::read(&path)? else {
            return Ok(None);
        };
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok();
        let identity = key.and_then(|key| Self::from_pkcs8(key.secret_pkcs8_der()));
        identity.map(Some).ok_or(IdentityError::NoKey(path))
    }

    /// Writes the key into `data_dir`.
    pub(crate) fn save(&self, data_dir: &Path) -> Result<(), FileError> {
        let folder = data_dir.join(FOLDER);
        domain_files::make_folder(&folder)?;
        let pem = domain_files::pem(KEY_LABEL, self.inner.pkcs8.secret_pkcs8_der());
        domain_files::write_private(&folder.join(KEY_FILE), pem.as_bytes())
    }

    /// Takes the key off the disk again, for an installation that failed.
    pub(crate) fn unsave(data_dir: &Path) {
        let folder = data_dir.join(FOLDER);
        // Best effort: a key without a membership does no harm.
        let _ = std::fs::remove_file(folder.join(KEY_FILE));
        let _ = std::fs::remove_dir(folder);
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        let pkcs8 = PrivatePkcs8KeyDer::from(der.to_vec());
        let inner = Inner {
            pkcs8,
            pair,
            public,
        };
        Some(Self {
            inner: Arc::new(inner),
        })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.inner.public
    }

    /// The node's id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.inner.public.peer_id()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.inner.pair.sign(message);
        signature
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes")
    }

    /// Another secret, made of the key for the purpose that `context` names.
    pub(crate) fn derive(&self, context: &str) -> Option<Zeroizing<[u8; 32]>> {
        let seed = self.inner.pair.seed().ok()?;
        let seed = seed.as_be_bytes().ok()?;
        Some(Zeroizing::new(blake3::derive_key(context, seed.as_ref())))
    }

    /// The key as rustls takes it.
    pub(crate) fn signing_key(&self) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        let key = PrivateKeyDer::Pkcs8(self.inner.pkcs8.clone_key());
        tls::provider().key_provider.load_private_key(key)
    }
}

impl PublicKey {
    /// Takes its 32 bytes, which need not be a point of the curve: a signature
    /// under it will tell.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The libp2p id of the node that holds this key.
    ///
    /// This is the libp2p encoding of an Ed25519 key (type 1, 32 bytes) under
    /// the identity hash, written out because libp2p would refuse to name bytes
    /// that are no point of the curve.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        let mut multihash = vec![0, 36, 8, 1, 18, 32];
        multihash.extend_from_slice(&self.0);
        PeerId::from_bytes(&multihash).expect("an identity multihash of 36 bytes is a peer id")
    }

    /// Whether `signature` over `message` was made with the private half.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeIdentity({})", self.peer_id())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_key_is_the_same_node() {
        let dir = tempfile::tempdir().unwrap();
        assert!(NodeIdentity::load(dir.path()).unwrap().is_none());
        let identity = NodeIdentity::generate().unwrap();
        identity.save(dir.path()).unwrap();
        let again = NodeIdentity::load(dir.path()).unwrap().unwrap();
        assert_eq!(again.peer_id(), identity.peer_id());
        assert!(again.public_key().verify(b"x", &identity.sign(b"x")));
        assert!(!again.public_key().verify(b"y", &identity.sign(b"x")));
        assert!(again.signing_key().is_ok());
    }

    #[test]
    fn the_peer_id_is_libp2ps_own() {
        let identity = NodeIdentity::generate().unwrap();
        let bytes = identity.public_key();
        let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(bytes.as_bytes()).unwrap();
        let key = libp2p::identity::PublicKey::from(key);
        assert_eq!(identity.peer_id(), key.to_peer_id());
    }

    #[test]
    fn debug_shows_no_key() {
        let identity = NodeIdentity::generate().unwrap();
        assert_eq!(
            format!("{identity:?}"),
            format!("NodeIdentity({})", identity.peer_id())
        );
    }

    #[test]
    fn a_file_that_holds_no_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        domain_files::make_folder(&dir.path().join(FOLDER)).unwrap();
        std::fs::write(dir.path().join("identity/node.key"), "rubbish").unwrap();
        let error = NodeIdentity::load(dir.path()).unwrap_err();
        assert!(error.to_string().contains("node.key"), "{error}");
    }
}
