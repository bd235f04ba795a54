//! What goes into the peer table and what comes out of it.

use std::net::SocketAddr;

use libp2p_identity::PeerId;

use crate::{Departure, PeerInfo};

/// A node that was heard on the subnet.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The node.
    pub peer: PeerId,
    /// Its run.
    pub generation: u64,
    /// Its control port.
    pub address: SocketAddr,
    /// The name that it goes by.
    pub name: String,
}

/// Whom a call is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DialTarget {
    /// This node, which was heard.
    Peer(PeerId),
    /// The configured peer at this place of the list.
    Static(usize),
}

/// Whether a proven node is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It is taken.
    Welcome,
    /// There are as many peers as wanted.
    Full,
    /// It did wrong lately.
    Shunned,
}

/// What the driver owes after a decision.
#[derive(Debug)]
pub enum TableAction {
    /// Call a node.
    Dial {
        /// Which.
        target: DialTarget,
        /// Its control port.
        address: SocketAddr,
    },
    /// Close every connection with the peer.
    Close(PeerId),
    /// See at once whether the peer still answers.
    Check(PeerId),
    /// It is on the list now.
    Added(PeerInfo),
    /// A line of the list has changed: a peer has shown a renewed certificate.
    Renewed,
    /// A peer on the list is at another address now; where it was before.
    Moved(PeerInfo, SocketAddr),
    /// It is off the list.
    Removed(PeerInfo, Departure),
}
