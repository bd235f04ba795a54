//! What of a file is in counters that only grow.

use serde::{Deserialize, Serialize};

use crate::Accounting;

/// What of one file was added to counters so far.
///
/// A file may be given up and come again: what was part of it is discarded then, and from a
/// counter nothing can be taken back. So each byte that came is added once, as what it was
/// then, and bytes of the result are added only beyond the most that there ever were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counted(Accounting);

impl Counted {
    /// What is to be added to the counters now that the file is so far; it is taken for
    /// added from here on. What came over the network since is all in it.
    pub fn take(&mut self, file: &Accounting) -> Accounting {
        let before = self.0;
        let mut came = file.received().saturating_sub(before.received());
        let mut more = file.total().saturating_sub(before.total());
        let peers = file.peers.saturating_sub(before.peers);
        let peers = peers.min(more).min(came);
        came -= peers;
        more -= peers;
        let origin = file.origin.saturating_sub(before.origin).min(more);
        let unpacked = file.unpacked.saturating_sub(before.unpacked).min(origin);
        let sent = (origin - unpacked).min(came);
        came -= sent;
        more -= sent + unpacked;
        let added = Accounting {
            peers,
            origin: sent + unpacked,
            cache: file.cache.saturating_sub(before.cache).min(more),
            unpacked,
            discarded: came,
        };
        self.0 += added;
        added
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{PeerKey, Source};

    const PEER: Source = Source::Peer(PeerKey(1));

    /// What can happen to a file; how much of it came over the network just then.
    fn happens(file: &mut Accounting, what: u8, bytes: u64) -> u64 {
        match what {
            0 => file.add(PEER, bytes),
            1 => file.add(Source::Origin, bytes),
            2 => file.add_unpacked(bytes, bytes * 3),
            3 => file.add_discarded(bytes),
            other => {
                match other {
                    4 => file.add_cached(bytes),
                    5 => file.discard(PEER, bytes),
                    6 => file.discard(Source::Origin, bytes),
                    7 => file.lose(bytes),
                    8 => *file = file.resumed(bytes),
                    _ => *file = file.wasted(),
                }
                return 0;
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn counters_have_what_went_over_the_wire(
            steps in prop::collection::vec((0..10u8, 0..1_000u64, any::<bool>()), 0..60),
        ) {
            let (mut file, mut counted) = (Accounting::default(), Counted::default());
            let (mut sum, mut wire, mut most) = (Accounting::default(), 0, 0);
            for (what, bytes, counts) in steps {
                wire += happens(&mut file, what, bytes);
                prop_assert_eq!(file.received(), wire);
                if counts {
                    sum += counted.take(&file);
                    most = most.max(file.total());
                    prop_assert_eq!(sum.received(), wire);
                    prop_assert!(sum.total() <= most, "{:?} {}", sum, most);
                    prop_assert_eq!(counted.take(&file), Accounting::default());
                }
            }
        }
    }

    #[test]
    fn what_comes_twice_makes_one_file() {
        let (mut file, mut counted) = (Accounting::default(), Counted::default());
        file.add(Source::Origin, 100);
        assert_eq!(counted.take(&file), file);
        file = file.wasted();
        assert_eq!(counted.take(&file), Accounting::default());
        file.add(PEER, 60);
        file.add(Source::Origin, 40);
        let again = counted.take(&file);
        assert_eq!((again.total(), again.discarded), (0, 100));
        // A file that grew.
        file.add(PEER, 5);
        let more = counted.take(&file);
        assert_eq!((more.peers, more.received()), (5, 5));
    }
}
