//! The manifest that nobody names: asked for only where it can be of use, and not for each
//! file where there is none.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use futures::future::join_all;
use potluck_content::{ContentId, Digest, Manifest, ManifestFile};
use potluck_transfer::{EngineConfig, FileRequest, Share};
use support::beside::{BesideOrigin, Gates};
use support::scripted_origin::{Reply, head};
use support::test_domain::TestDomain;
use support::test_node::TestNode;
use support::{blob, check, until};

const SIZE: usize = 1_000_000;

/// A node that shares what it downloads, and a peer that has nothing.
async fn sharing() -> (TestNode, TestNode) {
    let domain = TestDomain::new();
    let node = TestNode::start(&domain).await;
    let peer = TestNode::start(&domain).await;
    node.meet(&peer);
    set_share(&node, Share::Downloading);
    (node, peer)
}

fn set_share(node: &TestNode, share: Share) {
    node.engine.set_config(EngineConfig {
        share,
        ..EngineConfig::default()
    });
}

/// An origin that has no manifest and says so only when it is told to.
async fn without(content: &[u8], gates: &Gates) -> BesideOrigin {
    let gate = gates.manifest.subscribe();
    BesideOrigin::start_with_file(content, gates, &[], move || {
        let none = head("404 Not Found", &[("Content-Length", "0".into())]);
        Reply::Once(Vec::new(), gate.clone(), none)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_found_by_its_name() {
    let content = blob(SIZE, 1);
    let manifest = ManifestFile::new(Manifest::of(&content).unwrap(), &[]).to_bytes();
    let gates = Gates::default();
    gates.file.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest, &gates, &[]).await;
    let (node, _peer) = sharing().await;
    for path in ["/d/f", "/d/g"] {
        gates.file.send_replace(false);
        let request = FileRequest::new(origin.url(path), path);
        let mut transfer = node.engine.transfer(request);
        let progress = transfer.progress();
        until("the manifest is there", || {
            progress.borrow().content.is_some()
        })
        .await;
        gates.file.send_replace(true);
        let done = transfer.outcome().await.unwrap();
        check(&done, &content);
        assert!(done.lease.validated());
    }
    let asked = origin.asked_for_manifests();
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/d/f.potluck", "/d/g.potluck"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_manifests_is_asked_once_for_all_files_of_a_directory() {
    let content = blob(SIZE, 1);
    let gates = Gates::default();
    gates.manifest.send_replace(false);
    gates.second_half.send_replace(false);
    let origin = without(&content, &gates).await;
    let (node, _peer) = sharing().await;
    let paths: Vec<_> = (0..5).map(|n| format!("/d/{n}")).collect();
    let mut transfers: Vec<_> = paths
        .iter()
        .map(|path| {
            node.engine
                .transfer(FileRequest::new(origin.url(path), path))
        })
        .collect();
    // The files come while the answer is awaited.
    for transfer in &transfers {
        let progress = transfer.progress();
        until("half of it came", || {
            progress.borrow().accounting.origin > 0
        })
        .await;
    }
    gates.manifest.send_replace(true);
    gates.second_half.send_replace(true);
    for done in join_all(transfers.iter_mut().map(|it| it.outcome())).await {
        check(&done.unwrap(), &content);
    }
    let more = FileRequest::new(origin.url("/d/more"), "more");
    check(&node.get(more).await.unwrap(), &content);
    assert_eq!(origin.asked_for_manifests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_asked_for_where_it_is_of_no_use() {
    let content = blob(SIZE, 1);
    let gates = Gates::default();
    let origin = without(&content, &gates).await;
    let request = |path: &str| FileRequest::new(origin.url(path), path);
    let (node, _peer) = sharing().await;

    // A digest tells already what it is.
    let mut named = request("/a/f");
    named.checksum = Some(Digest::B3(ContentId::of(&content)));
    check(&node.get(named).await.unwrap(), &content);
    // It is not for peers.
    let mut alone = request("/b/f");
    alone.use_peers = false;
    node.get(alone).await.unwrap();
    // A query makes it.
    node.get(request("/c/f?x=1")).await.unwrap();
    // Nothing goes to peers before it is whole.
    set_share(&node, Share::Validated);
    node.get(request("/d/f")).await.unwrap();
    // Nobody is there.
    let lonely = TestNode::start(&TestDomain::new()).await;
    set_share(&lonely, Share::Downloading);
    lonely.get(request("/e/f")).await.unwrap();
    // It is one piece.
    let small = without(&blob(200_000, 2), &gates).await;
    set_share(&node, Share::Downloading);
    let small_file = FileRequest::new(small.url("/f"), "small");
    node.get(small_file).await.unwrap();

    assert_eq!(origin.asked_for_manifests().len(), 0);
    assert_eq!(small.asked_for_manifests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_asked_for_where_a_peer_has_proven_the_file() {
    let content = blob(SIZE, 1);
    let origin = without(&content, &Gates::default()).await;
    let (node, holder) = sharing().await;
    let held = holder.get_and_accept(&origin.url("/d/f")).await;
    check(&held, &content);
    let done = node.get(FileRequest::new(origin.url("/d/f"), "job")).await;
    let done = done.unwrap();
    check(&done, &content);
    assert_eq!(done.accounting.peers, SIZE as u64);
    assert_eq!(origin.asked_for_manifests().len(), 0);
}
