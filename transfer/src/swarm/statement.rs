//! A statement and who signed it.

use std::sync::Arc;

use potluck_content::Statement;
use potluck_discovery::MemberSignature;

use crate::swarm::Signer;

/// What a member of the domain said of a piece. As good as the member: whoever finds other
/// bytes at the origin has a proof against it.
#[derive(Clone, Debug)]
pub struct SignedStatement {
    /// What was said.
    pub statement: Statement,
    /// By whom.
    pub signer: Arc<Signer>,
    /// The signature over the [message](Statement::message).
    pub signature: MemberSignature,
}

impl SignedStatement {
    /// Whether the signature is the signer's and over this.
    #[must_use]
    pub fn verify(&self) -> bool {
        let message = self.statement.message();
        self.signer.has_signed(&message, &self.signature)
    }
}
