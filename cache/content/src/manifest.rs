//! The proof of a content, piece by piece.

use std::sync::Arc;

use bytes::Bytes;

use crate::{ChainingValue, ContentId, Layout, PieceIndex, TooLarge};

/// The chaining values of all pieces of a content.
///
/// A manifest that exists is proven: its values merge to its content id, and their
/// number is what the size asks for. What it does not prove by itself is the size:
/// a list of values of pieces twice as long, or shortened by less than a piece,
/// merges to the same id. Where nobody else named the size, verify the last piece
/// first: with its bytes the size is proven too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    id: ContentId,
    layout: Layout,
    values: Arc<[ChainingValue]>,
}

/// Why a list of values is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The size is beyond what a content may have.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// There are more or fewer values than the size has pieces.
    #[error("{found} chaining values for a content of {expected} pieces")]
    WrongCount {
        /// Pieces that the size makes.
        expected: u32,
        /// Values that were given.
        found: usize,
    },
    /// The values belong to another content.
    #[error("the chaining values merge to {found}, not to {expected}")]
    WrongContent {
        /// The content that was asked for.
        expected: ContentId,
        /// The content that the values make.
        found: ContentId,
    },
}

/// Why bytes are not the piece they were given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// The content has no piece of this index.
    #[error("the content has no piece {0}")]
    NoSuchPiece(PieceIndex),
    /// The piece has another length.
    #[error("piece {index} has {expected} bytes, not {found}")]
    WrongLength {
        /// The piece.
        index: PieceIndex,
        /// Its length in bytes.
        expected: usize,
        /// The bytes that came.
        found: usize,
    },
    /// The bytes hash to something else.
    #[error("the bytes of piece {0} do not match its chaining value")]
    WrongBytes(PieceIndex),
}

impl Manifest {
    /// Proves a list of values.
    ///
    /// # Errors
    /// When the values do not merge to `id`, or are not as many as `size` asks for.
    pub fn new(
        id: ContentId,
        size: u64,
        values: Vec<ChainingValue>,
    ) -> Result<Self, ManifestError> {
        let manifest = Self::from_values(size, values)?;
        if manifest.id != id {
            return Err(ManifestError::WrongContent {
                expected: id,
                found: manifest.id,
            });
        }
        Ok(manifest)
    }

    /// Makes the manifest of the content that the values stand for.
    ///
    /// # Errors
    /// When the values are not as many as `size` asks for.
    pub fn from_values(size: u64, values: Vec<ChainingValue>) -> Result<Self, ManifestError> {
        let layout = Layout::for_size(size)?;
        if usize::try_from(layout.pieces()) != Ok(values.len()) {
            return Err(ManifestError::WrongCount {
                expected: layout.pieces(),
                found: values.len(),
            });
        }
        Ok(Self {
            id: ChainingValue::merge_root(&values),
            layout,
            values: values.into(),
        })
    }

    /// The manifest of bytes that are at hand whole.
    ///
    /// # Errors
    /// When they are more than a content may have.
    pub fn of(bytes: &[u8]) -> Result<Self, TooLarge> {
        let layout = Layout::for_size(bytes.len() as u64)?;
        let values = bytes
            .chunks(usize::try_from(layout.piece_len()).expect("a piece fits in memory"))
            .zip(layout.indices())
            .map(|(piece, index)| {
                ChainingValue::of_piece(&layout, index, piece).expect("cut by the layout")
            })
            .collect::<Vec<_>>();
        Ok(Self {
            id: ChainingValue::merge_root(&values),
            layout,
            values: values.into(),
        })
    }

    /// The content that is proven.
    #[must_use]
    pub const fn id(&self) -> ContentId {
        self.id
    }

    /// Its pieces.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.layout.size()
    }

    /// The value of each piece, in order.
    #[must_use]
    pub fn values(&self) -> &[ChainingValue] {
        &self.values
    }

    /// Checks the bytes of one piece.
    ///
    /// # Errors
    /// When the content has no such piece, or the bytes are not its bytes.
    pub fn verify(&self, index: PieceIndex, bytes: Bytes) -> Result<VerifiedPiece, PieceError> {
        let piece = HashedPiece::new(self.layout, index, bytes)?;
        self.accept(piece)
            .map_err(|_| PieceError::WrongBytes(index))
    }

    /// Checks a piece that is hashed already; gives it back when it does not match.
    ///
    /// # Errors
    /// When the piece is of another layout or has another value.
    pub fn accept(&self, piece: HashedPiece) -> Result<VerifiedPiece, HashedPiece> {
        let known = self.values.get(piece.index.0 as usize);
        if piece.layout == self.layout && known == Some(&piece.value) {
            Ok(VerifiedPiece {
                content: self.id,
                piece,
            })
        } else {
            Err(piece)
        }
    }
}

