//! Where the bytes of a transfer came from.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::Source;

/// Bytes of content, each counted in exactly one place.
///
/// For a finished download, `peers + origin + cache` is its size; what was received and
/// thrown away (a piece that came twice, a piece that did not verify, the start of a piece
/// whose request broke) is `discarded` and counts apart. What came over the network is
/// `peers + origin - unpacked + discarded`, whatever became of it: bytes that the cache had
/// and that turned out worthless are in no place any more. Sums saturate: a count never
/// wraps to a small one.
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
    /// Of those of the origin, bytes that nobody sent: what came packed was less.
    #[serde(rename = "bytes_unpacked", default, skip_serializing_if = "is_zero")]
    pub unpacked: u64,
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

    /// Bytes that came over the network.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.peers
            .saturating_add(self.sent())
            .saturating_add(self.discarded)
    }

    /// Bytes of the result that the origin sent, packed if they came so.
    fn sent(&self) -> u64 {
        self.origin.saturating_sub(self.unpacked)
    }

    /// The same when everything came for nothing.
    #[must_use]
    pub fn wasted(&self) -> Self {
        Self {
            discarded: self.received(),
            ..Self::default()
        }
    }

    /// The same when `bytes` of the result are held, and no more is known: those of an
    /// earlier attempt that are not lost, and those that others brought.
    #[must_use]
    pub fn resumed(&self, bytes: u64) -> Self {
        let peers = self.peers.min(bytes);
        let origin = self.sent().min(bytes - peers);
        let lost = (self.peers - peers).saturating_add(self.sent() - origin);
        Self {
            peers,
            origin,
            cache: bytes - peers - origin,
            unpacked: 0,
            discarded: self.discarded.saturating_add(lost),
        }
    }

    /// What an origin sent that made `made` bytes of the result, unpacked or not.
    pub fn add_unpacked(&mut self, sent: u64, made: u64) {
        self.add(Source::Origin, made);
        self.unpacked = self.unpacked.saturating_add(made.saturating_sub(sent));
        self.add_discarded(sent.saturating_sub(made));
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
        let nobodys = match from {
            Source::Origin => self.forget_unpacked(moved),
            Source::Peer(_) => 0,
        };
        self.add_discarded(moved - nobodys);
    }

    /// Bytes that were held turn out worthless, and whose they were is not known: those
    /// that the own cache had go first.
    pub fn lose(&mut self, bytes: u64) {
        let cache = bytes.min(self.cache);
        let origin = (bytes - cache).min(self.origin);
        let peers = (bytes - cache - origin).min(self.peers);
        self.cache -= cache;
        self.peers -= peers;
        self.discard(Source::Origin, origin);
        self.add_discarded(peers);
    }

    /// Bytes of the origin are none of the result any more: says how many of them nobody
    /// sent.
    fn forget_unpacked(&mut self, bytes: u64) -> u64 {
        let nobodys = bytes.min(self.unpacked);
        self.unpacked -= nobodys;
        nobodys
    }

    fn place(&mut self, from: Source) -> &mut u64 {
        match from {
            Source::Origin => &mut self.origin,
            Source::Peer(_) => &mut self.peers,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl AddAssign for Accounting {
    fn add_assign(&mut self, other: Self) {
        self.peers = self.peers.saturating_add(other.peers);
        self.origin = self.origin.saturating_add(other.origin);
        self.cache = self.cache.saturating_add(other.cache);
        self.unpacked = self.unpacked.saturating_add(other.unpacked);
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
            unpacked: 0,
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
    fn what_came_is_never_forgotten() {
        let mut file = Accounting::default();
        file.add(Source::Peer(PeerKey(1)), 70);
        file.add(Source::Origin, 20);
        file.add_cached(10);
        file.add_discarded(5);
        assert_eq!(file.received(), 95);
        // Of a hundred bytes, sixty are still there, or a hundred and twenty.
        for held in [0, 60, 80, 120] {
            let again = file.resumed(held);
            assert_eq!((again.total(), again.received()), (held, 95), "{held}");
        }
        for lost in [0, 5, 10, 25, 60, 100] {
            let mut less = file;
            less.lose(lost);
            assert_eq!((less.total(), less.received()), (100 - lost, 95), "{lost}");
        }
        assert_eq!((file.wasted().total(), file.wasted().received()), (0, 95));
    }

    #[test]
    fn what_was_packed_is_counted_as_it_came() {
        for (sent, made) in [(10, 1000), (30, 20), (0, 0)] {
            let mut file = Accounting::default();
            file.add_unpacked(sent, made);
            assert_eq!((file.total(), file.received()), (made, sent));
            assert_eq!(file.origin, made, "what the origin gave is the file");
            let mut less = file;
            less.lose(made);
            assert_eq!((less.total(), less.received()), (0, sent));
            assert_eq!(file.resumed(0).received(), sent);
        }
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
