//! How the rows of the index are written.
//!
//! ```text
//! contents   id (32), entry (17 or 25), names (17, 33 or 65 each)
//! names      half a hash (16), kind (1), half the id of the content (16)
//! by_access  queue and since when it stands there (8), id (32)
//! ```

use potluck_content::{ContentId, Digest, DigestAlgorithm, EntityKey};

use crate::Facts;
use crate::eviction::Candidate;
use crate::rank::{Queue, Rank};

/// What is looked up of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) size: u64,
    /// Microseconds since 1970; larger than that of any entry touched before.
    pub(crate) accessed: u64,
    /// Its place among those that may go.
    pub(crate) rank: Rank,
    pub(crate) validated: bool,
    pub(crate) pinned: bool,
    pub(crate) cached: bool,
}

impl Entry {
    pub(crate) fn encode(self) -> Vec<u8> {
        let rank = self.rank;
        let flags = u8::from(self.validated)
            | u8::from(self.pinned) << 1
            | u8::from(self.cached) << 2
            | u8::from(rank.queue == Queue::Small) << 3
            | rank.uses.min(Rank::MAX_USES) << 4
            | u8::from(rank.since != self.accessed) << 6;
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.accessed.to_be_bytes());
        bytes.push(flags);
        // Least recently used needs no other order than that of use.
        if rank.since != self.accessed {
            bytes.extend(rank.since.to_be_bytes());
        }
        bytes
    }

    /// Reads an entry, and says what comes after it.
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let (accessed, rest) = rest.split_first_chunk::<8>()?;
        let (&flags, rest) = rest.split_first()?;
        let (since, rest) = if flags & 64 == 0 {
            (accessed, rest)
        } else {
            rest.split_first_chunk::<8>()?
        };
        let queue = if flags & 8 == 0 {
            Queue::Main
        } else {
            Queue::Small
        };
        let entry = Self {
            size: u64::from_be_bytes(*size),
            accessed: u64::from_be_bytes(*accessed),
            rank: Rank {
                queue,
                since: u64::from_be_bytes(*since),
                uses: flags >> 4 & Rank::MAX_USES,
            },
            validated: flags & 1 != 0,
            pinned: flags & 2 != 0,
            cached: flags & 4 != 0,
        };
        Some((entry, rest))
    }

    /// Its place among those that may be evicted, if it may be.
    pub(crate) fn queue_key(&self, id: &ContentId) -> Option<Vec<u8>> {
        let Rank { queue, since, .. } = self.rank;
        (self.cached && !self.pinned)
            .then(|| [&queue_start(queue, since)[..], id.as_bytes()].concat())
    }

    /// What a policy is told of it.
    pub(crate) const fn candidate(&self) -> Candidate {
        Candidate {
            rank: self.rank,
            accessed: self.accessed,
        }
    }
}

/// Rows of a queue begin with this and go on with the id. The highest bit tells the queues
/// apart; no time reaches it.
pub(crate) const fn queue_start(queue: Queue, since: u64) -> [u8; 8] {
    const SMALL: u64 = 1 << 63;
    match queue {
        Queue::Main => since & !SMALL,
        Queue::Small => since | SMALL,
    }
    .to_be_bytes()
}

/// The time in the beginning of a row of a queue.
pub(crate) const fn queue_since(start: [u8; 8]) -> u64 {
    u64::from_be_bytes(start) & !(1 << 63)
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
    let (entry, _) = Entry::decode(rest)?;
    Some((ContentId::from_bytes(*id), entry))
}

/// The names in a row of `contents`.
pub(crate) fn names_in(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    let entry = row.get(ID..).and_then(Entry::decode);
    let mut rest = entry.map_or(&[][..], |(_, names)| names);
    std::iter::from_fn(move || {
        let hash = match *rest.first()? {
            SHA512 => 64,
            URL => HALF,
            _ => 32,
        };
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
const URL: u8 = b'u';

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

/// How a row of `names` for a URL begins: a part of its hash.
pub(crate) fn url_start(url: &str) -> [u8; 8] {
    let mut start = [0; 8];
    start.copy_from_slice(&ContentId::of(url.as_bytes()).as_bytes()[..8]);
    start
}

/// Whether a row of `names` leads from a URL that begins so to a content.
pub(crate) fn is_of_url(row: &[u8], start: &[u8; 8]) -> bool {
    row.starts_with(start) && row.get(HALF) == Some(&URL)
}

/// The beginning of the id that a row of `names` leads to.
pub(crate) fn name_target(row: &[u8]) -> Option<&[u8]> {
    row.get(HALF + 1..).filter(|half| half.len() == HALF)
}

/// One URL may lead to many contents, one for each version: a part of the id makes a name
/// of its own for each.
fn url_name(url: &str, id: &ContentId) -> Name {
    [&[URL], &url_start(url)[..], &id.as_bytes()[..8]].concat()
}

/// All names that the facts give a content, each once.
pub(crate) fn facts_names(id: &ContentId, facts: &Facts) -> Vec<Name> {
    let entities = facts.entities.iter();
    let entities = entities.flat_map(|e| [entity_name(&e.key()), url_name(&e.url, id)]);
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
        let first = Entry {
            size: 7,
            accessed: 1 << 50,
            rank: Rank::main(1 << 50),
            validated: true,
            pinned: false,
            cached: true,
        };
        let rank = Rank {
            queue: Queue::Small,
            since: 5,
            uses: 3,
        };
        let names: Vec<Name> = vec![
            [&b"5"[..], &[1; 64]].concat(),
            [&b"e"[..], &[2; 32]].concat(),
        ];
        for entry in [first, Entry { rank, ..first }] {
            let row = content_row(&id, entry, &names);
            assert_eq!(decode_content(&row), Some((id, entry)));
            assert!(names_in(&row).eq(&names));
            for len in 0..row.len() {
                assert!(names_in(&row[..len]).count() < 2);
            }
        }
    }

    #[test]
    fn queues_sort_one_after_the_other() {
        let id = ContentId::of(b"content");
        let mut entry = Entry {
            size: 7,
            accessed: 9,
            rank: Rank::main(9),
            validated: true,
            pinned: false,
            cached: true,
        };
        let main = entry.queue_key(&id);
        entry.rank = Rank::small(5);
        assert!(main < entry.queue_key(&id));
        entry.pinned = true;
        assert_eq!(entry.queue_key(&id), None);
    }
}
