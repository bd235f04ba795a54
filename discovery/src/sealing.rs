//! Sealing a secret for one node, to be carried there in a file: X25519 (RFC 7748) with
//! a key that is used once, BLAKE3, AES-256-GCM.
//!
//! ```text
//! one-time public key 32 | sealed secret 32 | tag 16
//! ```

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use zeroize::Zeroizing;

use crate::secret::BeaconKey;

const CONTEXT: &str = "potluck 2026-11 offline answer";
const PUBLIC: usize = 32;
const SECRET: usize = 32;
/// Bytes of a sealed secret.
pub(crate) const SEALED: usize = PUBLIC + SECRET + 16;

/// The public half of a node's sealing key.
pub(crate) type SealingPublic = [u8; PUBLIC];

/// Seals `secret` for the node with this key; `bound` is what it goes with.
pub(crate) fn seal(secret: &BeaconKey, to: &SealingPublic, bound: &[u8]) -> Option<Vec<u8>> {
    let once = PrivateKey::generate(&X25519).ok()?;
    let once_public = public(&once)?;
    let key = one_time_key(&once, to, &once_public, to)?;
    let mut sealed = secret.expose().to_vec();
    key.seal_in_place_append_tag(nonce(), Aad::from(bound), &mut sealed)
        .ok()?;
    Some([once_public.as_slice(), &sealed].concat())
}

/// Opens what was sealed for `own` together with `bound`.
pub(crate) fn open(sealed: &[u8], own: &PrivateKey, bound: &[u8]) -> Option<BeaconKey> {
    let sealed: &[u8; SEALED] = sealed.try_into().ok()?;
    let (once_public, rest) = sealed.split_first_chunk::<PUBLIC>()?;
    let key = one_time_key(own, once_public, once_public, &public(own)?)?;
    let mut rest = Zeroizing::new(rest.to_vec());
    let plain = key
        .open_in_place(nonce(), Aad::from(bound), &mut rest)
        .ok()?;
    Some(BeaconKey::from_bytes((&*plain).try_into().ok()?))
}

/// The public half of a key.
pub(crate) fn public(key: &PrivateKey) -> Option<SealingPublic> {
    key.compute_public_key().ok()?.as_ref().try_into().ok()
}

fn one_time_key(
    own: &PrivateKey,
    other: &SealingPublic,
    once: &SealingPublic,
    recipient: &SealingPublic,
) -> Option<LessSafeKey> {
    let other = UnparsedPublicKey::new(&X25519, other);
    let key = agree(own, other, (), |shared| {
        let material = Zeroizing::new([shared, once, recipient].concat());
        Ok(Zeroizing::new(blake3::derive_key(CONTEXT, &material)))
    });
    let key = UnboundKey::new(&AES_256_GCM, key.ok()?.as_slice()).ok()?;
    Some(LessSafeKey::new(key))
}

/// Each key seals once, so any nonce will do.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_node_opens_it_and_only_whole() {
        let own = PrivateKey::generate(&X25519).unwrap();
        let other = PrivateKey::generate(&X25519).unwrap();
        let secret = BeaconKey::from_bytes([7; 32]);
        let sealed = seal(&secret, &public(&own).unwrap(), b"papers").unwrap();
        assert_eq!(sealed.len(), SEALED);
        assert!(open(&sealed, &own, b"papers") == Some(secret));
        assert!(open(&sealed, &other, b"papers").is_none());
        assert!(open(&sealed, &own, b"others").is_none());
        for at in [0, 40, SEALED - 1] {
            let mut wrong = sealed.clone();
            wrong[at] ^= 1;
            assert!(open(&wrong, &own, b"papers").is_none(), "{at}");
        }
        assert!(open(&sealed[1..], &own, b"papers").is_none());
        assert!(seal(&BeaconKey::from_bytes([7; 32]), &[0; 32], b"").is_none());
    }
}
