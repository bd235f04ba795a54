//! One control connection, as the swarm's task knows it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use libp2p::PeerId;
use tokio::time::Instant;

use crate::{CertificateId, Direction};

/// A node that came in vain has this long to hear so.
const FAREWELL_TIME: Duration = Duration::from_secs(5);
/// A revoked node has this long to fetch the list that says so. It gets nothing else.
const REVOKED_TIME: Duration = Duration::from_secs(1);
/// A connection that another one replaces stays open for this long: the peer may not
/// have seen the other one yet, and would think that it lost us.
const SURPLUS_TIME: Duration = Duration::from_secs(1);

/// One control connection.
pub(crate) struct Connection {
    pub(crate) peer: PeerId,
    pub(crate) remote: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) name: String,
    /// The peer's certificate.
    pub(crate) certificate: CertificateId,
    /// When the peer's certificate ends.
    pub(crate) expires: SystemTime,
    /// When the connection must end: with that certificate or our own on it.
    pub(crate) ends: SystemTime,
    /// Where the peer takes calls, once its Hello has said so.
    pub(crate) control: Option<SocketAddr>,
    pub(crate) since: Instant,
    /// There is no place for this peer: it is told so and the connection ends.
    pub(crate) in_vain: bool,
    /// Since when the peer is known to be revoked: it is told so and the connection ends.
    pub(crate) revoked: Option<Instant>,
    /// Since when another connection with the peer is to take its place.
    pub(crate) surplus: Option<Instant>,
}

impl Connection {
    /// Whether it is what speaks with the peer.
    pub(crate) const fn is_in_use(&self) -> bool {
        !self.in_vain && self.surplus.is_none() && self.revoked.is_none()
    }

    /// Whether its time is up.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.revoked
            .is_some_and(|since| now - since >= REVOKED_TIME)
            || self.in_vain && now - self.since >= FAREWELL_TIME
            || self
                .surplus
                .is_some_and(|since| now - since >= SURPLUS_TIME)
    }
}
