//! Which pieces of a content somebody holds.

use std::fmt;
use std::ops::Range;

use crate::PieceIndex;

/// One bit for each piece of a content.
///
/// On the wire and on disk: byte 0 holds pieces 0 to 7, piece 0 in its highest bit,
/// as BitTorrent has it (BEP 3); spare bits at the end are zero.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    pieces: u32,
    bytes: Vec<u8>,
}

/// Bytes that are no bitfield of the wanted length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// Too many or too few bytes.
    #[error("a bitfield of {pieces} pieces has {expected} bytes, not {found}")]
    WrongLength {
        /// Pieces of the content.
        pieces: u32,
        /// Bytes that this takes.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A bit is set that stands for no piece.
    #[error("a bit is set beyond the last of {pieces} pieces")]
    SpareBitSet {
        /// Pieces of the content.
        pieces: u32,
    },
}

impl Bitfield {
    /// A bitfield in which no piece is held.
    #[must_use]
    pub fn empty(pieces: u32) -> Self {
        Self {
            pieces,
            bytes: vec![0; byte_len(pieces)],
        }
    }

    /// A bitfield in which every piece is held.
    #[must_use]
    pub fn full(pieces: u32) -> Self {
        let mut field = Self {
            pieces,
            bytes: vec![0xff; byte_len(pieces)],
        };
        if let Some(last) = field.bytes.last_mut() {
            *last &= !spare_mask(pieces);
        }
        field
    }

    /// Reads the form that travels.
    ///
    /// # Errors
    /// When the length is not that of `pieces`, or a spare bit is set.
    pub fn from_bytes(pieces: u32, bytes: Vec<u8>) -> Result<Self, BitfieldError> {
        let expected = byte_len(pieces);
        if bytes.len() != expected {
            return Err(BitfieldError::WrongLength {
                pieces,
                expected,
                found: bytes.len(),
            });
        }
        if bytes
            .last()
            .is_some_and(|last| last & spare_mask(pieces) != 0)
        {
            return Err(BitfieldError::SpareBitSet { pieces });
        }
        Ok(Self { pieces, bytes })
    }

    /// The form that travels.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many pieces the content has.
    #[must_use]
    pub const fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Whether a piece is held; a piece that does not exist is not.
    #[must_use]
    pub fn has(&self, index: PieceIndex) -> bool {
        index.0 < self.pieces && self.bytes[place(index)] & bit(index) != 0
    }

    /// Notes that a piece is held. Says whether that is news.
    ///
    /// # Panics
    /// When the content has no such piece.
    pub fn set(&mut self, index: PieceIndex) -> bool {
        assert!(index.0 < self.pieces, "no piece {index} of {}", self.pieces);
        let news = !self.has(index);
        self.bytes[place(index)] |= bit(index);
        news
    }

    /// Notes that a piece is not held.
    ///
    /// # Panics
    /// When the content has no such piece.
    pub fn clear(&mut self, index: PieceIndex) {
        assert!(index.0 < self.pieces, "no piece {index} of {}", self.pieces);
        self.bytes[place(index)] &= !bit(index);
    }

    /// How many pieces are held.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.bytes.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether every piece is held.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() == self.pieces
    }

    /// Whether no piece is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    /// The pieces that are held, in order.
    pub fn held(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        (0..self.pieces)
            .map(PieceIndex)
            .filter(|index| self.has(*index))
    }

    /// The pieces that are not held, in order.
    pub fn missing(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        (0..self.pieces)
            .map(PieceIndex)
            .filter(|index| !self.has(*index))
    }

    /// Whether all pieces of a run are held.
    #[must_use]
    pub fn has_run(&self, run: Range<u32>) -> bool {
        run.into_iter().all(|index| self.has(PieceIndex(index)))
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count(), self.pieces)
    }
}

const fn byte_len(pieces: u32) -> usize {
    pieces.div_ceil(8) as usize
}

const fn place(index: PieceIndex) -> usize {
    (index.0 / 8) as usize
}

const fn bit(index: PieceIndex) -> u8 {
    0x80 >> (index.0 % 8)
}

/// The bits of the last byte that stand for no piece.
const fn spare_mask(pieces: u32) -> u8 {
    match pieces % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_counts_and_travels() {
        let mut field = Bitfield::empty(11);
        assert!(field.set(PieceIndex(0)));
        assert!(field.set(PieceIndex(10)));
        assert!(!field.set(PieceIndex(10)));
        assert_eq!(field.as_bytes(), [0x80, 0x20]);
        assert_eq!(field.count(), 2);
        assert_eq!(
            field.held().collect::<Vec<_>>(),
            [PieceIndex(0), PieceIndex(10)]
        );
        assert_eq!(field.missing().count(), 9);
        assert_eq!(
            Bitfield::from_bytes(11, field.as_bytes().to_vec()),
            Ok(field)
        );
    }

    #[test]
    fn full_means_every_piece_and_no_spare_bit() {
        for pieces in [0, 1, 7, 8, 9, 16] {
            let field = Bitfield::full(pieces);
            assert!(field.is_full(), "{pieces}");
            assert_eq!(
                Bitfield::from_bytes(pieces, field.as_bytes().to_vec()),
                Ok(field)
            );
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert!(matches!(
            Bitfield::from_bytes(11, vec![0; 3]),
            Err(BitfieldError::WrongLength {
                expected: 2,
                found: 3,
                ..
            })
        ));
        assert_eq!(
            Bitfield::from_bytes(11, vec![0, 1]),
            Err(BitfieldError::SpareBitSet { pieces: 11 })
        );
    }
}
