//! What goes into the peer table and what comes out of it.

use std::net::SocketAddr;

use libp2p::PeerId;

use crate::{Departure, PeerInfo};

/// A node that was heard on the subnet.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) peer: PeerId,
    pub(crate) generation: u64,
    /// Its control port.
    pub(crate) address: SocketAddr,
    /// The name that it goes by.
    pub(crate) name: String,
}

/// Whom a call is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum DialTarget {
    Peer(PeerId),
    /// The configured peer at this place of the list.
    Static(usize),
}

/// Whether a proven node is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Welcome,
    /// There are as many peers as wanted.
    Full,
    /// It did wrong lately.
    Shunned,
}

/// What the driver owes after a decision.
#[derive(Debug)]
pub(crate) enum TableAction {
    Dial {
        target: DialTarget,
        address: SocketAddr,
    },
    /// Close every connection with the peer.
    Close(PeerId),
    /// See at once whether the peer still answers.
    Check(PeerId),
    Added(PeerInfo),
    Removed(PeerInfo, Departure),
}
