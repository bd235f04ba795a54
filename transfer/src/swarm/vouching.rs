//! This node's word, and its judgement of the word of others.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use potluck_content::{EntityKey, Layout, PieceIndex, Statement};
use potluck_discovery::{CannotSign, MemberSignature, RejectReason};
use rustls_pki_types::CertificateDer;

use crate::swarm::preface::{PrefaceError, decode};
use crate::swarm::signer::SignerCache;
use crate::swarm::{Notary, SignedStatement, Signer};

/// Signs statements as a member of a domain, and checks those of the others. What takes
/// longest is the signatures, some tens of microseconds each with Ed25519, some hundreds
/// or more with RSA: not to be called in numbers where other tasks wait.
pub struct Vouching {
    notary: Arc<dyn Notary>,
    signers: SignerCache,
}

/// Why this node cannot vouch for anything.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum CannotVouch {
    /// Its own certificate would not be accepted by others.
    #[error("this node's own certificate: {0}")]
    Certificate(RejectReason),
    /// Its key cannot be used.
    #[error(transparent)]
    Key(CannotSign),
}

impl Vouching {
    /// Signs and judges with the certificates of this domain.
    #[must_use]
    pub fn new(notary: Arc<dyn Notary>) -> Self {
        Self {
            notary,
            signers: SignerCache::default(),
        }
    }

    /// Signs a statement as this node.
    ///
    /// # Errors
    /// When its certificate has ended or its key cannot be used.
    pub fn sign(&self, statement: Statement) -> Result<SignedStatement, CannotVouch> {
        let signer = self.signer(&self.notary.certificates());
        let signer = signer.map_err(CannotVouch::Certificate)?;
        let signature = self.notary.sign(&statement.message());
        let signature = signature.map_err(CannotVouch::Key)?;
        Ok(SignedStatement {
            statement,
            signer,
            signature,
        })
    }

    /// Checks what vouches for a run of pieces: one statement for each, in order. None for
    /// an empty preface, which says that a manifest proves them.
    ///
    /// # Errors
    /// When it is malformed, or a statement is not signed by a member.
    pub fn check(
        &self,
        preface: &[u8],
        entity: &EntityKey,
        layout: &Layout,
        run: Range<u32>,
    ) -> Result<Vec<SignedStatement>, PrefaceError> {
        if preface.is_empty() {
            return Ok(Vec::new());
        }
        let decoded = decode(preface, run.len())?;
        let signers = decoded.signers.iter().map(|chain| self.signer(chain));
        let signers = signers.collect::<Result<Vec<_>, _>>();
        let signers = signers.map_err(PrefaceError::Signer)?;
        let mut statements = Vec::with_capacity(run.len());
        for (index, piece) in run.map(PieceIndex).zip(decoded.pieces) {
            let signed = SignedStatement {
                statement: Statement {
                    entity: *entity,
                    size: layout.size(),
                    index,
                    value: piece.value,
                },
                signer: Arc::clone(&signers[piece.signer]),
                signature: MemberSignature {
                    scheme: piece.scheme,
                    bytes: piece.signature.to_vec(),
                },
            };
            if !signed.verify() {
                return Err(PrefaceError::Signature(index));
            }
            statements.push(signed);
        }
        Ok(statements)
    }

    /// Whose certificates these are.
    pub(super) fn signer(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<Signer>, RejectReason> {
        self.signers.prove(&*self.notary, chain, SystemTime::now())
    }
}

impl fmt::Debug for Vouching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vouching")
    }
}
