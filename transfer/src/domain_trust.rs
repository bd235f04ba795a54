//! The trust of a domain, as discovery has it, for the data port.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use potluck_discovery::{DiscoveryHandle, PortKind, PortTls, RejectReason, Rejected, VerifiedPeer};
use rustls_pki_types::ServerName;

use crate::trust::{Judged, Refusal, Trust};

/// The certificates and the policy of this node's domain.
pub struct DomainTrust {
    tls: RwLock<PortTls>,
    note: Box<dyn Fn(Rejected) + Send + Sync>,
}

impl DomainTrust {
    /// Trust by this TLS set-up; refusals are told to discovery.
    #[must_use]
    pub fn new(tls: PortTls, discovery: DiscoveryHandle) -> Self {
        Self::noting(tls, move |rejected| discovery.note_rejection(rejected))
    }

    /// Trust by this TLS set-up; refusals are told to whoever is named.
    #[must_use]
    pub fn noting(tls: PortTls, note: impl Fn(Rejected) + Send + Sync + 'static) -> Self {
        Self {
            tls: RwLock::new(tls),
            note: Box::new(note),
        }
    }

    /// Takes renewed certificates for all connections from now on.
    pub fn renew(&self, tls: PortTls) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    fn tls(&self) -> PortTls {
        self.tls
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Trust for DomainTrust {
    fn server_config(&self) -> Arc<rustls::ServerConfig> {
        self.tls().server_config()
    }

    fn client_config(&self) -> Arc<rustls::ClientConfig> {
        self.tls().client_config()
    }

    fn server_name(&self) -> ServerName<'static> {
        self.tls().server_name()
    }

    fn judge_caller(&self, connection: &rustls::ServerConnection) -> Result<Judged, RejectReason> {
        let judged = self.tls().check_server_side(connection, SystemTime::now());
        judged.map(judged_peer)
    }

    fn judge_answerer(
        &self,
        connection: &rustls::ClientConnection,
    ) -> Result<Judged, RejectReason> {
        let judged = self.tls().check_client_side(connection, SystemTime::now());
        judged.map(judged_peer)
    }

    fn note_refusal(&self, refusal: Refusal) {
        (self.note)(Rejected {
            address: refusal.address,
            id: refusal.id,
            name: None,
            reason: refusal.reason,
            at: SystemTime::now(),
            direction: refusal.direction,
            port: PortKind::Data,
            count: 1,
        });
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is given away by what made it"
)]
fn judged_peer(peer: VerifiedPeer) -> Judged {
    Judged {
        peer: peer.peer_id,
        expires: peer.expires,
    }
}
