//! Who is not of the domain is refused, shown, and troubles nobody.

use std::net::SocketAddr;

use potluck_discovery::{Direction, PortKind, PortTls, RejectReason};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Node, PATIENCE, Site, config, group};

async fn says(address: SocketAddr, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    // An alert or nothing, and the end.
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await;
    let _ = read.expect("the connection is closed");
}

#[tokio::test]
async fn plain_text_is_refused_and_the_listener_goes_on() {
    let site = Site::of(2).await;
    let group = Some(group());
    let first = Node::start(&site.members[0], &config("127.0.0.1", group));
    let address = first.handle.control_address();
    says(address, b"GET / HTTP/1.1\r\nHost: cellar\r\n\r\n").await;
    says(address, b"GET /again HTTP/1.1\r\nHost: cellar\r\n\r\n").await;
    let refused = first
        .refuses(|rejected| rejected.reason == RejectReason::NotTls && rejected.count >= 2)
        .await;
    assert_eq!(refused.address.ip(), address.ip());
    assert_eq!(refused.direction, Direction::Inbound);
    assert_eq!(refused.port, PortKind::Control);
    assert_eq!(first.handle.rejected().len(), 1);

    let second = Node::start(&site.members[1], &config("127.0.0.1", group));
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;
}

#[tokio::test]
async fn a_caller_of_another_domain_is_refused_on_both_sides() {
    let (site, other) = (Site::of(1).await, Site::of(1).await);
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let control = node.handle.control_address();
    let mut stranger = config("127.0.0.2", None);
    stranger.static_peers = vec![format!("127.0.0.1:{}", control.port() - 1)];
    let stranger = Node::start(&other.members[0], &stranger);
    let outbound = stranger
        .refuses(|rejected| rejected.address == control)
        .await;
    assert_eq!(outbound.direction, Direction::Outbound);
    let inbound = node.refuses(|_| true).await;
    assert_eq!(inbound.direction, Direction::Inbound);
    assert_eq!(inbound.address.ip().to_string(), "127.0.0.2");
    assert!(node.handle.peers().is_empty() && stranger.handle.peers().is_empty());
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    let site = Site::of(1).await;
    let node = Node::start(&site.members[0], &config("127.0.0.1", None));
    let tls = PortTls::control(&site.members[0]).unwrap();
    let mut nameless = (*tls.client_config()).clone();
    nameless.client_auth_cert_resolver = std::sync::Arc::new(Nameless);
    let tcp = TcpStream::connect(node.handle.control_address())
        .await
        .unwrap();
    let connected = TlsConnector::from(std::sync::Arc::new(nameless))
        .connect(tls.server_name(), tcp)
        .await;
    // The caller's half ends before the other side has looked.
    let mut stream = connected.unwrap();
    assert!(stream.read_u8().await.is_err());
    let refused = node.refuses(|_| true).await;
    assert_eq!(refused.reason, RejectReason::NoCertificate);
}

#[derive(Debug)]
struct Nameless;

impl rustls::client::ResolvesClientCert for Nameless {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
