//! Callers of the data port that waste its time, and the peers who come meanwhile.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use potluck_content::ContentId;
use potluck_discovery::RejectReason;
use potluck_plan::GovernorConfig;
use potluck_transfer::{
    PeerAddress, PeerClient, PeerServer, PeerServerConfig, Rates, TrafficCounts, Trust as _,
};
use support::memory_shelf::MemoryShelf;
use support::test_domain::{TestDomain, TestTrust};
use support::{blob, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(20);
/// So long that nothing here ends by it.
const NEVER: Duration = Duration::from_secs(600);

struct Scene {
    domain: TestDomain,
    trust: Arc<TestTrust>,
    server: PeerServer,
    content: Vec<u8>,
}

impl Scene {
    async fn new(config: PeerServerConfig) -> Self {
        let domain = TestDomain::new();
        let trust = domain.member();
        let content = blob(300_000, 1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = PeerServer::start(
            config,
            listener,
            trust.clone(),
            MemoryShelf::with(&[&content]),
            Rates::new(GovernorConfig {
                served: potluck_plan::Rate::Unlimited,
                ..GovernorConfig::default()
            }),
            TrafficCounts::default(),
        )
        .unwrap();
        Self {
            domain,
            trust,
            server,
            content,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    async fn connect_as(&self, member: &TestTrust) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(member.client_config());
        let tcp = self.connect().await;
        connector.connect(member.server_name(), tcp).await.unwrap()
    }

    /// A member comes and gets the whole content.
    async fn serves_a_member(&self) {
        let client = PeerClient::new(self.domain.member(), TrafficCounts::default());
        let at = PeerAddress {
            id: self.trust.id,
            address: self.server.address(),
        };
        let (id, size) = (ContentId::of(&self.content), self.content.len() as u64);
        let mut body = client.get(at, &id, size, 0..size).await.unwrap();
        let mut bytes = vec![0; self.content.len()];
        let mut at = 0;
        while at < bytes.len() {
            at += body.read(&mut bytes[at..]).await.unwrap();
        }
        assert_eq!(bytes, self.content);
    }
}

/// Waits until the other side hangs up, whatever it says before.
async fn is_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    let _ = read.expect("the connection is closed");
}

/// Whether the other side has hung up by now.
fn has_hung_up(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[tokio::test]
async fn a_crowd_of_silent_callers_keeps_nobody_out() {
    let config = PeerServerConfig {
        handshake_timeout: NEVER,
        ..PeerServerConfig::default()
    };
    let most = config.max_handshakes_of_address;
    let scene = Scene::new(config).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(scene.connect().await);
    }
    // From the same address: the crowd is in its own way only.
    scene.serves_a_member().await;
    until("no more than their share is left", || {
        crowd.iter().filter(|tcp| !has_hung_up(tcp)).count() < most
    })
    .await;
    scene.serves_a_member().await;
}

#[tokio::test]
async fn unfinished_handshakes_end() {
    let scene = Scene::new(PeerServerConfig {
        handshake_timeout: Duration::from_millis(300),
        ..PeerServerConfig::default()
    })
    .await;
    // The beginning of a greeting, as TLS has it: a record of 512 bytes is announced.
    let beginning = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut silent = scene.connect().await;
    let mut half = scene.connect().await;
    half.write_all(&beginning).await.unwrap();
    // A byte now and then does not gain it more time; all of them would take ten seconds.
    let mut slow = scene.connect().await;
    slow.set_nodelay(true).unwrap();
    slow.write_all(&beginning).await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let trickle = async {
        while !has_hung_up(&slow) {
            pace.tick().await;
            if slow.try_write(&[0]).is_err() {
                return;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(8), trickle).await;
    ended.expect("the trickle is ended");
    for caller in [&mut silent, &mut half] {
        is_closed(caller).await;
    }
    let refusals = scene.trust.refusals();
    assert_eq!(refusals.len(), 3, "{refusals:?}");
    assert!(refusals.iter().all(|it| it.reason == RejectReason::Timeout));
}

#[tokio::test]
async fn a_member_that_asks_nothing_or_never_ends_its_question() {
    let scene = Scene::new(PeerServerConfig {
        idle_timeout: Duration::from_millis(300),
        ..PeerServerConfig::default()
    })
    .await;
    let member = scene.domain.member();
    for words in [
        "",
        "GET /v1/contents/",
        "GET / HTTP/1.1\r\nhost: x\r\nx-more",
    ] {
        let mut stream = scene.connect_as(&member).await;
        stream.write_all(words.as_bytes()).await.unwrap();
        is_closed(&mut stream).await;
    }
    // It announces a body and sends none of it.
    let mut stream = scene.connect_as(&member).await;
    let words = b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n";
    stream.write_all(words).await.unwrap();
    is_closed(&mut stream).await;
}

#[tokio::test]
async fn one_member_does_not_take_all_connections() {
    let config = PeerServerConfig {
        max_connections: 8,
        max_connections_of_peer: 4,
        ..PeerServerConfig::default()
    };
    let scene = Scene::new(config).await;
    let greedy = scene.domain.member();
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = scene.connect_as(&greedy).await;
        let words = b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(words).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
        held.push(stream);
    }
    is_closed(&mut scene.connect_as(&greedy).await).await;
    scene.serves_a_member().await;
}

#[tokio::test]
async fn long_and_many_headers_end_the_connection() {
    let scene = Scene::new(PeerServerConfig::default()).await;
    let member = scene.domain.member();
    let long = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(2 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let rubbish = "\u{0}\u{1}\u{2} rubbish\r\n\r\n".to_owned();
    for words in [long, many, rubbish] {
        let mut stream = scene.connect_as(&member).await;
        // It may hang up while this is being sent.
        let _ = stream.write_all(words.as_bytes()).await;
        is_closed(&mut stream).await;
    }
    scene.serves_a_member().await;
}
