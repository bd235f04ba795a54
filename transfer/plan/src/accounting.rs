//! Where the bytes of a transfer came from.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::Source;

/// Bytes of content, each counted in exactly one place.
///
/// For a finished download, `peers + origin + cache` is its size; what was received
/// and thrown away (a piece that came twice, a piece that did not verify, the start
/// of a piece whose request broke) is `discarded` and counts apart. Sums saturate:
/// a count never wraps to a small one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Accounting {
    /// Bytes that peers gave and that are part of the result.
    #[serde(rename = "bytes_from_peers")]
    pub peers: u64,
    /// Bytes that the origin gave and that are part of the result.
    #[serde(rename = "bytes_from_origin")]
    pub origin: u64,
    /// Bytes that were in the own cache before.
    #[serde(rename = "bytes_from_cache")]
    pub cache: u64,
    /// Bytes received and thrown away.
    #[serde(rename = "bytes_discarded")]
    pub discarded: u64,
}

impl Accounting {
    /// Bytes of the result so far: peers, origin and cache together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.peers
            .saturating_add(self.origin)
            .saturating_add(self.cache)
    }

    /// Bytes that came and are kept.
    pub fn add(&mut self, from: Source, bytes: u64) {
        let place = self.place(from);
        *place = place.saturating_add(bytes);
    }

    /// Bytes that the own cache had.
    pub fn add_cached(&mut self, bytes: u64) {
        self.cache = self.cache.saturating_add(bytes);
    }

    /// Bytes that came and were thrown away.
    pub fn add_discarded(&mut self, bytes: u64) {
        self.discarded = self.discarded.saturating_add(bytes);
    }

    /// Bytes that were counted as kept turn out worthless: they move to the discarded.
    /// Never moves more than was counted.
    pub fn discard(&mut self, from: Source, bytes: u64) {
        let place = self.place(from);
        let moved = bytes.min(*place);
        *place -= moved;
        self.add_discarded(moved);
    }

    /// As [`Accounting::discard`], for bytes that the own cache had.
    pub fn discard_cached(&mut self, bytes: u64) {
        let moved = bytes.min(self.cache);
        self.cache -= moved;
        self.add_discarded(moved);
    }

    fn place(&mut self, from: Source) -> &mut u64 {
        match from {
            Source::Origin => &mut self.origin,
            Source::Peer(_) => &mut self.peers,
        }
    }
}

impl AddAssign for Accounting {
    fn add_assign(&mut self, other: Self) {
        self.peers = self.peers.saturating_add(other.peers);
        self.origin = self.origin.saturating_add(other.origin);
        self.cache = self.cache.saturating_add(other.cache);
        self.discarded = self.discarded.saturating_add(other.discarded);
    }
}

impl std::iter::Sum for Accounting {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        let mut sum = Self::default();
        for part in parts {
            sum += part;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerKey;

    #[test]
    fn every_byte_is_in_one_place() {
        let mut file = Accounting::default();
        file.add(Source::Peer(PeerKey(1)), 70);
        file.add(Source::Origin, 20);
        file.add_cached(10);
        assert_eq!(file.total(), 100);
        file.add_discarded(5);
        assert_eq!(file.total(), 100);
        file.discard(Source::Peer(PeerKey(1)), 70);
        assert_eq!((file.total(), file.discarded), (30, 75));
        file.discard(Source::Peer(PeerKey(1)), 1);
        assert_eq!(file.discarded, 75, "no more than was counted");
    }

    #[test]
    fn jobs_are_the_sum_of_their_files() {
        let file = Accounting {
            peers: 1,
            origin: 2,
            cache: 3,
            discarded: 4,
        };
        let job: Accounting = [file, file].into_iter().sum();
        assert_eq!((job.total(), job.discarded), (12, 8));
        let mut huge = Accounting {
            peers: u64::MAX,
            ..file
        };
        huge += file;
        assert_eq!(huge.peers, u64::MAX);
    }

    #[test]
    fn it_has_the_names_of_the_interface() {
        let json = serde_json::to_string(&Accounting::default()).unwrap();
        assert_eq!(
            json,
            r#"{"bytes_from_peers":0,"bytes_from_origin":0,"bytes_from_cache":0,"bytes_discarded":0}"#
        );
    }
}
