//! Sealing of beacons: who is not of the domain can neither read nor forge them.
//!
//! A datagram is `"PLB" 1`, a salt of 24 random bytes, and the beacon under
//! AES-256-GCM with the first 28 bytes as associated data. The key and the nonce are
//! used for this one datagram only: BLAKE3, keyed with the domain's beacon key,
//! makes them of the salt. All nodes of a domain share the beacon key, and with
//! plain random nonces of 96 bits they would have to count together how many they
//! used; 192 bits never meet twice, whatever the number of nodes, their restarts
//! and their clocks.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use potluck_near::{Beacon, BeaconError, MAX_DATAGRAM};

const MAGIC: [u8; 4] = *b"PLB\x01";
const SALT_LEN: usize = 24;
const HEADER_LEN: usize = MAGIC.len() + SALT_LEN;
const TAG_LEN: usize = 16;

/// Seals and opens the beacons of one domain.
#[derive(Clone)]
pub(crate) struct BeaconSeal {
    key: [u8; 32],
}

/// Why a datagram was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// It has not the form of a beacon.
    #[error("not a beacon")]
    Malformed,
    /// It was sealed for another domain, or forged.
    #[error("sealed with another key")]
    Foreign,
}

impl From<BeaconError> for OpenError {
    fn from(_: BeaconError) -> Self {
        Self::Malformed
    }
}

impl BeaconSeal {
    /// Seals with the beacon key of a domain.
    pub(crate) fn new(beacon_key: &[u8; 32]) -> Self {
        Self {
            key: blake3::derive_key("potluck 2026-11 beacon seal v1", beacon_key),
        }
    }

    /// The datagram for a beacon. The salt is to be random and new each time.
    pub(crate) fn seal(&self, beacon: &Beacon, salt: [u8; SALT_LEN]) -> Vec<u8> {
        let mut header = [0; HEADER_LEN];
        header[..MAGIC.len()].copy_from_slice(&MAGIC);
        header[MAGIC.len()..].copy_from_slice(&salt);
        let mut sealed = beacon.encode();
        let (key, nonce) = self.one_time(&salt);
        key.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed)
            .expect("a beacon is far shorter than the limit of the cipher");
        let mut datagram = header.to_vec();
        datagram.append(&mut sealed);
        datagram
    }

    /// Whether a datagram has the outer form of a beacon. Costs next to nothing.
    pub(crate) fn has_form(datagram: &[u8]) -> bool {
        let lengths = HEADER_LEN + TAG_LEN + 1..=MAX_DATAGRAM;
        lengths.contains(&datagram.len()) && datagram.starts_with(&MAGIC)
    }

    /// Opens a datagram in place.
    pub(crate) fn open(&self, datagram: &mut [u8]) -> Result<Beacon, OpenError> {
        if !Self::has_form(datagram) {
            return Err(OpenError::Malformed);
        }
        let (header, sealed) = datagram
            .split_first_chunk_mut::<HEADER_LEN>()
            .ok_or(OpenError::Malformed)?;
        let salt = header.last_chunk().expect("the header ends with the salt");
        let (key, nonce) = self.one_time(salt);
        let plain = key
            .open_in_place(nonce, Aad::from(*header), sealed)
            .map_err(|_| OpenError::Foreign)?;
        Ok(Beacon::decode(plain)?)
    }

    fn one_time(&self, salt: &[u8; SALT_LEN]) -> (LessSafeKey, Nonce) {
        let mut material = [0; 44];
        blake3::Hasher::new_keyed(&self.key)
            .update(salt)
            .finalize_xof()
            .fill(&mut material);
        let key = UnboundKey::new(&AES_256_GCM, &material[..32]).expect("the key has 32 bytes");
        let nonce =
            Nonce::try_assume_unique_for_key(&material[32..]).expect("the nonce has 12 bytes");
        (LessSafeKey::new(key), nonce)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Beacon {
        Beacon {
            sender: crate::NodeIdentity::generate()
                .unwrap()
                .public_key()
                .peer_id(),
            generation: 1_000,
            sequence: 1,
            time: 2_000,
            population: 7,
            control_port: 7382,
            data_port: 7381,
            name: "cellar".to_owned(),
            message: potluck_near::BeaconMessage::Hello,
        }
    }

    #[test]
    fn opens_what_it_seals_and_nothing_else() {
        let seal = BeaconSeal::new(&[7; 32]);
        let sent = hello();
        let datagram = seal.seal(&sent, [9; SALT_LEN]);
        assert_eq!(seal.open(&mut datagram.clone()), Ok(sent.clone()));

        let other = BeaconSeal::new(&[8; 32]);
        assert_eq!(other.open(&mut datagram.clone()), Err(OpenError::Foreign));
        for at in 0..datagram.len() {
            let mut forged = datagram.clone();
            forged[at] ^= 1;
            assert!(seal.open(&mut forged).is_err(), "byte {at} changed");
            assert!(
                seal.open(&mut datagram[..at].to_vec()).is_err(),
                "cut at {at}"
            );
        }
        assert_ne!(
            seal.seal(&sent, [10; SALT_LEN])[HEADER_LEN..],
            datagram[HEADER_LEN..]
        );
    }

    #[test]
    fn says_nothing_in_the_clear() {
        let sent = hello();
        let datagram = BeaconSeal::new(&[7; 32]).seal(&sent, [9; SALT_LEN]);
        assert!(!datagram.windows(6).any(|window| window == b"cellar"));
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..1500), magic: bool) {
            if magic && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&MAGIC);
            }
            prop_assert!(BeaconSeal::new(&[7; 32]).open(&mut bytes).is_err());
        }
    }
}
