//! The proof that a member signed what is not so.

use potluck_content::ChainingValue;

use crate::swarm::SignedStatement;

/// A member signed a hash of a piece that is not that of the origin's bytes. Whoever has
/// the bytes from the origin can check it.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// What it said, its signature, and the certificates that prove who it is.
    pub signed: SignedStatement,
    /// What the origin's bytes hash to.
    pub truth: ChainingValue,
}
