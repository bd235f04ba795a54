//! A data port, and how to read from it.

use std::sync::Arc;

use potluck_plan::{GovernorConfig, Rate};
use potluck_transfer::{
    PeerAddress, PeerBody, PeerClient, PeerError, PeerServer, PeerServerConfig, Rates, Shelf,
    TrafficCounts,
};
use tokio::net::TcpListener;

use crate::support::memory_shelf::MemoryShelf;
use crate::support::test_domain::{TestDomain, TestTrust};

/// A data port.
pub struct Served {
    pub server: PeerServer,
    pub trust: Arc<TestTrust>,
    pub traffic: TrafficCounts,
    pub at: PeerAddress,
}

pub async fn serve_with(
    domain: &TestDomain,
    shelf: Arc<dyn Shelf>,
    rate: Rate,
    config: PeerServerConfig,
) -> Served {
    let trust = domain.member();
    let traffic = TrafficCounts::default();
    let rates = Rates::new(GovernorConfig {
        served: rate,
        ..GovernorConfig::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = PeerServer::start(
        config,
        listener,
        trust.clone(),
        shelf,
        rates,
        traffic.clone(),
    )
    .unwrap();
    let at = PeerAddress {
        id: trust.id,
        address: server.address(),
    };
    Served {
        server,
        trust,
        traffic,
        at,
    }
}

pub async fn serve(domain: &TestDomain, content: &[u8]) -> Served {
    let shelf = MemoryShelf::with(&[content]);
    serve_with(domain, shelf, Rate::Unlimited, PeerServerConfig::default()).await
}

pub fn client(domain: &TestDomain) -> PeerClient {
    PeerClient::new(domain.member(), TrafficCounts::default())
}

/// Reads to the end.
pub async fn read(mut body: PeerBody) -> Result<Vec<u8>, PeerError> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 100_000];
    loop {
        match body.read(&mut buffer).await? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
