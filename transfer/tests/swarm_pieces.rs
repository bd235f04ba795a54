//! Pieces of an entity at the data port.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use potluck_content::{EntityKey, MIN_PIECE_LEN};
use potluck_plan::{Rate, ServeQueueConfig};
use potluck_transfer::{
    PeerAddress, PeerClient, PeerError, PeerServerConfig, TrafficCounts, Trust as _,
};
use support::memory_shelf::MemoryShelf;
use support::serving::{client, read, serve_with};
use support::test_domain::TestDomain;
use support::{blob, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ENTITY: EntityKey = EntityKey::from_bytes([7; 32]);
const PIECE: u64 = MIN_PIECE_LEN;
const PREFACE: &[u8] = b"vouched for";

fn content() -> Vec<u8> {
    blob(4 * PIECE as usize - 1000, 1)
}

#[tokio::test]
async fn runs_come_after_their_preface_and_only_they_are_counted() {
    let (content, domain) = (content(), TestDomain::new());
    let shelf = MemoryShelf::with_pieces(ENTITY, &content, 4, PREFACE);
    let served = serve_with(&domain, shelf, Rate::Unlimited, PeerServerConfig::default()).await;
    let (trust, traffic) = (domain.member(), TrafficCounts::default());
    let client = PeerClient::new(trust.clone(), traffic.clone());
    for (run, bytes) in [
        (1..3, PIECE..3 * PIECE),
        (3..4, 3 * PIECE..4 * PIECE - 1000),
    ] {
        let len = bytes.end - bytes.start;
        let got = client.get_pieces(served.at, &ENTITY, run, len).await;
        let (preface, body) = got.unwrap();
        assert_eq!(preface, PREFACE);
        assert_eq!(body.remaining(), len);
        let came = read(body).await.unwrap();
        assert_eq!(came, content[bytes.start as usize..bytes.end as usize]);
    }
    let sum = 3 * PIECE - 1000;
    assert_eq!(traffic.of(&served.trust.id).from, sum);
    assert_eq!(served.traffic.of(&trust.id).to, sum);
    assert_eq!(trust.judged(), 1, "one connection for both");
    until("all turns are over", || served.server.load() == (0, 0)).await;
}

#[tokio::test]
async fn what_is_not_held_whole_is_not_given() {
    let domain = TestDomain::new();
    let shelf = MemoryShelf::with_pieces(ENTITY, &content(), 2, b"");
    let served = serve_with(&domain, shelf, Rate::Unlimited, PeerServerConfig::default()).await;
    let client = client(&domain);
    let other = EntityKey::from_bytes([8; 32]);
    for (entity, run) in [(ENTITY, 1..3), (ENTITY, 0..1025), (other, 0..1)] {
        let got = client.get_pieces(served.at, &entity, run, PIECE).await;
        assert_eq!(got.err(), Some(PeerError::NotHeld));
    }
    let (preface, body) = client
        .get_pieces(served.at, &ENTITY, 0..2, 2 * PIECE)
        .await
        .unwrap();
    assert!(preface.is_empty());
    assert_eq!(read(body).await.unwrap(), content()[..2 * PIECE as usize]);
}

#[tokio::test]
async fn pieces_wait_for_their_turn_and_slow_readers_lose_it() {
    let content = blob(64 << 20, 4);
    let (domain, len) = (TestDomain::new(), content.len() as u64);
    let shelf = MemoryShelf::with_pieces(ENTITY, &content, 256, PREFACE);
    let config = PeerServerConfig {
        queue: ServeQueueConfig {
            max_clients: 1,
            slow_after: Duration::from_millis(200),
            ..ServeQueueConfig::default()
        },
        ..PeerServerConfig::default()
    };
    let served = serve_with(&domain, shelf, Rate::Unlimited, config).await;
    let (idle, next) = (client(&domain), client(&domain));
    let idle = idle.get_pieces(served.at, &ENTITY, 0..256, len).await;
    let next = next.get_pieces(served.at, &ENTITY, 0..1, PIECE).await;
    assert_eq!(
        read(next.unwrap().1).await.unwrap(),
        content[..PIECE as usize]
    );
    assert!(matches!(
        read(idle.unwrap().1).await,
        Err(PeerError::Broken(_))
    ));
}

#[tokio::test]
async fn pieces_do_not_outlive_the_certificates_they_began_with() {
    let domain = TestDomain::new();
    let shelf = MemoryShelf::with_pieces(ENTITY, &content(), 4, PREFACE);
    let rate = Rate::Bits(1_000_000);
    let served = serve_with(&domain, shelf, rate, PeerServerConfig::default()).await;
    let trust = domain.member();
    *trust.life.lock().unwrap() = Duration::from_secs(1);
    let client = PeerClient::new(trust.clone(), TrafficCounts::default());
    let got = client.get_pieces(served.at, &ENTITY, 0..3, 3 * PIECE).await;
    *trust.life.lock().unwrap() = Duration::from_secs(3600);
    let ended = read(got.unwrap().1).await.unwrap_err();
    assert_eq!(ended, PeerError::Broken("a certificate ended".to_owned()));
    assert_eq!(trust.judged(), 1, "no other connection");
    until("the turn is free again", || served.server.load() == (0, 0)).await;
}

/// What comes of an answer to a question for two bytes.
async fn answered(answer: &'static str) -> Result<(Vec<u8>, Vec<u8>), PeerError> {
    let domain = TestDomain::new();
    let (liar, listener) = (
        domain.member(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let (id, address) = (liar.id, listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(liar.server_config());
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut question = [0; 1024];
        assert!(stream.read(&mut question).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Whoever does not like it may be gone before the end.
        let _ = stream.shutdown().await;
    });
    let client = Arc::new(client(&domain));
    let at = PeerAddress { id, address };
    let got = client.get_pieces(at, &ENTITY, 0..1, 2).await;
    let got = match got {
        Ok((preface, body)) => read(body).await.map(|bytes| (preface, bytes)),
        Err(error) => Err(error),
    };
    server.await.unwrap();
    got
}

#[tokio::test]
async fn answers_that_lie_about_themselves_are_refused() {
    let good = answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\npotluck-preface: 3\r\n\r\npreab");
    assert_eq!(good.await.unwrap(), (b"pre".to_vec(), b"ab".to_vec()));
    for answer in [
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nPotluck-Preface: 3\r\n\r\npreab",
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nPotluck-Preface: many\r\n\r\npreab",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nPotluck-Preface: -1\r\n\r\npreab",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nPotluck-Preface: 2\r\n\r\npreab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nPotluck-Preface: 18446744073709551615\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1048579\r\nPotluck-Preface: 1048577\r\n\r\npreab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nPotluck-Preface: 3\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
    ] {
        let refused = answered(answer).await;
        assert!(
            matches!(refused, Err(PeerError::Protocol(_))),
            "{answer}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn answers_that_end_early_break() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nPotluck-Preface: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nPotluck-Preface: 3\r\n\r\npr",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nPotluck-Preface: 3\r\n\r\nprea",
        "HTTP/1.1 200 OK\r\nContent-Length: 1048578\r\nPotluck-Preface: 1048576\r\n\r\npreab",
    ] {
        let broken = answered(answer).await;
        assert!(
            matches!(broken, Err(PeerError::Broken(_))),
            "{answer}: {broken:?}"
        );
    }
}
