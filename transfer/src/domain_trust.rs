//! The trust of a domain, as discovery has it, for the data port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use potluck_discovery::{
    DiscoveryHandle, PortKind, PortTls, RejectReason, Rejected, Standing, VerifiedPeer,
};
use rustls_pki_types::ServerName;

use crate::ending::{Ended, Ending, end_of_certificate};
use crate::trust::{Judged, Refusal, Trust};

/// The certificates and the policy of this node's domain, as they are at the moment.
pub struct DomainTrust {
    standing: Standing,
    note: Box<dyn Fn(Rejected) + Send + Sync>,
    admits: Box<dyn Fn(SocketAddr) -> bool + Send + Sync>,
}

impl DomainTrust {
    /// The trust that discovery goes by, in who is near; refusals are told to it.
    #[must_use]
    pub fn new(discovery: DiscoveryHandle) -> Self {
        let (standing, near) = (discovery.standing(), discovery.clone());
        Self {
            admits: Box::new(move |address| near.admits(address)),
            ..Self::noting(standing, move |rejected| discovery.note_rejection(rejected))
        }
    }

    /// The trust of this standing, wherever a caller is; refusals are told to whoever
    /// is named.
    #[must_use]
    pub fn noting(standing: Standing, note: impl Fn(Rejected) + Send + Sync + 'static) -> Self {
        Self {
            standing,
            note: Box::new(note),
            admits: Box::new(|_| true),
        }
    }
}

impl Trust for DomainTrust {
    fn server_config(&self) -> Arc<rustls::ServerConfig> {
        self.standing.data().server_config()
    }

    fn client_config(&self) -> Arc<rustls::ClientConfig> {
        self.standing.data().client_config()
    }

    fn server_name(&self) -> ServerName<'static> {
        self.standing.data().server_name()
    }

    fn admits(&self, address: SocketAddr) -> bool {
        (self.admits)(address)
    }

    fn judge_caller(&self, connection: &rustls::ServerConnection) -> Result<Judged, RejectReason> {
        let tls = self.standing.data();
        let verified = tls.check_server_side(connection, SystemTime::now());
        verified.map(|peer| judged(&tls, &peer))
    }

    fn judge_answerer(
        &self,
        connection: &rustls::ClientConnection,
    ) -> Result<Judged, RejectReason> {
        let tls = self.standing.data();
        let verified = tls.check_client_side(connection, SystemTime::now());
        verified.map(|peer| judged(&tls, &peer))
    }

    fn ending(&self, judged: &Judged) -> Ending {
        let in_time = end_of_certificate(judged.ends);
        let (peer, mut revoked) = (judged.peer, self.standing.revocations().watch());
        let (standing, certificate) = (self.standing.clone(), judged.certificate.clone());
        let by_authority = async move {
            match certificate {
                Some(certificate) => standing.until_revoked(&certificate).await,
                None => std::future::pending().await,
            }
        };
        Box::pin(async move {
            tokio::select! {
                ended = in_time => ended,
                () = by_authority => Ended::Revoked,
                Ok(_) = revoked.wait_for(|list| list.is_revoked(&peer)) => Ended::Revoked,
            }
        })
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

fn judged(tls: &PortTls, peer: &VerifiedPeer) -> Judged {
    Judged {
        peer: peer.peer_id,
        ends: tls.end_with(peer),
        certificate: Some(peer.certificate.clone()),
    }
}
