//! Peers asking peers.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use potluck_content::ContentId;
use potluck_plan::{Rate, ServeQueueConfig};
use potluck_transfer::{PeerAddress, PeerClient, PeerError, PeerServerConfig, TrafficCounts};
use support::memory_shelf::MemoryShelf;
use support::serving::{client, read, serve, serve_with};
use support::test_domain::TestDomain;
use support::{blob, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn ranges_come_as_asked_and_are_counted() {
    let content = blob(5_000_000, 1);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let domain = TestDomain::new();
    let served = serve(&domain, &content).await;
    let trust = domain.member();
    let traffic = TrafficCounts::default();
    let client = PeerClient::new(trust.clone(), traffic.clone());
    for range in [0..1, 17..3_000_000, 4_999_999..5_000_000, 0..5_000_000] {
        let body = client
            .get(served.at, &id, size, range.clone())
            .await
            .unwrap();
        let bytes = read(body).await.unwrap();
        assert_eq!(bytes, &content[range.start as usize..range.end as usize]);
    }
    let sum = 1 + 2_999_983 + 1 + 5_000_000;
    assert_eq!(traffic.of(&served.trust.id).from, sum);
    assert_eq!(served.traffic.of(&trust.id).to, sum);
    let other = client
        .get(served.at, &ContentId::of(b"other"), 5, 0..5)
        .await;
    assert_eq!(other.err(), Some(PeerError::NotHeld));
    let wrong_size = client.get(served.at, &id, size + 1, 0..10).await;
    assert!(matches!(wrong_size.err(), Some(PeerError::Protocol(_))));
    until("all turns are over", || served.server.load() == (0, 0)).await;
}

#[tokio::test]
async fn three_are_served_and_the_others_wait_in_order() {
    let content = blob(64 << 20, 2);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let domain = TestDomain::new();
    let served = serve(&domain, &content).await;
    let ask = |client: PeerClient| {
        let at = served.at;
        tokio::spawn(async move { client.get(at, &id, size, 0..size).await })
    };
    let mut running = Vec::new();
    for n in 1..=3 {
        running.push(ask(client(&domain)).await.unwrap().unwrap());
        assert_eq!(served.server.load(), (n, 0));
    }
    let mut waiting = Vec::new();
    for n in 1..=3 {
        waiting.push(ask(client(&domain)));
        until("it waits", || served.server.load() == (3, n)).await;
    }
    // The first who waits leaves: its place is free and nobody is served for it.
    waiting.remove(0).abort();
    until("it has left", || served.server.load() == (3, 2)).await;
    // A turn ends: the next in line, and only that one, gets it.
    drop(running.remove(0));
    let second = waiting.remove(0).await.unwrap().unwrap();
    assert_eq!(served.server.load(), (3, 1));
    assert!(!waiting[0].is_finished());
    drop(running.remove(0));
    let third = waiting.remove(0).await.unwrap().unwrap();
    assert_eq!(served.server.load(), (3, 0));
    assert_eq!(read(second).await.unwrap().len(), content.len());
    drop(third);
    drop(running);
    until("all turns are over", || served.server.load() == (0, 0)).await;
}

#[tokio::test]
async fn a_cap_is_kept() {
    let content = blob(1 << 20, 3);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let domain = TestDomain::new();
    let shelf = MemoryShelf::with(&[&content]);
    let config = PeerServerConfig::default();
    let served = serve_with(&domain, shelf, Rate::Bits(1_000_000), config).await;
    let mut body = client(&domain)
        .get(served.at, &id, size, 0..size)
        .await
        .unwrap();
    let start = Instant::now();
    let mut buffer = [0; 4096];
    let mut received = 0;
    while received < 187_500 {
        received += body.read(&mut buffer).await.unwrap();
    }
    // How exact a cap is, the token bucket's tests say on a made-up clock. Here: it is
    // asked at all, and a busy machine can only make it slower.
    let taken = start.elapsed();
    assert!(taken >= Duration::from_millis(1_400), "{taken:?}");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_place() {
    let content = blob(64 << 20, 4);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let domain = TestDomain::new();
    let config = PeerServerConfig {
        queue: ServeQueueConfig {
            max_clients: 1,
            slow_after: Duration::from_millis(200),
            ..ServeQueueConfig::default()
        },
        ..PeerServerConfig::default()
    };
    let shelf = MemoryShelf::with(&[&content]);
    let served = serve_with(&domain, shelf, Rate::Unlimited, config).await;
    let idle = client(&domain)
        .get(served.at, &id, size, 0..size)
        .await
        .unwrap();
    let next = client(&domain)
        .get(served.at, &id, size, 0..size)
        .await
        .unwrap();
    assert_eq!(read(next).await.unwrap().len(), content.len());
    assert!(matches!(read(idle).await, Err(PeerError::Broken(_))));
}

#[tokio::test]
async fn a_peer_that_dies_is_noticed_and_a_new_one_is_dialled_afresh() {
    let content = blob(64 << 20, 5);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let domain = TestDomain::new();
    let served = serve(&domain, &content).await;
    let client = client(&domain);
    let first = client.get(served.at, &id, size, 0..10).await.unwrap();
    read(first).await.unwrap();
    let mut body = client.get(served.at, &id, size, 0..size).await.unwrap();
    body.read(&mut [0; 1000]).await.unwrap();
    let at = served.at;
    drop(served);
    assert!(matches!(read(body).await, Err(PeerError::Broken(_))));
    let gone = client.get(at, &id, size, 0..10).await;
    assert!(matches!(gone.err(), Some(PeerError::Unreachable(_))));
}

#[tokio::test]
async fn an_answer_outlives_the_certificates_it_began_with() {
    let domain = TestDomain::new();
    let content = blob(1_500_000, 4);
    let shelf = MemoryShelf::with(&[&content]);
    // Two seconds for a connection that is left five seconds before its end.
    let rate = Rate::Bits(6_000_000);
    let served = serve_with(&domain, shelf, rate, PeerServerConfig::default()).await;
    let trust = domain.member();
    *trust.life.lock().unwrap() = Duration::from_millis(5_500);
    let client = PeerClient::new(trust.clone(), TrafficCounts::default());
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let body = client.get(served.at, &id, size, 10..size).await.unwrap();
    *trust.life.lock().unwrap() = Duration::from_secs(3600);
    assert_eq!(read(body).await.unwrap(), content[10..]);
    assert_eq!(
        trust.judged(),
        2,
        "one connection, then one with newer ones"
    );
    assert_eq!(served.server.load(), (0, 0));
}

#[tokio::test]
async fn without_newer_certificates_an_answer_ends_with_them() {
    let domain = TestDomain::new();
    let content = blob(1_500_000, 4);
    let shelf = MemoryShelf::with(&[&content]);
    let rate = Rate::Bits(1_000_000);
    let served = serve_with(&domain, shelf, rate, PeerServerConfig::default()).await;
    let trust = domain.member();
    *trust.life.lock().unwrap() = Duration::from_secs(1);
    let client = PeerClient::new(trust.clone(), TrafficCounts::default());
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let body = client.get(served.at, &id, size, 0..size).await.unwrap();
    let ended = read(body).await.unwrap_err();
    assert_eq!(ended, PeerError::Broken("a certificate ended".to_owned()));
    until("the turn is free again", || served.server.load() == (0, 0)).await;
}

#[tokio::test]
async fn strangers_reach_no_protocol_and_are_noted() {
    let content = blob(1000, 6);
    let (id, size) = (ContentId::of(&content), content.len() as u64);
    let domain = TestDomain::new();
    let served = serve(&domain, &content).await;

    let mut plain = TcpStream::connect(served.at.address).await.unwrap();
    let question = format!(
        "GET /v1/contents/{} HTTP/1.1\r\nhost: x\r\n\r\n",
        id.to_hex()
    );
    plain.write_all(question.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    until("plain text is noted", || {
        served
            .trust
            .refusals()
            .iter()
            .any(|refusal| refusal.reason == potluck_discovery::RejectReason::NotTls)
    })
    .await;

    // Of another domain: each end refuses the other.
    let other = TestDomain::new();
    let stranger = other.member();
    let asked = PeerClient::new(stranger.clone(), TrafficCounts::default());
    let refused = asked.get(served.at, &id, size, 0..10).await;
    assert!(matches!(refused.err(), Some(PeerError::NotTrusted(_))));
    assert_eq!(stranger.refusals().len(), 1);
    until("the stranger is noted", || {
        served.trust.refusals().len() == 2
    })
    .await;

    // Of this domain, but not the one that is expected there.
    let expected = PeerAddress {
        id: domain.member().id,
        ..served.at
    };
    let someone_else = client(&domain).get(expected, &id, size, 0..10).await;
    assert!(matches!(someone_else.err(), Some(PeerError::NotTrusted(_))));
}
