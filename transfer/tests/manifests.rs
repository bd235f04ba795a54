//! The manifest beside a file: found, believed, and left aside when it is of no use.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use potluck_cache::{PartialKey, PartialSpec};
use potluck_content::{
    ContentId, Entity, HashedPiece, Layout, Manifest, ManifestFile, PieceIndex, Validator,
};
use potluck_plan::{OriginTrouble, Rate};
use potluck_transfer::{FileDone, FileRequest};
use support::beside::{BesideOrigin, Gates, LINK};
use support::memory_shelf::MemoryShelf;
use support::scripted_origin::{Reply, ScriptedOrigin, head};
use support::test_domain::TestDomain;
use support::test_node::{Claims, TestNode};
use support::{blob, check, until};

const SIZE: usize = 3_000_000;

fn manifest_of(content: &[u8]) -> Vec<u8> {
    ManifestFile::new(Manifest::of(content).unwrap(), &[]).to_bytes()
}

/// Gets a file that is held back until its content is proven.
async fn get_once_proven(node: &TestNode, url: String, gates: &Gates) -> FileDone {
    let mut transfer = node.engine.transfer(FileRequest::new(url, "job"));
    let progress = transfer.progress();
    until("the manifest is there", || {
        progress.borrow().content.is_some()
    })
    .await;
    gates.file.send_replace(true);
    transfer.outcome().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_the_origin_names_vouches_for_the_file() {
    let content = blob(SIZE, 1);
    let beside = manifest_of(&content);
    let (len, gates) = (beside.len() as u64, Gates::default());
    gates.file.send_replace(false);
    let origin = BesideOrigin::start(&content, beside, &gates, &[LINK]).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let done = get_once_proven(&node, origin.url("/d/f"), &gates).await;
    check(&done, &content);
    // As a digest of the origin's does: no job has accepted it yet.
    assert!(done.lease.validated());
    assert_eq!(done.accounting.origin, SIZE as u64);
    assert_eq!(done.accounting.discarded, 0);
    assert!(done.troubles.is_empty(), "{:?}", done.troubles);
    assert_eq!(node.engine.manifest_bytes(), len);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_manifest_that_comes_first_costs_no_more_than_what_was_on_its_way() {
    let (content, old) = (blob(SIZE, 1), blob(SIZE, 2));
    let gates = Gates::default();
    gates.file.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest_of(&old), &gates, &[LINK]).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let done = get_once_proven(&node, origin.url("/d/f"), &gates).await;
    check(&done, &content);
    assert!(!done.lease.validated());
    assert_eq!(done.accounting.origin, SIZE as u64);
    assert_eq!(done.troubles, [OriginTrouble::StaleManifest]);
    assert!(node.cache.held(&ContentId::of(&old)).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_manifest_that_comes_late_costs_nothing() {
    let (content, old) = (blob(SIZE, 1), blob(SIZE, 2));
    let gates = Gates::default();
    gates.manifest.send_replace(false);
    gates.second_half.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest_of(&old), &gates, &[LINK]).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let request = FileRequest::new(origin.url("/d/f"), "job");
    let mut transfer = node.engine.transfer(request);
    let progress = transfer.progress();
    until("some of it is there", || {
        progress.borrow().accounting.origin > 0
    })
    .await;
    gates.manifest.send_replace(true);
    let told = || progress.borrow().troubles == [OriginTrouble::StaleManifest];
    until("it is told that the manifest is stale", told).await;
    gates.second_half.send_replace(true);
    let done = transfer.outcome().await.unwrap();
    check(&done, &content);
    assert_eq!(done.accounting.discarded, 0);
    assert!(!done.lease.validated());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_another_size_is_left_aside() {
    let content = blob(SIZE, 1);
    // Its values would merge to the same content.
    let whole = Manifest::of(&content).unwrap();
    let shorter = Manifest::from_values(SIZE as u64 - 1, whole.values().to_vec()).unwrap();
    let gates = Gates::default();
    gates.file.send_replace(false);
    let beside = ManifestFile::new(shorter, &[]).to_bytes();
    let origin = BesideOrigin::start(&content, beside, &gates, &[LINK]).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let request = FileRequest::new(origin.url("/d/f"), "job");
    let mut transfer = node.engine.transfer(request);
    let progress = transfer.progress();
    let told = || progress.borrow().troubles == [OriginTrouble::StaleManifest];
    until("it is told that the manifest is stale", told).await;
    gates.file.send_replace(true);
    check(&transfer.outcome().await.unwrap(), &content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_manifest_harms_nobody() {
    let content = blob(SIZE, 1);
    let answers = [
        Reply::Keep(head("404 Not Found", &[("Content-Length", "0".into())])),
        Reply::Keep(
            [
                &head("200 OK", &[("Content-Length", "15".into())])[..],
                b"<html>no</html>",
            ]
            .concat(),
        ),
        Reply::Keep(head("500 Oops", &[("Content-Length", "0".into())])),
        Reply::Reset(Vec::new()),
        Reply::Hang(head("200 OK", &[("Content-Length", "100000".into())])),
        // An hour of it, if anybody waited.
        Reply::Hang(head("200 OK", &[("Content-Length", "1048577".into())])),
    ];
    for answer in answers {
        let answer = Arc::new(std::sync::Mutex::new(Some(answer)));
        let origin = BesideOrigin::answering(&content, &[LINK], move || {
            let none = || Reply::Close(Vec::new());
            answer.lock().unwrap().take().unwrap_or_else(none)
        });
        let origin = origin.await;
        let node = TestNode::start(&TestDomain::new()).await;
        let done = node.get(FileRequest::new(origin.url("/d/f"), "job")).await;
        let done = done.unwrap();
        check(&done, &content);
        assert_eq!(done.accounting.discarded, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_manifest_without_end_no_more_comes_than_one_may_have() {
    let content = blob(SIZE, 1);
    let gates = Gates::default();
    gates.file.send_replace(false);
    let endless = [b"potluck manifest 1\n".to_vec(), blob(8 << 20, 9)].concat();
    let origin = BesideOrigin::start_with_file(&content, &gates, &[LINK], move || {
        Reply::Close(
            [
                head("200 OK", &[("Connection", "close".into())]),
                endless.clone(),
            ]
            .concat(),
        )
    })
    .await;
    let node = TestNode::start(&TestDomain::new()).await;
    let request = FileRequest::new(origin.url("/d/f"), "job");
    let mut transfer = node.engine.transfer(request);
    until("it is too long", || node.engine.manifest_bytes() > 1 << 20).await;
    gates.file.send_replace(true);
    check(&transfer.outcome().await.unwrap(), &content);
    assert!(node.engine.manifest_bytes() < 2 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_elsewhere_is_not_asked_for() {
    let content = blob(SIZE, 1);
    let elsewhere = ScriptedOrigin::start(|_| Reply::Close(Vec::new())).await;
    let named = format!(
        "<{}>; rel=describedby; type=\"application/vnd.potluck.manifest\"",
        elsewhere.url("/f.potluck")
    );
    let led = elsewhere.url("/f.potluck");
    let lead = move || {
        let fields = [("Location", led.clone()), ("Content-Length", "0".into())];
        Reply::Keep(head("302 Found", &fields))
    };
    for (link, answer) in [(named.as_str(), None), (LINK, Some(lead))] {
        let origin = BesideOrigin::answering(&content, &[link], move || match &answer {
            Some(lead) => lead(),
            None => Reply::Close(Vec::new()),
        })
        .await;
        let node = TestNode::start(&TestDomain::new()).await;
        let done = node.get(FileRequest::new(origin.url("/d/f"), "job")).await;
        check(&done.unwrap(), &content);
    }
    assert_eq!(elsewhere.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_for_as_the_file_is() {
    let content = blob(SIZE, 1);
    let gates = Gates::default();
    gates.file.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest_of(&content), &gates, &[LINK]).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let mut request = FileRequest::new(origin.url("/d/f"), "job");
    request.headers = vec![("Authorization".to_owned(), "Bearer x".to_owned())];
    let mut transfer = node.engine.transfer(request);
    let progress = transfer.progress();
    until("the manifest is there", || {
        progress.borrow().content.is_some()
    })
    .await;
    gates.file.send_replace(true);
    let done = transfer.outcome().await.unwrap();
    check(&done, &content);
    let asked = origin.asked_for_manifests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].field("authorization").as_deref(), Some("Bearer x"));
    // What came to credentials stays with the job.
    assert!(!done.shareable && !done.lease.validated());
}

/// Somebody in the domain says that the URL is something else.
#[tokio::test(flavor = "multi_thread")]
async fn the_origins_manifest_counts_more_than_the_word_of_peers() {
    let (content, other) = (blob(SIZE, 1), blob(SIZE, 2));
    let gates = Gates::default();
    gates.manifest.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest_of(&content), &gates, &[LINK]).await;
    let domain = TestDomain::new();
    // Slow enough that it does not give all of it before the manifest comes.
    let shelf = MemoryShelf::with(&[&other]);
    let liar = TestNode::start_with(&domain, Rate::Bits(4_000_000), Some(shelf)).await;
    let node = TestNode::start(&domain).await;
    let claims = Claims(Manifest::of(&other).unwrap());
    node.meet_as(liar.at, Arc::new(claims));
    let request = FileRequest::new(origin.url("/d/f"), "job");
    let mut transfer = node.engine.transfer(request);
    let progress = transfer.progress();
    until("the liar is believed", || {
        progress.borrow().content == Some(ContentId::of(&other))
    })
    .await;
    gates.manifest.send_replace(true);
    let done = transfer.outcome().await.unwrap();
    check(&done, &content);
    assert_eq!(done.accounting.peers, 0);
    assert!(done.lease.validated());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_manifest_does_not_part_a_node_from_those_who_hold_the_file() {
    let (content, old) = (blob(SIZE, 1), blob(SIZE, 2));
    let gates = Gates::default();
    let origin = BesideOrigin::start(&content, manifest_of(&old), &gates, &[LINK]).await;
    let domain = TestDomain::new();
    let holder = TestNode::start_with(&domain, Rate::Bits(4_000_000), None).await;
    holder.get_and_accept(&origin.url("/d/f")).await;
    gates.manifest.send_replace(false);
    gates.file.send_replace(false);
    let node = TestNode::start(&domain).await;
    node.meet(&holder);
    let request = FileRequest::new(origin.url("/d/f"), "job");
    let mut transfer = node.engine.transfer(request);
    let progress = transfer.progress();
    let believed = |bytes: &[u8]| progress.borrow().content == Some(ContentId::of(bytes));
    until("the holder is believed", || believed(&content)).await;
    gates.manifest.send_replace(true);
    until("the manifest is believed", || believed(&old)).await;
    gates.file.send_replace(true);
    let done = transfer.outcome().await.unwrap();
    check(&done, &content);
    assert_eq!(done.troubles, [OriginTrouble::StaleManifest]);
    assert!(believed(&content), "the holder was not asked again");
    assert!(node.neighbours.faults().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_before_that_differ_are_fetched_again() {
    let content = blob(SIZE, 1);
    let gates = Gates::default();
    gates.file.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest_of(&content), &gates, &[LINK]).await;
    let node = TestNode::start(&TestDomain::new()).await;
    let layout = Layout::for_size(SIZE as u64).unwrap();
    let entity = Entity {
        url: origin.url("/d/f"),
        validator: Validator::ETag("\"v1\"".into()),
        size: SIZE as u64,
    };
    let spec = PartialSpec {
        key: PartialKey::Entity(entity.key()),
        size: Some(SIZE as u64),
        manifest: None,
    };
    let partial = node.cache.partial(spec).unwrap();
    let piece_len = usize::try_from(layout.piece_len()).unwrap();
    let right = Bytes::copy_from_slice(&content[..piece_len]);
    for (index, bytes) in [(0, right), (1, Bytes::from(vec![9; piece_len]))] {
        let piece = HashedPiece::new(layout, PieceIndex(index), bytes).unwrap();
        let _ = partial.put_hashed(piece).unwrap();
    }
    partial.checkpoint().unwrap();
    drop(partial);

    let done = get_once_proven(&node, origin.url("/d/f"), &gates).await;
    check(&done, &content);
    assert_eq!(done.accounting.cache, layout.piece_len());
    assert_eq!(done.accounting.origin, SIZE as u64 - layout.piece_len());
    assert!(done.lease.validated() && done.troubles.is_empty());
}