/// Bytes of one piece with the hash they have; nothing says yet that it is the
/// right one. This is what comes from an origin before a manifest is known.
#[derive(Clone, Debug)]
pub struct HashedPiece {
    layout: Layout,
    index: PieceIndex,
    value: ChainingValue,
    bytes: Bytes,
}

impl HashedPiece {
    /// Hashes the bytes of one piece.
    ///
    /// # Errors
    /// When the content has no such piece, or one of another length.
    pub fn new(layout: Layout, index: PieceIndex, bytes: Bytes) -> Result<Self, PieceError> {
        if !layout.contains(index) {
            return Err(PieceError::NoSuchPiece(index));
        }
        let Some(value) = ChainingValue::of_piece(&layout, index, &bytes) else {
            return Err(PieceError::WrongLength {
                index,
                expected: layout.len_of(index),
                found: bytes.len(),
            });
        };
        Ok(Self {
            layout,
            index,
            value,
            bytes,
        })
    }

    /// The pieces of the content it belongs to.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its place in the content.
    #[must_use]
    pub const fn index(&self) -> PieceIndex {
        self.index
    }

    /// Its hash.
    #[must_use]
    pub const fn value(&self) -> ChainingValue {
        self.value
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Bytes that were checked against a manifest: proof in the shape of a type.
#[derive(Clone, Debug)]
pub struct VerifiedPiece {
    content: ContentId,
    piece: HashedPiece,
}

impl VerifiedPiece {
    /// The content it is a piece of.
    #[must_use]
    pub const fn content(&self) -> ContentId {
        self.content
    }

    /// Its place in the content.
    #[must_use]
    pub const fn index(&self) -> PieceIndex {
        self.piece.index
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.piece.bytes
    }

    /// The piece without the proof, for where a manifest is not known.
    #[must_use]
    pub fn into_hashed(self) -> HashedPiece {
        self.piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MIN_PIECE_LEN;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn merges_to_the_hash_of_the_whole() {
        let p = MIN_PIECE_LEN as usize;
        for len in [
            0,
            1,
            1024,
            p - 1,
            p,
            p + 1,
            2 * p,
            3 * p + 5,
            5 * p,
            7 * p + 1,
            8 * p,
        ] {
            let content = bytes(len);
            let manifest = Manifest::of(&content).unwrap();
            assert_eq!(manifest.id(), ContentId::of(&content), "{len} bytes");
            let again =
                Manifest::new(manifest.id(), len as u64, manifest.values().to_vec()).unwrap();
            assert_eq!(again, manifest);
        }
    }

    #[test]
    fn accepts_right_bytes_only() {
        let content = Bytes::from(bytes(2 * MIN_PIECE_LEN as usize + 9));
        let manifest = Manifest::of(&content).unwrap();
        let last = content.slice(2 * MIN_PIECE_LEN as usize..);
        let piece = manifest.verify(PieceIndex(2), last.clone()).unwrap();
        assert_eq!(
            (piece.content(), piece.index()),
            (manifest.id(), PieceIndex(2))
        );

        let mut wrong = last.to_vec();
        wrong[3] ^= 1;
        assert_eq!(
            manifest.verify(PieceIndex(2), wrong.into()).unwrap_err(),
            PieceError::WrongBytes(PieceIndex(2))
        );
        assert_eq!(
            manifest.verify(PieceIndex(1), last.clone()).unwrap_err(),
            PieceError::WrongLength {
                index: PieceIndex(1),
                expected: MIN_PIECE_LEN as usize,
                found: 9
            }
        );
        assert_eq!(
            manifest.verify(PieceIndex(3), last).unwrap_err(),
            PieceError::NoSuchPiece(PieceIndex(3))
        );
    }

    #[test]
    fn the_same_bytes_in_another_place_are_wrong() {
        let half = bytes(MIN_PIECE_LEN as usize);
        let content = [half.clone(), half.clone()].concat();
        let manifest = Manifest::of(&content).unwrap();
        assert_ne!(manifest.values()[0], manifest.values()[1]);
    }

    #[test]
    fn refuses_lists_that_do_not_fit() {
        let content = bytes(3 * MIN_PIECE_LEN as usize);
        let manifest = Manifest::of(&content).unwrap();
        let size = content.len() as u64;
        let mut values = manifest.values().to_vec();
        values.swap(0, 1);
        assert!(matches!(
            Manifest::new(manifest.id(), size, values.clone()),
            Err(ManifestError::WrongContent { .. })
        ));
        values.pop();
        assert_eq!(
            Manifest::new(manifest.id(), size, values),
            Err(ManifestError::WrongCount {
                expected: 3,
                found: 2
            })
        );
    }
}
