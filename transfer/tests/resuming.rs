//! Transfers that end before their time and go on later, or side by side.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_cache::{PartialKey, PartialSpec};
use potluck_content::{Entity, Validator};
use potluck_plan::Accounting;
use potluck_transfer::{FileRequest, Stage};
use support::scripted_origin::{Reply, ScriptedOrigin, file, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, check, origin_of, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_transfer_goes_on_where_it_was() {
    let content = blob(8 << 20, 6);
    let half = content.len() as u64 / 2;
    let served = content.clone();
    let open = Arc::new(AtomicU64::new(0));
    let gate = Arc::clone(&open);
    // Until the gate opens, whatever is beyond the half hangs.
    let origin = ScriptedOrigin::start(move |asked| {
        let reply = file(asked, &served, "v1");
        match (asked.range(), reply) {
            (Some((first, last)), Reply::Keep(bytes))
                if gate.load(Ordering::SeqCst) == 0 && last >= half =>
            {
                let keep = bytes.len() - (last + 1 - half.max(first)) as usize;
                Reply::Hang(bytes[..keep].to_vec())
            }
            (_, reply) => reply,
        }
    })
    .await;
    let domain = TestDomain::new();
    let node = TestNode::start(&domain).await;
    let request = FileRequest::new(origin.url("/f"), "job");
    let transfer = node.engine.transfer(request.clone());
    let progress = transfer.progress();
    until("half is there", || {
        progress.borrow().accounting.origin >= half
    })
    .await;
    assert_eq!(progress.borrow().stage, Stage::Transferring);
    let before = progress.borrow().accounting;
    drop(transfer);
    // What came is on the disk by then, and nobody uses it any more.
    node.engine.at_rest().await;
    let entity = Entity {
        url: origin.url("/f"),
        validator: Validator::ETag("\"v1\"".into()),
        size: content.len() as u64,
    };
    let spec = PartialSpec {
        key: PartialKey::Entity(entity.key()),
        size: Some(entity.size),
        manifest: None,
    };
    assert!(node.cache.partial(spec).unwrap().held_bytes() >= half);
    open.store(1, Ordering::SeqCst);
    let done = node.get(FileRequest { before, ..request }).await.unwrap();
    check(&done, &content);
    assert_eq!(done.accounting.origin, content.len() as u64);
    let ranges: Vec<_> = origin
        .asked()
        .iter()
        .filter_map(|asked| asked.range())
        .collect();
    let again = ranges.last().unwrap();
    assert!(again.0 >= half, "{ranges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_under_way_is_begun_again() {
    let (old, new) = (blob(3_000_000, 10), blob(3_000_000, 11));
    let expected = new.clone();
    let calls = AtomicU64::new(0);
    let origin = ScriptedOrigin::start(move |asked| {
        // The first HEAD sees the old version; everything after it the new one.
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => file(asked, &old, "v1"),
            _ => file(asked, &new, "v2"),
        }
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let done = node
        .get(FileRequest::new(origin.url("/f"), "job"))
        .await
        .unwrap();
    check(&done, &expected);
    assert_eq!(done.validator.unwrap().as_str(), "\"v2\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_survives_a_restart_of_the_node() {
    let content = blob(8 << 20, 13);
    let served = content.clone();
    let (calls, up) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
    let is_up = Arc::clone(&up);
    let origin = ScriptedOrigin::start(move |asked| match file(asked, &served, "v1") {
        // The first range breaks off in the middle, and then the origin is down for long.
        Reply::Keep(bytes) if asked.method == "GET" && is_up.load(Ordering::SeqCst) == 0 => {
            match calls.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::Close(bytes[..bytes.len() / 2].to_vec()),
                _ => Reply::Close(head("503 Busy", &[("Retry-After", "900".into())])),
            }
        }
        reply => reply,
    })
    .await;
    let domain = TestDomain::new();
    let node = TestNode::start(&domain).await;
    let request = FileRequest::new(origin.url("/f"), "job");
    let failed = node.get(request.clone()).await.unwrap_err();
    assert!(
        failed.retryable && failed.accounting.origin > 0,
        "{failed:?}"
    );
    let before = failed.accounting;
    let dir = node.stop();
    up.store(1, Ordering::SeqCst);
    let asked_before = origin.asked().len();
    let node = TestNode::start_again(&domain, dir).await;
    let done = node.get(FileRequest { before, ..request }).await.unwrap();
    check(&done, &content);
    assert_eq!(done.accounting.origin, content.len() as u64);
    let again = origin.asked();
    let again = again
        .iter()
        .skip(asked_before)
        .filter_map(|asked| asked.range());
    let asked_again: u64 = again.map(|(first, last)| last + 1 - first).sum();
    assert!(asked_again < content.len() as u64, "it began anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_for_one_file_are_one_transfer() {
    let content = blob(6 << 20, 5);
    let (origin, sent) = origin_of(&content).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut one = node
        .engine
        .transfer(FileRequest::new(origin.url("/f"), "one"));
    let mut two = node
        .engine
        .transfer(FileRequest::new(origin.url("/f"), "two"));
    let (one, two) = tokio::join!(one.outcome(), two.outcome());
    let (one, two) = (one.unwrap(), two.unwrap());
    check(&one, &content);
    check(&two, &content);
    assert_eq!(
        one.accounting.origin + two.accounting.origin,
        content.len() as u64
    );
    assert_eq!(
        one.accounting.cache + two.accounting.cache,
        content.len() as u64
    );
    assert_eq!(sent.load(Ordering::SeqCst), content.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_comes_to_nothing_does_not_change_what_was_counted() {
    let origin = ScriptedOrigin::start(|_| {
        Reply::Close(head("503 Busy", &[("Content-Length", "0".into())]))
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut request = FileRequest::new(origin.url("/f"), "job");
    request.before = Accounting {
        peers: 5,
        origin: 7,
        cache: 0,
        unpacked: 0,
        discarded: 2,
    };
    let transfer = node.engine.transfer(request.clone());
    assert_eq!(transfer.progress().borrow().accounting, request.before);
    drop(transfer);
    let error = node.get(request.clone()).await.unwrap_err();
    assert!(error.retryable);
    assert_eq!(error.accounting, request.before);
}
