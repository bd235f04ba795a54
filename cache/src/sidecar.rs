//! The frame around everything that is said about a file.

use potluck_content::ContentId;

/// What a sidecar holds: text that describes, bytes that list.
///
/// ```text
/// "potluck "   8 bytes
/// kind         8 bytes, filled up with spaces
/// version      u32, little-endian like all numbers here
/// text length  u32
/// blob length  u32
/// text         JSON; fields that are not known are passed over
/// blob         chaining values, bitfields
/// checksum     32 bytes: BLAKE3 of everything before
/// ```
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) text: Vec<u8>,
    pub(crate) blob: Vec<u8>,
}

/// Why bytes are no sidecar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SidecarError {
    #[error("it is no sidecar of kind {0}")]
    Kind(&'static str),
    #[error("it has version {0}, which only a newer Potluck reads")]
    Newer(u32),
    #[error("it is damaged")]
    Damaged,
    #[error("it does not say what it should: {0}")]
    Senseless(String),
}

const MAGIC: &[u8; 8] = b"potluck ";
const HEAD: usize = 28;
const SUM: usize = 32;

impl Sidecar {
    /// The bytes to be written.
    ///
    /// # Panics
    /// When text or blob exceed 4 GiB, or `kind` has more than 8 letters.
    pub(crate) fn encode(&self, kind: &'static str, version: u32) -> Vec<u8> {
        let len = |part: &[u8]| u32::try_from(part.len()).expect("far below 4 GiB");
        let mut bytes = Vec::with_capacity(HEAD + self.text.len() + self.blob.len() + SUM);
        bytes.extend(MAGIC);
        bytes.extend(padded(kind));
        bytes.extend(version.to_le_bytes());
        bytes.extend(len(&self.text).to_le_bytes());
        bytes.extend(len(&self.blob).to_le_bytes());
        bytes.extend(&self.text);
        bytes.extend(&self.blob);
        let sum = ContentId::of(&bytes);
        bytes.extend(sum.as_bytes());
        bytes
    }

    /// Reads what was written, of `version` or one before.
    pub(crate) fn decode(
        bytes: &[u8],
        kind: &'static str,
        version: u32,
    ) -> Result<Self, SidecarError> {
        let body = bytes
            .len()
            .checked_sub(SUM)
            .filter(|len| *len >= HEAD)
            .ok_or(SidecarError::Damaged)?;
        let (body, sum) = bytes.split_at(body);
        // The sum first: what is damaged may pretend to be of any kind or version.
        if ContentId::of(body).as_bytes() != sum {
            return Err(SidecarError::Damaged);
        }
        if &body[..8] != MAGIC || body[8..16] != padded(kind) {
            return Err(SidecarError::Kind(kind));
        }
        let found = number(body, 16);
        if found > version {
            return Err(SidecarError::Newer(found));
        }
        let rest = &body[HEAD..];
        let (text, blob) = (number(body, 20) as usize, number(body, 24) as usize);
        if text.checked_add(blob) != Some(rest.len()) {
            return Err(SidecarError::Damaged);
        }
        let (text, blob) = rest.split_at(text);
        Ok(Self {
            text: text.to_vec(),
            blob: blob.to_vec(),
        })
    }
}

fn padded(kind: &str) -> [u8; 8] {
    let mut bytes = [b' '; 8];
    bytes[..kind.len()].copy_from_slice(kind.as_bytes());
    bytes
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sidecar {
        Sidecar {
            text: b"{}".to_vec(),
            blob: vec![1, 2, 3],
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        let bytes = sample().encode("content", 1);
        assert_eq!(Sidecar::decode(&bytes, "content", 1), Ok(sample()));
    }

    #[test]
    fn no_damage_goes_unseen() {
        let bytes = sample().encode("content", 1);
        for len in 0..bytes.len() {
            assert_eq!(
                Sidecar::decode(&bytes[..len], "content", 1),
                Err(SidecarError::Damaged)
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Sidecar::decode(&bad, "content", 1),
                Err(SidecarError::Damaged)
            );
        }
    }

    #[test]
    fn knows_its_kind_and_its_time() {
        let bytes = sample().encode("content", 2);
        assert_eq!(
            Sidecar::decode(&bytes, "partial", 2),
            Err(SidecarError::Kind("partial"))
        );
        assert_eq!(
            Sidecar::decode(&bytes, "content", 1),
            Err(SidecarError::Newer(2))
        );
    }
}
