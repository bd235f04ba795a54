//! What somebody says of a piece before anybody can prove it.

use crate::{ChainingValue, EntityKey, HashedPiece, PieceIndex};

/// That the origin gave, as this piece of this entity, bytes with this hash.
///
/// Of an entity without a published hash nobody knows the tree before somebody has every
/// byte. Until then a piece is believed because a member of the domain signed this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Statement {
    /// Of what.
    pub entity: EntityKey,
    /// Bytes of the whole.
    pub size: u64,
    /// Which piece.
    pub index: PieceIndex,
    /// The hash of its bytes.
    pub value: ChainingValue,
}

impl Statement {
    /// Bytes of a [message](Statement::message).
    pub const MESSAGE_LEN: usize = 32 + 8 + 4 + 32;

    /// What is signed: entity key (32 bytes), size (8), number of the piece (4), chaining
    /// value (32); numbers big-endian.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(Self::MESSAGE_LEN);
        message.extend_from_slice(self.entity.as_bytes());
        message.extend_from_slice(&self.size.to_be_bytes());
        message.extend_from_slice(&self.index.0.to_be_bytes());
        message.extend_from_slice(self.value.as_bytes());
        message
    }

    /// Whether these are the bytes that it speaks of.
    #[must_use]
    pub fn fits(&self, piece: &HashedPiece) -> bool {
        piece.layout().size() == self.size
            && piece.index() == self.index
            && piece.value() == self.value
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Layout;

    const STATEMENT: Statement = Statement {
        entity: EntityKey::from_bytes([0xe0; 32]),
        size: 0x0102_0304_0506,
        index: PieceIndex(0x0a0b),
        value: ChainingValue::from_bytes([0xc0; 32]),
    };

    #[test]
    fn the_message_has_every_field_at_its_place() {
        let message = STATEMENT.message();
        assert_eq!(message.len(), Statement::MESSAGE_LEN);
        assert_eq!(message[..32], [0xe0; 32]);
        assert_eq!(message[32..44], [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0x0a, 0x0b]);
        assert_eq!(message[44..], [0xc0; 32]);
    }

    #[test]
    fn it_fits_one_piece_only() {
        let layout = Layout::for_size(5).unwrap();
        let piece = HashedPiece::new(layout, PieceIndex(0), Bytes::from_static(b"bytes")).unwrap();
        let statement = Statement {
            size: 5,
            index: PieceIndex(0),
            value: piece.value(),
            ..STATEMENT
        };
        assert!(statement.fits(&piece));
        for other in [
            Statement {
                size: 6,
                ..statement
            },
            Statement {
                index: PieceIndex(1),
                ..statement
            },
            Statement {
                value: STATEMENT.value,
                ..statement
            },
        ] {
            assert!(!other.fits(&piece), "{other:?}");
        }
    }
}
