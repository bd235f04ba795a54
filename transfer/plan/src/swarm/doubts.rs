//! What members doubt that others signed, and which of it this node looks at.

use std::collections::BTreeMap;

use potluck_content::{ChainingValue, PieceIndex};

use crate::PeerKey;

/// The most doubts that a member tells of one file.
pub const MAX_DOUBTS: usize = 8;

/// So many of one member are looked at. Each costs the origin a piece, and who makes them up
/// is not to make everybody fetch the file twice.
const MOST_OF_ONE: u32 = 2;

/// A member compared a piece with the origin, and this hash that somebody signed is wrong.
///
/// Nobody has to believe it: it says where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// The piece.
    pub piece: PieceIndex,
    /// What was signed.
    pub value: ChainingValue,
}

/// What the members of a swarm doubt.
#[derive(Debug, Default)]
pub struct Doubts {
    known: Vec<Doubt>,
    /// Of these, what was not looked at yet.
    open: Vec<Doubt>,
    /// How many were had of each member.
    of: BTreeMap<PeerKey, u32>,
}

impl Doubts {
    /// A member doubts these. Gives back what is new of it, and not too much.
    pub fn hear(&mut self, peer: PeerKey, doubts: &[Doubt]) -> Vec<Doubt> {
        let of = self.of.entry(peer).or_default();
        let mut new = Vec::new();
        for doubt in doubts {
            if *of < MOST_OF_ONE && !self.known.contains(doubt) {
                *of += 1;
                self.known.push(*doubt);
                self.open.push(*doubt);
                new.push(*doubt);
            }
        }
        new
    }

    /// Whether this is doubted and was not looked at yet. From now on it was.
    pub fn take(&mut self, doubt: &Doubt) -> bool {
        let place = self.open.iter().position(|open| open == doubt);
        place.map(|place| self.open.swap_remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubt(piece: u32, value: u8) -> Doubt {
        Doubt {
            piece: PieceIndex(piece),
            value: ChainingValue::from_bytes([value; 32]),
        }
    }

    #[test]
    fn a_doubt_is_looked_at_once_whoever_has_it() {
        let mut doubts = Doubts::default();
        assert_eq!(doubts.hear(PeerKey(1), &[doubt(4, 1)]), [doubt(4, 1)]);
        assert_eq!(doubts.hear(PeerKey(2), &[doubt(4, 1)]), []);
        assert!(!doubts.take(&doubt(4, 2)), "that is something else");
        assert!(doubts.take(&doubt(4, 1)));
        assert!(!doubts.take(&doubt(4, 1)));
        assert_eq!(doubts.hear(PeerKey(3), &[doubt(4, 1)]), []);
    }

    #[test]
    fn who_doubts_everything_is_heard_twice() {
        let mut doubts = Doubts::default();
        let all: Vec<_> = (0..5).map(|piece| doubt(piece, 1)).collect();
        assert_eq!(doubts.hear(PeerKey(1), &all[..1]), all[..1]);
        assert_eq!(doubts.hear(PeerKey(1), &all), all[1..2]);
        assert_eq!(doubts.hear(PeerKey(1), &all), []);
        assert_eq!(doubts.hear(PeerKey(2), &all), all[2..4]);
        assert!(!doubts.take(&all[4]));
    }
}
