//! How the rows of the index are written.

use potluck_content::{ContentId, Digest, DigestAlgorithm, EntityKey};

use crate::Facts;

/// What is looked up of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) size: u64,
    /// Microseconds since 1970; larger than that of any entry touched before.
    pub(crate) accessed: u64,
    pub(crate) validated: bool,
    pub(crate) pinned: bool,
    pub(crate) cached: bool,
}

impl Entry {
    pub(crate) fn encode(self) -> Vec<u8> {
        let flags =
            u8::from(self.validated) | u8::from(self.pinned) << 1 | u8::from(self.cached) << 2;
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.accessed.to_be_bytes());
        bytes.push(flags);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let (accessed, rest) = rest.split_first_chunk::<8>()?;
        let &[flags] = rest else { return None };
        Some(Self {
            size: u64::from_be_bytes(*size),
            accessed: u64::from_be_bytes(*accessed),
            validated: flags & 1 != 0,
            pinned: flags & 2 != 0,
            cached: flags & 4 != 0,
        })
    }

    /// Its place among those that may be evicted, if it may be.
    pub(crate) fn access_key(&self, id: &ContentId) -> Option<Vec<u8>> {
        (self.cached && !self.pinned)
            .then(|| [&self.accessed.to_be_bytes()[..], id.as_bytes()].concat())
    }
}

/// In `names`, a first byte tells the kinds apart; 'c' leads from a content to its names.
pub(crate) fn entity_name(key: &EntityKey) -> Vec<u8> {
    [b"e", &key.as_bytes()[..]].concat()
}

pub(crate) fn digest_name(digest: &Digest) -> Vec<u8> {
    let kind = match digest.algorithm() {
        DigestAlgorithm::B3 => b"3",
        DigestAlgorithm::Sha256 => b"2",
        DigestAlgorithm::Sha512 => b"5",
    };
    [kind, digest.as_bytes()].concat()
}

pub(crate) fn facts_names(facts: &Facts) -> Vec<Vec<u8>> {
    let entities = facts.entities.iter().map(|e| entity_name(&e.key()));
    entities
        .chain(facts.digests.iter().map(digest_name))
        .collect()
}

pub(crate) fn back(id: &ContentId, name: &[u8]) -> Vec<u8> {
    [b"c", &id.as_bytes()[..], name].concat()
}
