//! What peers answer, late or in time, and peers that hold a content only while its
//! transfer lasts.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_content::{ContentId, Manifest};
use potluck_discovery::{Holding, Holdings, Serves, Wanted};
use potluck_plan::{Rate, ServeLimits};
use potluck_transfer::{CacheHoldings, FileRequest, Transfer};
use support::memory_shelf::MemoryShelf;
use support::scripted_origin::{Asked, Reply, ScriptedOrigin, file};
use support::test_domain::TestDomain;
use support::test_node::{Claims, TestNode};
use support::{blob, check, origin_of, until};

/// An origin that gives the first half to whoever asks and the rest only while it is told.
async fn half_origin(content: &[u8]) -> (ScriptedOrigin, Arc<AtomicU64>) {
    let whole = Arc::new(AtomicU64::new(1));
    let (gives, content) = (Arc::clone(&whole), content.to_vec());
    let half = content.len() as u64 / 2;
    let script = move |asked: &Asked| match (asked.range(), file(asked, &content, "v1")) {
        (Some((first, last)), Reply::Keep(bytes))
            if gives.load(Ordering::SeqCst) == 0 && last >= half =>
        {
            let keep = bytes.len() - (last + 1 - half.max(first)) as usize;
            Reply::Hang(bytes[..keep].to_vec())
        }
        (_, reply) => reply,
    };
    (ScriptedOrigin::start(script).await, whole)
}

/// A holder, and a node whose origin gives half of the content only.
async fn half_way(content: &[u8]) -> (ScriptedOrigin, TestNode, TestNode) {
    let domain = TestDomain::new();
    let (origin, whole) = half_origin(content).await;
    let holder = TestNode::start(&domain).await;
    holder.get_and_accept(&origin.url("/f")).await;
    whole.store(0, Ordering::SeqCst);
    let node = TestNode::start(&domain).await;
    (origin, holder, node)
}

/// Claims that count how often their manifest was asked for.
struct Counted(Claims, AtomicU64);

impl Holdings for Counted {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        self.0.have(wanted)
    }

    fn manifest(&self, content: &ContentId) -> Option<Manifest> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.manifest(content)
    }
}

async fn until_half(transfer: &Transfer, content: &[u8]) {
    let progress = transfer.progress();
    let half = content.len() as u64 / 2;
    until("half is there", || {
        progress.borrow().accounting.origin >= half
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_manifest_does_not_come_does_not_hold_up_the_origin() {
    let content = blob(3_000_000, 1);
    let (origin, _) = origin_of(&content).await;
    let domain = TestDomain::new();
    let (holder, node) = (
        TestNode::start(&domain).await,
        TestNode::start(&domain).await,
    );
    holder.get_and_accept(&origin.url("/f")).await;
    node.meet(&holder);
    node.neighbours.set_stuck(true);
    let done = node.get_and_accept(&origin.url("/f")).await;
    check(&done, &content);
    assert_eq!(done.accounting.origin, content.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_comes_late_lets_its_holders_join() {
    let content = blob(8 << 20, 3);
    let (origin, holder, node) = half_way(&content).await;
    node.meet(&holder);
    node.neighbours.set_stuck(true);
    let mut transfer = node
        .engine
        .transfer(FileRequest::new(origin.url("/f"), "job"));
    until_half(&transfer, &content).await;
    node.neighbours.set_stuck(false);
    let done = transfer.outcome().await.unwrap();
    check(&done, &content);
    assert!(done.accounting.peers > 0, "{:?}", done.accounting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_met_late_joins() {
    let content = blob(8 << 20, 4);
    let (origin, holder, node) = half_way(&content).await;
    let mut transfer = node
        .engine
        .transfer(FileRequest::new(origin.url("/f"), "job"));
    until_half(&transfer, &content).await;
    node.meet(&holder);
    let done = transfer.outcome().await.unwrap();
    check(&done, &content);
    assert!(done.accounting.peers > 0, "{:?}", done.accounting);
    assert!(node.neighbours.faults().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_holder_of_something_else_is_left_alone() {
    let content = blob(8 << 20, 5);
    let (origin, gives) = half_origin(&content).await;
    let domain = TestDomain::new();
    let node = TestNode::start(&domain).await;
    gives.store(0, Ordering::SeqCst);
    let other = blob(8 << 20, 6);
    let manifest = Manifest::of(&other).unwrap();
    let liar =
        TestNode::start_with(&domain, Rate::Unlimited, Some(MemoryShelf::with(&[&other]))).await;
    let mut transfer = node
        .engine
        .transfer(FileRequest::new(origin.url("/f"), "job"));
    until_half(&transfer, &content).await;
    let claims = Arc::new(Counted(Claims(manifest), AtomicU64::new(0)));
    node.meet_as(liar.at, claims.clone());
    until("the manifest was given", || {
        claims.1.load(Ordering::SeqCst) > 0
    })
    .await;

    gives.store(1, Ordering::SeqCst);
    let done = transfer.outcome().await.unwrap();
    assert_eq!(done.content_id, ContentId::of(&content));
    assert_eq!(done.accounting.peers, 0);
}

#[tokio::test]
async fn who_is_asked_says_how_much_it_serves() {
    let domain = TestDomain::new();
    let node = TestNode::start(&domain).await;
    let content = blob(3 << 18, 1);
    let (origin, _) = origin_of(&content).await;
    node.get_and_accept(&origin.url("/f")).await;
    let wanted = [Wanted::Content(ContentId::of(&content))];
    let limits = |rate| ServeLimits { clients: 3, rate };
    for (rate, bits_per_second) in [
        (Rate::Bits(1_000_000), Some(1_000_000)),
        (Rate::Unlimited, None),
    ] {
        let holdings = CacheHoldings::new(node.cache.clone()).with_limits(limits(rate));
        let said = holdings
            .have(&wanted)
            .pop()
            .flatten()
            .and_then(|it| it.serves);
        let serves = Serves {
            clients: 3,
            bits_per_second,
        };
        assert_eq!(said, Some(serves));
    }
}
