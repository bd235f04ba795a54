//! What the rest of the program is told about peers.

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use libp2p::PeerId;

use crate::RejectReason;

/// A peer of the list: of our domain, authenticated and connected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerInfo {
    /// The identity that its certificate proves.
    pub id: PeerId,
    /// The name that it goes by.
    pub name: String,
    /// Where it serves data.
    pub address: SocketAddr,
    /// Since when it is on the list.
    pub since: SystemTime,
    /// When the certificate of its connection ends.
    pub certificate_expires: SystemTime,
    /// Tells the runs of a node apart: the start of this run in milliseconds since
    /// 1970. A higher one is a later run.
    pub generation: u64,
}

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

/// Why a peer left the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Departure {
    /// It said goodbye.
    Left,
    /// Its connection ended, and why if that is known.
    Lost(String),
    /// It did not answer for too long.
    Unreachable,
    /// A later run of the same node took its place.
    Restarted,
    /// A certificate on its connection ended.
    CertificateEnded,
    /// It did wrong.
    Fault(String),
    /// This node stops.
    Stopping,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("it left"),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Unreachable => f.write_str("it did not answer"),
            Self::Restarted => f.write_str("it was restarted"),
            Self::CertificateEnded => f.write_str("a certificate ended"),
            Self::Fault(why) => f.write_str(why),
            Self::Stopping => f.write_str("this node stops"),
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
    /// Somebody was refused.
    PeerRejected(Rejected),
}
