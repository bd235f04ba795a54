//! A line of the peer list.

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use libp2p_identity::PeerId;

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
    /// It was revoked.
    Revoked,
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
            Self::Revoked => f.write_str("its certificate was revoked"),
            Self::Fault(why) => f.write_str(why),
            Self::Stopping => f.write_str("this node stops"),
        }
    }
}
