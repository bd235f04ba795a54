//! What the cache should hold, kept in the simplest way.

use std::time::SystemTime;

use potluck_cache::Usage;

pub(crate) const LIMIT: u64 = 1_000_000;
pub(crate) const SIZES: [usize; 7] = [0, 1, 200_000, 262_145, 400_000, 700_000, 1_200_000];

/// A blob of so many bytes comes at once.
pub(crate) const ONE_PIECE: usize = 1 << 18;

/// The blobs that also come piece by piece.
pub(crate) const PARTIALS: [usize; 2] = [3, 5];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Item {
    pub(crate) blob: usize,
    pub(crate) cached: bool,
    pub(crate) validated: bool,
    pub(crate) pinned: bool,
}

/// What the cache should hold, the least recently used first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) items: Vec<Item>,
    pub(crate) leases: [usize; SIZES.len()],
    pub(crate) linked: Option<usize>,
    /// When each came: making room for a content may evict that same content. Only known
    /// where it was observed.
    pub(crate) lives: [Option<SystemTime>; SIZES.len()],
    /// What a loss of power may take.
    pub(crate) unsynced: [bool; SIZES.len()],
    /// Of what it may take some of what is known.
    pub(crate) vague: [bool; SIZES.len()],
    /// What was removed by a call and must stay away.
    pub(crate) gone: [bool; SIZES.len()],
    /// What is begun of the blobs that come in pieces.
    pub(crate) unfinished: [Unfinished; PARTIALS.len()],
}

/// The pieces of an unfinished content, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unfinished {
    pub(crate) held: u8,
    /// Those that a killed process must leave, and that are there again afterwards.
    pub(crate) written: u8,
    /// Those that a loss of power must leave.
    pub(crate) checkpointed: u8,
}

impl Model {
    pub(crate) fn find(&mut self, blob: usize) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.blob == blob)
    }

    pub(crate) fn remove(&mut self, blob: usize) {
        self.items.retain(|item| item.blob != blob);
        self.linked = self.linked.filter(|linked| *linked != blob);
    }

    pub(crate) fn touch(&mut self, blob: usize) -> bool {
        let Some(at) = self.items.iter().position(|item| item.blob == blob) else {
            return false;
        };
        let item = self.items.remove(at);
        self.items.push(item);
        true
    }

    /// How many there are of a kind, and their bytes.
    pub(crate) fn count(&self, kind: impl Fn(&Item) -> bool) -> (u64, u64) {
        let items = self.items.iter().filter(|item| kind(item));
        let sizes = items.map(|item| SIZES[item.blob] as u64);
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }

    pub(crate) fn usage(&self) -> Usage {
        let (contents, bytes) = self.count(|item| item.cached && !item.pinned);
        let (pinned, pinned_bytes) = self.count(|item| item.pinned);
        Usage {
            bytes,
            contents,
            pinned_bytes,
            pinned,
            uncached_bytes: self.count(|item| !item.cached).1,
        }
    }

    pub(crate) fn make_room(&mut self, blob: usize) -> bool {
        let size = SIZES[blob] as u64;
        let mut lacking = (self.usage().bytes + size).saturating_sub(LIMIT);
        let mut victims = Vec::new();
        for item in &self.items {
            if lacking > 0 && item.cached && !item.pinned && self.leases[item.blob] == 0 {
                lacking = lacking.saturating_sub(SIZES[item.blob] as u64);
                victims.push(item.blob);
            }
        }
        if size > LIMIT || lacking > 0 {
            return false;
        }
        for victim in victims {
            self.remove(victim);
        }
        true
    }

    /// What exceeds the limit goes, as far as it may.
    pub(crate) fn enforce(&mut self) {
        for item in self.items.clone() {
            let may_go = item.cached && !item.pinned && self.leases[item.blob] == 0;
            if self.usage().bytes > LIMIT && may_go {
                self.remove(item.blob);
            }
        }
    }

    /// Contents of one piece are not durable at once.
    pub(crate) fn push_unsynced(&mut self, blob: usize, cached: bool) {
        self.push(blob, cached, false);
        self.unsynced[blob] = SIZES[blob] <= ONE_PIECE;
    }

    pub(crate) fn push(&mut self, blob: usize, cached: bool, validated: bool) {
        self.items.push(Item {
            blob,
            cached,
            validated,
            pinned: false,
        });
        self.is_durable(blob);
        self.gone[blob] = false;
    }

    /// It is, with all that is known of it.
    pub(crate) fn is_durable(&mut self, blob: usize) {
        self.unsynced[blob] = false;
        self.vague[blob] = false;
    }

    pub(crate) fn all_is_durable(&mut self) {
        self.unsynced = Default::default();
        self.vague = Default::default();
    }

    /// The last lease went.
    pub(crate) fn settle(&mut self, blob: usize) {
        if self.find(blob).is_some_and(|item| !item.cached) {
            if self.make_room(blob) {
                self.find(blob).unwrap().cached = true;
            } else {
                self.remove(blob);
            }
        }
    }

    pub(crate) fn drop_unclaimed(&mut self) {
        for blob in 0..SIZES.len() {
            if self.leases[blob] == 0 && self.find(blob).is_some_and(|item| !item.cached) {
                self.remove(blob);
            }
        }
    }
}
