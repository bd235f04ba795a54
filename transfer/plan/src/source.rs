//! Who gives bytes, and what a plan knows about them.

use std::fmt;

use potluck_content::{Bitfield, PieceIndex};

/// A peer, as one plan knows it. The driver hands these out and never gives one to
/// two peers in the life of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub u32);

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer{}", self.0)
    }
}

/// Where a piece comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Source {
    /// The server that the URL names.
    Origin,
    /// Another node of the domain.
    Peer(PeerKey),
}

/// One request of a plan. Numbers are not used twice in the life of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    pub(crate) number: u64,
    pub(crate) source: Source,
}

impl RequestId {
    /// Whom the request goes to.
    #[must_use]
    pub const fn source(self) -> Source {
        self.source
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}@{:?}", self.number, self.source)
    }
}

/// What a peer says it holds of the content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holding {
    /// All of it.
    Whole,
    /// Some pieces. A bitfield of another number of pieces is a fault of the peer.
    Pieces(Bitfield),
}

impl Holding {
    /// Whether this piece is held.
    #[must_use]
    pub fn has(&self, index: PieceIndex) -> bool {
        match self {
            Self::Whole => true,
            Self::Pieces(bitfield) => bitfield.has(index),
        }
    }
}

/// What a peer did that costs it its place in the plan, and its connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerFault {
    /// A piece did not verify against the manifest.
    #[error("piece {0} does not verify")]
    BadPiece(PieceIndex),
    /// The whole that its pieces or its manifest make is not the wanted content.
    #[error("what it gave is not the content that was asked for")]
    WrongContent,
    /// Bytes, headers or a bitfield that break the protocol.
    #[error("broke the protocol: {0}")]
    Protocol(String),
    /// Its certificate or identity was refused.
    #[error("not trusted: {0}")]
    NotTrusted(String),
}

/// Why a plan lets go of a peer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DropReason {
    /// It did wrong. The driver reports this to the peer list.
    #[error(transparent)]
    Fault(#[from] PeerFault),
    /// Too many requests in a row failed or stalled. Not asked again by this plan; the
    /// peer may serve others well.
    #[error("{0} requests in a row brought nothing")]
    Unresponsive(u32),
    /// It no longer holds the content.
    #[error("no longer holds the content")]
    NotHeld,
}
