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
///
/// Of some kinds and versions, others may follow in the same file: then the last counts that
/// is whole. So something can be added that may be cut off without taking what was there.
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
        let (found, rest) = Self::decode_first(bytes, kind, version)?;
        if rest.is_empty() {
            Ok(found)
        } else {
            Err(SidecarError::Damaged)
        }
    }

    /// The same of the last one in a file to which others were added, and where the next
    /// one goes. Without one that is whole at the beginning nothing is believed.
    pub(crate) fn decode_last(
        bytes: &[u8],
        kind: &'static str,
        version: u32,
    ) -> Result<(Self, usize), SidecarError> {
        let (mut last, mut rest) = Self::decode_first(bytes, kind, version)?;
        while let Ok((next, others)) = Self::decode_first(rest, kind, version) {
            (last, rest) = (next, others);
        }
        Ok((last, bytes.len() - rest.len()))
    }

    /// Reads what is at the beginning; gives what follows, too.
    fn decode_first<'a>(
        bytes: &'a [u8],
        kind: &'static str,
        version: u32,
    ) -> Result<(Self, &'a [u8]), SidecarError> {
        if bytes.len() < HEAD {
            return Err(SidecarError::Damaged);
        }
        let (text, blob) = (number(bytes, 20) as usize, number(bytes, 24) as usize);
        let (body, rest) = (text.checked_add(blob))
            .and_then(|len| len.checked_add(HEAD))
            .and_then(|len| bytes.split_at_checked(len))
            .ok_or(SidecarError::Damaged)?;
        let (sum, rest) = rest.split_at_checked(SUM).ok_or(SidecarError::Damaged)?;
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
        let (text, blob) = body[HEAD..].split_at(text);
        let found = Self {
            text: text.to_vec(),
            blob: blob.to_vec(),
        };
        Ok((found, rest))
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
    fn what_is_added_counts_when_it_is_whole() {
        let first = sample().encode("content", 1);
        let next = Sidecar {
            text: b"{\"more\":1}".to_vec(),
            blob: Vec::new(),
        };
        let both = [&first[..], &next.encode("content", 1)].concat();
        let last = |bytes: &[u8]| Sidecar::decode_last(bytes, "content", 1);
        for len in first.len()..both.len() {
            assert_eq!(last(&both[..len]), Ok((sample(), first.len())));
        }
        assert_eq!(last(&both), Ok((next, both.len())));
        for bit in first.len() * 8..both.len() * 8 {
            let mut bad = both.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(last(&bad), Ok((sample(), first.len())));
        }
        for len in 0..first.len() {
            assert_eq!(last(&both[..len]), Err(SidecarError::Damaged));
        }
        assert_eq!(
            Sidecar::decode(&both, "content", 1),
            Err(SidecarError::Damaged)
        );
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
