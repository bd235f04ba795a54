//! What one node has of contents that are not whole yet, and who vouches for it.
//!
//! Of a file without a published hash nobody knows the tree before somebody has every
//! byte. Who fetched a piece from the origin signs what its hash is; that statement goes
//! with the piece from node to node, and every one of them checks it.

mod exposure;
mod notary;
mod pieces;
mod preface;
mod shelf;
mod signer;
mod statement;
mod vouching;

pub use exposure::Exposure;
pub use notary::{Notary, Prover};
pub use pieces::SwarmPieces;
pub use preface::PrefaceError;
pub use shelf::{SwarmShelf, SwarmShelfLimits};
pub use signer::Signer;
pub use statement::SignedStatement;
pub use vouching::{CannotVouch, Vouching};

#[cfg(test)]
pub(crate) mod test_notary;
