//! What goes before the bytes of pieces: who vouches for them, and how.
//!
//! ```text
//! version       1 byte: 1
//! signers       2 bytes: how many, then for each
//!   certificates  1 byte: how many, its own first, then for each
//!     length        2 bytes
//!     certificate   X.509 in DER
//! pieces        2 bytes: how many, then for each piece of the run in order
//!   signer        2 bytes: its place among the signers, from 0
//!   value         32 bytes: the chaining value
//!   scheme        2 bytes: how it is signed, as TLS numbers it
//!   length        2 bytes
//!   signature     over entity key, size, number of the piece and chaining value
//! ```
//!
//! Signers stand in the order of their first pieces. Numbers are big-endian. Nothing at
//! all stands for "a manifest proves the pieces".

use std::sync::Arc;

use potluck_content::{ChainingValue, PieceIndex};
use potluck_discovery::RejectReason;
use rustls_pki_types::CertificateDer;

use crate::swarm::{SignedStatement, Signer};

const VERSION: u8 = 1;

/// The longest preface.
pub(crate) const MAX_PREFACE: usize = 1 << 20;

/// The most certificates of one signer.
const MAX_CHAIN: usize = 4;

/// The most bytes of them together.
const MAX_CHAIN_BYTES: usize = 64 << 10;

/// The longest signature: RSA of 8,192 bits.
const MAX_SIGNATURE: usize = 1024;

/// Why a preface vouches for nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PrefaceError {
    /// It cannot be read.
    #[error("its preface is malformed: {0}")]
    Malformed(&'static str),
    /// Who signed is no member of the domain, or not any more.
    #[error("a signer that is no member: {0}")]
    Signer(RejectReason),
    /// The signature of a piece is not its signer's.
    #[error("the signature of piece {0} is wrong")]
    Signature(PieceIndex),
}

impl PrefaceError {
    /// Whether whoever gave it must have known better. What time or the authority has
    /// brought about it may not have heard yet.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Signer(RejectReason::Expired | RejectReason::NotYetValid | RejectReason::Revoked)
        )
    }
}

/// A preface, read and not yet believed.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Decoded<'a> {
    pub(super) signers: Vec<Vec<CertificateDer<'a>>>,
    pub(super) pieces: Vec<SignedPiece<'a>>,
}

/// What is said of one piece.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct SignedPiece<'a> {
    /// Its place among the signers.
    pub(super) signer: usize,
    pub(super) value: ChainingValue,
    pub(super) scheme: u16,
    pub(super) signature: &'a [u8],
}

/// Writes down the statements of a run. `None` when they take more room than there is.
pub(super) fn encode(statements: &[Arc<SignedStatement>]) -> Option<Vec<u8>> {
    let mut signers: Vec<&Arc<Signer>> = Vec::new();
    let mut pieces = Vec::new();
    put_len(&mut pieces, statements.len())?;
    for signed in statements {
        let known = signers
            .iter()
            .position(|it| Arc::ptr_eq(it, &signed.signer));
        let signer = known.unwrap_or_else(|| {
            signers.push(&signed.signer);
            signers.len() - 1
        });
        put_len(&mut pieces, signer)?;
        pieces.extend_from_slice(signed.statement.value.as_bytes());
        pieces.extend_from_slice(&signed.signature.scheme.to_be_bytes());
        put_len(&mut pieces, signed.signature.bytes.len())?;
        pieces.extend_from_slice(&signed.signature.bytes);
    }
    let mut preface = vec![VERSION];
    put_len(&mut preface, signers.len())?;
    for signer in signers {
        preface.push(u8::try_from(signer.chain.len()).ok()?);
        for certificate in &*signer.chain {
            put_len(&mut preface, certificate.len())?;
            preface.extend_from_slice(certificate);
        }
    }
    preface.extend_from_slice(&pieces);
    (preface.len() <= MAX_PREFACE).then_some(preface)
}

fn put_len(to: &mut Vec<u8>, len: usize) -> Option<()> {
    to.extend_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    Some(())
}

/// Reads the preface of a run of so many pieces.
pub(super) fn decode(preface: &[u8], run: usize) -> Result<Decoded<'_>, PrefaceError> {
    if preface.len() > MAX_PREFACE {
        return Err(PrefaceError::Malformed("it is too long"));
    }
    let mut rest = Rest(preface);
    let decoded = rest.preface(run).map_err(PrefaceError::Malformed)?;
    if rest.0.is_empty() {
        Ok(decoded)
    } else {
        Err(PrefaceError::Malformed("something follows it"))
    }
}

/// What is not yet read.
struct Rest<'a>(&'a [u8]);

type Read<T> = Result<T, &'static str>;

impl<'a> Rest<'a> {
    fn preface(&mut self, run: usize) -> Read<Decoded<'a>> {
        if self.bytes(1)? != [VERSION] {
            return Err("an unknown version");
        }
        let signers = self.number()?;
        if signers == 0 || signers > run {
            return Err("more signers than pieces, or none");
        }
        let signers = (0..signers).map(|_| self.chain());
        let signers = signers.collect::<Read<Vec<_>>>()?;
        if self.number()? != run {
            return Err("not as many pieces as were asked for");
        }
        let mut used = 0;
        let pieces = (0..run).map(|_| self.piece(&mut used));
        let pieces = pieces.collect::<Read<Vec<_>>>()?;
        if used != signers.len() {
            return Err("a signer who signed nothing");
        }
        Ok(Decoded { signers, pieces })
    }

    fn chain(&mut self) -> Read<Vec<CertificateDer<'a>>> {
        let count = usize::from(self.bytes(1)?[0]);
        if count == 0 || count > MAX_CHAIN {
            return Err("too many certificates, or none");
        }
        let mut left = MAX_CHAIN_BYTES;
        let mut next = || {
            let len = self.number()?;
            left = left.checked_sub(len).ok_or("certificates too long")?;
            Ok(CertificateDer::from(self.bytes(len)?))
        };
        (0..count).map(|_| next()).collect()
    }

    /// Of the signers so many had a piece before.
    fn piece(&mut self, used: &mut usize) -> Read<SignedPiece<'a>> {
        let signer = self.number()?;
        if signer > *used {
            return Err("signers in another order than their pieces");
        }
        *used = (*used).max(signer + 1);
        let value = self.bytes(32)?.try_into();
        let value = ChainingValue::from_bytes(value.map_err(|_| "too short")?);
        let scheme = u16::try_from(self.number()?).map_err(|_| "too short")?;
        let len = self.number()?;
        if len > MAX_SIGNATURE {
            return Err("a signature too long");
        }
        Ok(SignedPiece {
            signer,
            value,
            scheme,
            signature: self.bytes(len)?,
        })
    }

    fn number(&mut self) -> Read<usize> {
        let bytes = self.bytes(2)?;
        Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn bytes(&mut self, len: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("too short")?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
#[path = "preface_tests.rs"]
mod tests;
