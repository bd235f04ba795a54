//! What the rest of the program is told about peers.

use std::net::SocketAddr;
use std::time::SystemTime;

use libp2p::PeerId;
use potluck_near::{ClockTrouble, Departure, PeerInfo};

use crate::{RejectReason, Revocation};

/// Who began a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// They called us.
    Inbound,
    /// We called them.
    Outbound,
}

/// Which of a node's ports a connection was for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortKind {
    /// The control port.
    Control,
    /// The data port.
    Data,
}

/// Somebody who was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Who it claims to be, where that is known. Not proven.
    pub id: Option<PeerId>,
    /// The name it goes by, where that is known. Not proven.
    pub name: Option<String>,
    /// Why: words for people, and a code for programs.
    pub reason: RejectReason,
    /// When it happened last.
    pub at: SystemTime,
    /// Who called whom.
    pub direction: Direction,
    /// The port that was called.
    pub port: PortKind,
    /// How often this address was refused for this reason.
    pub count: u64,
}

/// What a peer did that costs it its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerFault {
    /// In words: it is shown to the operator.
    pub reason: String,
}

impl PeerFault {
    /// A fault for the given reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Something that happened to the peer list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiscoveryEvent {
    /// A peer was authenticated and is on the list now.
    PeerAdded(PeerInfo),
    /// A peer is no longer on the list.
    PeerRemoved {
        /// As it was on the list.
        peer: PeerInfo,
        /// Why it left.
        departure: Departure,
    },
    /// A peer on the list is at another address now.
    PeerMoved {
        /// As it is on the list now.
        peer: PeerInfo,
        /// Where it served data before.
        from: SocketAddr,
    },
    /// Somebody was refused.
    PeerRejected(Rejected),
    /// A clock is wrong, this node's or another's. Told once.
    ClockDiffers {
        /// Whose, and by how much.
        trouble: ClockTrouble,
        /// The name of the node that was heard last.
        name: String,
    },
    /// A node was revoked: any node of the domain, this one as well.
    NodeRevoked {
        /// The node.
        id: PeerId,
        /// When and why.
        revocation: Revocation,
    },
}
