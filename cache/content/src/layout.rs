//! How a content is cut into pieces.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The smallest piece: 256 KiB. A content of up to this size is one piece.
pub const MIN_PIECE_LEN: u64 = 256 * 1024;

/// The most pieces a content has; larger contents have larger pieces.
pub const MAX_PIECES: u64 = 16_384;

/// The largest content: 1 TiB, whose pieces are 64 MiB. A piece is held in memory
/// while it is verified, so this bounds what one request can cost.
pub const MAX_CONTENT_SIZE: u64 = 1 << 40;

/// The position of a piece in its content, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PieceIndex(pub u32);

impl fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A size beyond [`MAX_CONTENT_SIZE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are more than the {MAX_CONTENT_SIZE} that one content may have")]
pub struct TooLarge(pub u64);

/// The pieces of a content of one size.
///
/// The piece length follows from the size alone: the smallest power of two of at
/// least [`MIN_PIECE_LEN`] that makes at most [`MAX_PIECES`] pieces. So two nodes
/// that agree on the size agree on every piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    size: u64,
    piece_len: u64,
}

impl Layout {
    /// The layout of a content of `size` bytes.
    ///
    /// # Errors
    /// When `size` is beyond [`MAX_CONTENT_SIZE`].
    pub fn for_size(size: u64) -> Result<Self, TooLarge> {
        if size > MAX_CONTENT_SIZE {
            return Err(TooLarge(size));
        }
        let mut piece_len = MIN_PIECE_LEN;
        while size.div_ceil(piece_len) > MAX_PIECES {
            piece_len *= 2;
        }
        Ok(Self { size, piece_len })
    }

    /// Bytes in the whole content.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in every piece but the last.
    #[must_use]
    pub const fn piece_len(&self) -> u64 {
        self.piece_len
    }

    /// How many pieces there are: none in an empty content.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.piece_len)).expect("at most MAX_PIECES")
    }

    /// Whether the content has a piece of this index.
    #[must_use]
    pub fn contains(&self, index: PieceIndex) -> bool {
        index.0 < self.pieces()
    }

    /// All indices, in order.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.pieces()).map(PieceIndex)
    }

    /// The bytes of the content that a piece covers.
    ///
    /// # Panics
    /// When the content has no such piece; ask [`Layout::contains`] about an index
    /// that came from outside.
    #[must_use]
    pub fn span(&self, index: PieceIndex) -> Range<u64> {
        assert!(self.contains(index), "no piece {index} in {self:?}");
        let start = u64::from(index.0) * self.piece_len;
        start..self.size.min(start + self.piece_len)
    }

    /// The bytes of the content that a run of pieces covers.
    ///
    /// # Panics
    /// When the run is empty or goes beyond the content.
    #[must_use]
    pub fn span_of_run(&self, run: Range<u32>) -> Range<u64> {
        assert!(!run.is_empty(), "an empty run of pieces covers nothing");
        self.span(PieceIndex(run.start)).start..self.span(PieceIndex(run.end - 1)).end
    }

    /// Bytes in one piece.
    ///
    /// # Panics
    /// As [`Layout::span`].
    #[must_use]
    pub fn len_of(&self, index: PieceIndex) -> usize {
        let span = self.span(index);
        usize::try_from(span.end - span.start).expect("a piece fits in memory")
    }

    /// The piece that holds the byte at `offset`, if the content has that byte.
    #[must_use]
    pub fn piece_at(&self, offset: u64) -> Option<PieceIndex> {
        (offset < self.size)
            .then(|| PieceIndex(u32::try_from(offset / self.piece_len).expect("within the pieces")))
    }

    /// The pieces that lie wholly within a range of bytes.
    #[must_use]
    pub fn pieces_within(&self, bytes: Range<u64>) -> Range<u32> {
        let first = bytes.start.div_ceil(self.piece_len);
        let last = if bytes.end >= self.size {
            u64::from(self.pieces())
        } else {
            bytes.end / self.piece_len
        };
        let index = |n: u64| u32::try_from(n.min(MAX_PIECES)).expect("at most MAX_PIECES");
        index(first)..index(last.max(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_length_follows_from_the_size() {
        let pieces = |size| {
            let layout = Layout::for_size(size).unwrap();
            (layout.piece_len(), layout.pieces())
        };
        assert_eq!(pieces(0), (MIN_PIECE_LEN, 0));
        assert_eq!(pieces(1), (MIN_PIECE_LEN, 1));
        assert_eq!(pieces(MIN_PIECE_LEN), (MIN_PIECE_LEN, 1));
        assert_eq!(pieces(MIN_PIECE_LEN + 1), (MIN_PIECE_LEN, 2));
        assert_eq!(pieces(4 << 30), (MIN_PIECE_LEN, 16_384));
        assert_eq!(pieces((4 << 30) + 1), (2 * MIN_PIECE_LEN, 8_193));
        assert_eq!(pieces(MAX_CONTENT_SIZE), (64 << 20, 16_384));
        assert_eq!(
            Layout::for_size(MAX_CONTENT_SIZE + 1),
            Err(TooLarge(MAX_CONTENT_SIZE + 1))
        );
    }

    #[test]
    fn spans_cover_the_content_once() {
        let layout = Layout::for_size(3 * MIN_PIECE_LEN + 17).unwrap();
        let mut at = 0;
        for index in layout.indices() {
            let span = layout.span(index);
            assert_eq!(span.start, at);
            assert_eq!(layout.piece_at(span.start), Some(index));
            assert_eq!(layout.piece_at(span.end - 1), Some(index));
            at = span.end;
        }
        assert_eq!(at, layout.size());
        assert_eq!(layout.piece_at(at), None);
        assert_eq!(layout.len_of(PieceIndex(3)), 17);
        assert_eq!(layout.span_of_run(2..4), 2 * MIN_PIECE_LEN..layout.size());
    }

    #[test]
    fn a_range_of_bytes_holds_only_whole_pieces() {
        let layout = Layout::for_size(3 * MIN_PIECE_LEN + 17).unwrap();
        assert_eq!(layout.pieces_within(0..layout.size()), 0..4);
        assert_eq!(layout.pieces_within(1..layout.size()), 1..4);
        assert_eq!(layout.pieces_within(1..layout.size() - 1), 1..3);
        assert_eq!(layout.pieces_within(5..9), 1..1);
    }
}
