//! Peers as the engine sees them.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use potluck_content::{ContentId, Manifest};
use potluck_discovery::{AskError, DiscoveryHandle, Holding, PeerFault, PeerId, Wanted};

use crate::peer_client::PeerAddress;

/// An answer that is still to come.
pub type Asking<T> = Pin<Box<dyn Future<Output = Result<T, AskError>> + Send>>;

/// Who is near, and what they say they hold.
pub trait Neighbours: Send + Sync + 'static {
    /// The authenticated peers.
    fn peers(&self) -> Vec<PeerAddress>;

    /// Asks a peer what it holds of each wanted thing.
    fn ask_have(
        &self,
        peer: PeerId,
        wanted: Vec<Wanted>,
        timeout: Duration,
    ) -> Asking<Vec<Option<Holding>>>;

    /// Asks a peer for a manifest, which proves itself.
    fn manifest(&self, peer: PeerId, content: ContentId, timeout: Duration) -> Asking<Manifest>;

    /// Tells a peer something about swarms of contents, and hears what it answers.
    fn swarm(&self, peer: PeerId, message: Vec<u8>, timeout: Duration) -> Asking<Vec<u8>>;

    /// Takes a peer off the list for what it did.
    fn report_fault(&self, peer: PeerId, reason: String);

    /// Says that more peers would be of use.
    fn need_peers(&self);
}

impl Neighbours for DiscoveryHandle {
    fn peers(&self) -> Vec<PeerAddress> {
        let peers = Self::peers(self);
        let address = |peer: &potluck_discovery::PeerInfo| PeerAddress {
            id: peer.id,
            address: peer.address,
        };
        peers.iter().map(address).collect()
    }

    fn ask_have(
        &self,
        peer: PeerId,
        wanted: Vec<Wanted>,
        timeout: Duration,
    ) -> Asking<Vec<Option<Holding>>> {
        let handle = self.clone();
        Box::pin(async move { Self::ask_have(&handle, peer, wanted, timeout).await })
    }

    fn manifest(&self, peer: PeerId, content: ContentId, timeout: Duration) -> Asking<Manifest> {
        let handle = self.clone();
        Box::pin(async move {
            let asking = Self::manifest(&handle, peer, content);
            let answer = tokio::time::timeout(timeout, asking).await;
            answer.unwrap_or(Err(AskError::TimedOut))
        })
    }

    fn swarm(&self, peer: PeerId, message: Vec<u8>, timeout: Duration) -> Asking<Vec<u8>> {
        let handle = self.clone();
        Box::pin(async move { handle.ask_swarm(peer, message, timeout).await })
    }

    fn report_fault(&self, peer: PeerId, reason: String) {
        Self::report_fault(self, peer, PeerFault::new(reason));
    }

    fn need_peers(&self) {
        Self::need_peers(self);
    }
}
