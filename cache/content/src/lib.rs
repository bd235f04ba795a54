//! The ground floor: what a content is called, how it is cut into pieces and how
//! bytes are proven. Everything here is pure: no files, no sockets, no clock.
//!
//! A content is a sequence of bytes named by its BLAKE3 hash ([`ContentId`]).
//! [`Layout`] cuts it into pieces that are whole subtrees of the BLAKE3 tree, so
//! each piece has a chaining value of its own; the list of those values, with the
//! size, is a [`Manifest`], which proves itself because the values merge to the
//! content id. Bytes that were checked against a manifest are a [`VerifiedPiece`],
//! and nothing else can make one.

mod bitfield;
mod chaining;
mod digest;
mod entity;
mod hasher;
mod hex;
mod id;
mod layout;
mod manifest;
mod manifest_file;
mod statement;

pub use bitfield::{Bitfield, BitfieldError};
pub use chaining::ChainingValue;
pub use digest::{Digest, DigestAlgorithm, DigestError};
pub use entity::{Entity, EntityKey, Validator};
pub use hasher::ContentHasher;
pub use hex::{hex, unhex};
pub use id::{ContentId, IdError};
pub use layout::{Layout, MAX_CONTENT_SIZE, MAX_PIECES, MIN_PIECE_LEN, PieceIndex, TooLarge};
pub use manifest::{HashedPiece, Manifest, ManifestError, PieceError, VerifiedPiece};
pub use manifest_file::{
    MANIFEST_ENDING, MANIFEST_TYPE, MAX_MANIFEST_FILE, ManifestFile, ManifestFileError,
};
pub use statement::Statement;
