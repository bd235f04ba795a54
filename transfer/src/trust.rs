//! What the data port needs to know of the domain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use potluck_discovery::{CertificateId, Direction, PeerId, RejectReason};
use rustls_pki_types::ServerName;

use crate::ending::{Ending, end_of_certificate};

/// The circle of trust as connections for data see it: certificates, and one policy
/// for both ends.
pub trait Trust: Send + Sync + 'static {
    /// How calls are answered. Read for each call, so a renewed certificate counts.
    fn server_config(&self) -> Arc<rustls::ServerConfig>;

    /// How calls are made.
    fn client_config(&self) -> Arc<rustls::ClientConfig>;

    /// The name that every node's certificate bears.
    fn server_name(&self) -> ServerName<'static>;

    /// Whether who calls from there may be a peer at all. Asked before the handshake.
    fn admits(&self, address: SocketAddr) -> bool;

    /// Judges who calls, after the handshake.
    ///
    /// # Errors
    /// Why it may not reach any protocol.
    fn judge_caller(&self, connection: &rustls::ServerConnection) -> Result<Judged, RejectReason>;

    /// Judges who answers, after the handshake.
    ///
    /// # Errors
    /// Why it is not to be trusted.
    fn judge_answerer(&self, connection: &rustls::ClientConnection)
    -> Result<Judged, RejectReason>;

    /// Waits until a connection with this node must end.
    fn ending(&self, judged: &Judged) -> Ending {
        end_of_certificate(judged.ends)
    }

    /// Takes note of somebody who was refused.
    fn note_refusal(&self, refusal: Refusal);
}

/// Who is at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The identity that its certificate proves.
    pub peer: PeerId,
    /// When a certificate on the connection ends, its own or ours; the connection must
    /// not outlive it.
    pub ends: SystemTime,
    /// The certificate that it showed, where its authority may revoke it.
    pub certificate: Option<CertificateId>,
}

/// Somebody who was refused on the data port, or refused there by us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The other end.
    pub address: SocketAddr,
    /// Who it claims to be, where that is known.
    pub id: Option<PeerId>,
    /// Why.
    pub reason: RejectReason,
    /// Who called whom.
    pub direction: Direction,
}

/// Says why a handshake failed; `None` when the other end merely hung up.
pub(crate) fn handshake_failure(error: &std::io::Error) -> Option<RejectReason> {
    match RejectReason::from_io(error) {
        RejectReason::Closed => None,
        reason => Some(reason),
    }
}
