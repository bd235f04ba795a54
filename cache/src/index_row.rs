//! How the rows of the index are written.
//!
//! ```text
//! contents   id (32), entry (17), names (33 or 65 each)
//! names      half a hash (16), kind (1), half the id of the content (16)
//! by_access  time of the last use (8), id (32)
//! ```

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
    const LEN: usize = 17;

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

/// A row of `contents`: id, entry, names. It alone decides; the rows of the other tables
/// only lead to it.
pub(crate) fn content_row(id: &ContentId, entry: Entry, names: &[Name]) -> Vec<u8> {
    let mut row = id.as_bytes().to_vec();
    row.extend(entry.encode());
    row.extend(names.iter().flatten());
    row
}

/// What a row of `contents` is about.
pub(crate) fn decode_content(row: &[u8]) -> Option<(ContentId, Entry)> {
    let (id, rest) = row.split_first_chunk::<ID>()?;
    let entry = Entry::decode(rest.get(..Entry::LEN)?)?;
    Some((ContentId::from_bytes(*id), entry))
}

/// The names in a row of `contents`.
pub(crate) fn names_in(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = row.get(ID + Entry::LEN..).unwrap_or_default();
    std::iter::from_fn(move || {
        let hash = if *rest.first()? == SHA512 { 64 } else { 32 };
        let (name, others) = rest.split_at_checked(1 + hash)?;
        rest = others;
        Some(name)
    })
}

/// What a content can be found by: a byte for the kind, then a hash, all of it.
pub(crate) type Name = Vec<u8>;

const ENTITY: u8 = b'e';
const SHA256: u8 = b'2';
const SHA512: u8 = b'5';
const B3: u8 = b'3';

pub(crate) fn entity_name(key: &EntityKey) -> Name {
    [&[ENTITY], &key.as_bytes()[..]].concat()
}

pub(crate) fn digest_name(digest: &Digest) -> Name {
    let kind = match digest.algorithm() {
        DigestAlgorithm::B3 => B3,
        DigestAlgorithm::Sha256 => SHA256,
        DigestAlgorithm::Sha512 => SHA512,
    };
    [&[kind], digest.as_bytes()].concat()
}

/// All names that the facts give a content, each once.
pub(crate) fn facts_names(facts: &Facts) -> Vec<Name> {
    let entities = facts.entities.iter().map(|e| entity_name(&e.key()));
    let mut names: Vec<_> = entities
        .chain(facts.digests.iter().map(digest_name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// How a row of `names` for this name begins. Half a hash tells names apart, to keep the
/// table small: what it leads to is compared with the whole name in any case.
pub(crate) fn name_start(name: &[u8]) -> Vec<u8> {
    let (kind, hash) = name.split_at(1);
    [&hash[..HALF], kind].concat()
}

/// A row of `names`, which leads to a content by the first half of its id.
pub(crate) fn name_row(name: &[u8], id: &ContentId) -> Vec<u8> {
    let mut row = name_start(name);
    row.extend(&id.as_bytes()[..HALF]);
    row
}

const ID: usize = 32;
const HALF: usize = ID / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let id = ContentId::of(b"content");
        let entry = Entry {
            size: 7,
            accessed: 1 << 50,
            validated: true,
            pinned: false,
            cached: true,
        };
        let names: Vec<Name> = vec![
            [&b"5"[..], &[1; 64]].concat(),
            [&b"e"[..], &[2; 32]].concat(),
        ];
        let row = content_row(&id, entry, &names);
        assert_eq!(decode_content(&row), Some((id, entry)));
        assert!(names_in(&row).eq(&names));
        for len in 0..row.len() {
            assert!(names_in(&row[..len]).count() < 2);
        }
    }
}
