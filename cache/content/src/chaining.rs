//! Hashes of pieces and how they merge.

use std::fmt;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};

use crate::hex::hex;
use crate::{ContentId, Layout, PieceIndex};

/// The BLAKE3 hash of one piece as a subtree of its content.
///
/// The value of a piece that is the whole content is the content's hash itself:
/// there is nothing above it to merge into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainingValue([u8; 32]);

impl ChainingValue {
    /// Takes the 32 bytes of a value.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes one piece. `None` when the content has no such piece or the piece has
    /// another length.
    pub(crate) fn of_piece(layout: &Layout, index: PieceIndex, bytes: &[u8]) -> Option<Self> {
        // Lengths are checked here because blake3::hazmat panics on wrong ones.
        if !layout.contains(index) || layout.len_of(index) != bytes.len() {
            return None;
        }
        if layout.pieces() == 1 {
            return Some(Self(*blake3::hash(bytes).as_bytes()));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(layout.span(index).start);
        hasher.update(bytes);
        Some(Self(hasher.finalize_non_root()))
    }

    pub(crate) fn merge(values: &[Self]) -> Self {
        match values {
            [] => unreachable!("only called with values"),
            [one] => *one,
            more => {
                let (left, right) = split(more);
                let (left, right) = (Self::merge(left), Self::merge(right));
                Self(merge_subtrees_non_root(&left.0, &right.0, Mode::Hash))
            }
        }
    }

    /// The content id that the values of all pieces stand for.
    pub(crate) fn merge_root(values: &[Self]) -> ContentId {
        match values {
            [] => ContentId::of(b""),
            [one] => ContentId::from_bytes(one.0),
            more => {
                let (left, right) = split(more);
                let (left, right) = (Self::merge(left), Self::merge(right));
                let root = merge_subtrees_root(&left.0, &right.0, Mode::Hash);
                ContentId::from_bytes(*root.as_bytes())
            }
        }
    }
}

/// Cuts where the BLAKE3 tree does: the left side is the largest power of two of
/// pieces that leaves something for the right.
fn split(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    let left = values.len().div_ceil(2).next_power_of_two();
    values.split_at(left)
}

impl fmt::Debug for ChainingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex(&self.0[..4]))
    }
}
