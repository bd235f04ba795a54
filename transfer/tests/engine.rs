//! Whole transfers: engines with caches, peers and an origin on loopback.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use potluck_content::{ContentId, Digest, Manifest};
use potluck_plan::Rate;
use potluck_transfer::FileRequest;
use support::memory_shelf::MemoryShelf;
use support::scripted_origin::{Reply, ScriptedOrigin, file, head};
use support::test_domain::TestDomain;
use support::test_node::{Claims, TestNode};
use support::{blob, check, origin_of, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_second_gets_everything_from_the_first() {
    let content = blob(9_000_001, 1);
    let (origin, sent) = origin_of(&content).await;
    let domain = TestDomain::new();
    let (first, second) = (
        TestNode::start(&domain).await,
        TestNode::start(&domain).await,
    );
    second.meet(&first);
    let url = origin.url("/f");
    let done = first.get_and_accept(&url).await;
    check(&done, &content);
    assert_eq!(done.accounting.origin, content.len() as u64);

    let before = sent.load(Ordering::SeqCst);
    let done = second.get_and_accept(&url).await;
    check(&done, &content);
    assert_eq!(
        done.accounting.peers,
        content.len() as u64,
        "{:?}",
        done.accounting
    );
    assert_eq!(
        (done.accounting.discarded, sent.load(Ordering::SeqCst)),
        (0, before)
    );
    assert_eq!(first.traffic.of(&second.trust.id).to, content.len() as u64);

    // And again from the own cache.
    let done = second.get_and_accept(&url).await;
    check(&done, &content);
    assert_eq!(done.accounting.cache, content.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_empty_and_unmeasured_files_arrive_too() {
    let domain = TestDomain::new();
    for len in [0_usize, 1, 262_144, 262_145] {
        let content = blob(len, 7);
        let served = content.clone();
        let origin = ScriptedOrigin::start(move |asked| file(asked, &served, "v1")).await;
        let (first, second) = (
            TestNode::start(&domain).await,
            TestNode::start(&domain).await,
        );
        second.meet(&first);
        check(&first.get_and_accept(&origin.url("/f")).await, &content);
        let done = second.get_and_accept(&origin.url("/f")).await;
        check(&done, &content);
        assert_eq!(done.accounting.peers, len as u64);
    }
    let content = blob(700_000, 8);
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| {
        let mut bytes = head("200 OK", &[("Connection", "close".into())]);
        if asked.method == "GET" {
            bytes.extend(&served);
        }
        Reply::Close(bytes)
    })
    .await;
    let node = TestNode::start(&domain).await;
    let done = node
        .get(FileRequest::new(origin.url("/f"), "job"))
        .await
        .unwrap();
    check(&done, &content);
    assert!(done.entity.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_without_ranges_is_read_in_one_go() {
    let content = blob(3_000_000, 9);
    let served = content.clone();
    let origin = ScriptedOrigin::start(move |asked| {
        let fields = [
            ("Content-Length", served.len().to_string()),
            ("ETag", "\"v1\"".into()),
        ];
        let mut bytes = head("200 OK", &fields);
        if asked.method == "GET" {
            bytes.extend(&served);
        }
        Reply::Keep(bytes)
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let done = node
        .get(FileRequest::new(origin.url("/f"), "job"))
        .await
        .unwrap();
    check(&done, &content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_dies_in_the_middle_is_replaced_by_the_origin() {
    let content = blob(8 << 20, 2);
    let (origin, _) = origin_of(&content).await;
    let domain = TestDomain::new();
    let mut first = TestNode::start_with(&domain, Rate::Bits(80_000_000), None).await;
    let second = TestNode::start(&domain).await;
    second.meet(&first);
    first.get_and_accept(&origin.url("/f")).await;

    let mut transfer = second
        .engine
        .transfer(FileRequest::new(origin.url("/f"), "job"));
    let progress = transfer.progress();
    until("some came from the peer", || {
        progress.borrow().accounting.peers > 0
    })
    .await;
    first.server = None;
    let done = transfer.outcome().await.unwrap();
    check(&done, &content);
    assert!(
        done.accounting.origin > 0 && done.accounting.peers > 0,
        "{:?}",
        done.accounting
    );
    assert!(second.neighbours.faults().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_gives_wrong_bytes_is_dropped() {
    let content = blob(4_000_000, 3);
    let mut wrong = content.clone();
    wrong[2_000_000] ^= 1;
    let (origin, _) = origin_of(&content).await;
    let domain = TestDomain::new();
    let shelf = MemoryShelf::lying(ContentId::of(&content), &wrong);
    let liar = TestNode::start_with(&domain, Rate::Unlimited, Some(shelf)).await;
    let node = TestNode::start(&domain).await;
    node.meet_as(liar.at, Arc::new(Claims(Manifest::of(&content).unwrap())));
    let done = node
        .get(FileRequest::new(origin.url("/f"), "job"))
        .await
        .unwrap();
    check(&done, &content);
    assert!(done.accounting.discarded > 0 && done.accounting.origin > 0);
    assert_eq!(node.neighbours.faults()[0].0, liar.at.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_gives_another_content_is_found_out_by_the_digest() {
    let content = blob(4_000_000, 4);
    let mut other = content.clone();
    other[3_000_000] ^= 1;
    let (origin, _) = origin_of(&content).await;
    let domain = TestDomain::new();
    let shelf = MemoryShelf::with(&[&other]);
    let liar = TestNode::start_with(&domain, Rate::Unlimited, Some(shelf)).await;
    let node = TestNode::start(&domain).await;
    node.meet_as(liar.at, Arc::new(Claims(Manifest::of(&other).unwrap())));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
    let sha256 = Digest::Sha256(digest.as_ref().try_into().unwrap());
    let request = |checksum| FileRequest {
        checksum: Some(checksum),
        ..FileRequest::new(origin.url("/f"), "job")
    };
    let done = node.get(request(sha256)).await.unwrap();
    check(&done, &content);
    assert_eq!(
        (done.accounting.peers, done.accounting.origin),
        (0, 4_000_000)
    );
    assert!(done.accounting.discarded > 0);
    assert_eq!(node.neighbours.faults()[0].0, liar.at.id);
    assert!(done.lease.validated());
    // By BLAKE3, the liar is not even listened to.
    let fresh = TestNode::start(&domain).await;
    fresh.meet_as(liar.at, Arc::new(Claims(Manifest::of(&other).unwrap())));
    let done = fresh
        .get(request(Digest::B3(ContentId::of(&content))))
        .await
        .unwrap();
    check(&done, &content);
    assert!(done.accounting.discarded == 0 && fresh.neighbours.faults().is_empty());

    let wrong = fresh
        .get(request(Digest::Sha256([0; 32])))
        .await
        .unwrap_err();
    assert_eq!((wrong.code, wrong.retryable), ("checksum_mismatch", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_apart() {
    let node = TestNode::start(&TestDomain::new()).await;
    let origin = ScriptedOrigin::start(|asked| match asked.path.as_str() {
        "/gone" => Reply::Close(head("404 Not Found", &[("Content-Length", "0".into())])),
        _ => Reply::Close(head(
            "503 Busy",
            &[("Content-Length", "0".into()), ("Retry-After", "9".into())],
        )),
    })
    .await;
    let gone = node
        .get(FileRequest::new(origin.url("/gone"), "a"))
        .await
        .unwrap_err();
    assert_eq!((gone.code, gone.retryable), ("origin_not_found", false));
    let busy = node
        .get(FileRequest::new(origin.url("/busy"), "b"))
        .await
        .unwrap_err();
    assert!(busy.retryable && busy.retry_after.is_some());
    let down = node
        .get(FileRequest::new("http://127.0.0.1:1/f", "c"))
        .await
        .unwrap_err();
    assert_eq!((down.code, down.retryable), ("origin_unreachable", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_personal_is_neither_asked_of_peers_nor_given() {
    let content = blob(500_000, 12);
    let (origin, sent) = origin_of(&content).await;
    let domain = TestDomain::new();
    let (first, second) = (
        TestNode::start(&domain).await,
        TestNode::start(&domain).await,
    );
    second.meet(&first);
    let request = FileRequest {
        headers: vec![("Authorization".into(), "Bearer x".into())],
        ..FileRequest::new(origin.url("/f"), "job")
    };
    for node in [&first, &second] {
        let done = node.get(request.clone()).await.unwrap();
        check(&done, &content);
        assert!(!done.shareable && done.entity.is_none());
    }
    assert_eq!(sent.load(Ordering::SeqCst), 2 * content.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_peers_are_combined() {
    let content = blob(24 << 20, 14);
    let (origin, sent) = origin_of(&content).await;
    let domain = TestDomain::new();
    let node = TestNode::start(&domain).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let peer = TestNode::start_with(&domain, Rate::Bits(400_000_000), None).await;
        peer.get_and_accept(&origin.url("/f")).await;
        node.meet(&peer);
        peers.push(peer);
    }
    let before = sent.load(Ordering::SeqCst);
    let done = node
        .get(FileRequest::new(origin.url("/f"), "job"))
        .await
        .unwrap();
    check(&done, &content);
    assert_eq!(sent.load(Ordering::SeqCst), before);
    for peer in &peers {
        assert!(peer.traffic.served() > 0, "every peer gave something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_believed_over_peers() {
    let (content, other) = (blob(2 << 20, 15), blob(2 << 20, 16));
    let (origin, _) = origin_of(&content).await;
    let domain = TestDomain::new();
    // So slow that the origin tops up, and then the bytes do not agree.
    let shelf = MemoryShelf::with(&[&other]);
    let liar = TestNode::start_with(&domain, Rate::Bits(2_000_000), Some(shelf)).await;
    let node = TestNode::start(&domain).await;
    node.meet_as(liar.at, Arc::new(Claims(Manifest::of(&other).unwrap())));
    let done = node
        .get(FileRequest::new(origin.url("/f"), "job"))
        .await
        .unwrap();
    check(&done, &content);
    assert_eq!(
        (done.accounting.peers, done.accounting.origin),
        (0, 2 << 20)
    );
    assert_eq!(node.neighbours.faults()[0].0, liar.at.id);
}
