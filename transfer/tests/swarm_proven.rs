//! Engines that give only what is proven, and fetch the same file together.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_content::{Manifest, ManifestFile};
use potluck_plan::OriginTrouble;
use potluck_transfer::{EngineConfig, Share};
use support::beside::{BesideOrigin, Gates, LINK};
use support::scripted_origin::{Reply, ScriptedOrigin, file, head};
use support::site::{Member, Site, get_all, sharing};
use support::{blob, check, counting_origin, until};

const MIB: usize = 1 << 20;

fn validated() -> EngineConfig {
    EngineConfig {
        share: Share::Validated,
        ..sharing()
    }
}

fn manifest_of(content: &[u8]) -> Vec<u8> {
    ManifestFile::new(Manifest::of(content).unwrap(), &[]).to_bytes()
}

/// An origin with a manifest beside its file, which only its name tells. How many bytes
/// it sent.
async fn published(content: &[u8]) -> (ScriptedOrigin, Arc<AtomicU64>) {
    let (content, manifest) = (content.to_vec(), manifest_of(content));
    counting_origin(move |asked| match asked.path.as_str() {
        "/f" => file(asked, &content, "v1"),
        "/f.potluck" => file(asked, &manifest, "m1"),
        _ => Reply::Keep(head("404 Not Found", &[("Content-Length", "0".to_owned())])),
    })
    .await
}

#[tokio::test]
async fn what_is_published_costs_the_origin_one_copy() {
    let content = blob(16 * MIB, 1);
    let (origin, sent) = published(&content).await;
    let crowd = Site::new().crowd_with(4, &validated()).await;
    for done in get_all(&crowd, &origin.url("/f")).await {
        check(&done, &content);
        assert!(done.lease.validated());
        assert_eq!(done.swarm.audited_pieces, 0);
    }
    let copies = sent.load(Ordering::SeqCst) as f64 / content.len() as f64;
    assert!(copies <= 1.1, "{copies}");
}

#[tokio::test]
async fn before_it_is_proven_nothing_is_given() {
    let content = blob(8 * MIB, 2);
    let gates = Gates::default();
    gates.manifest.send_replace(false);
    gates.second_half.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest_of(&content), &gates, &[LINK]).await;
    let crowd = Site::new().crowd_with(3, &validated()).await;
    let url = origin.url("/f");
    let mut begun = vec![crowd[0].begin(&url)];
    let first = begun[0].progress();
    let most = content.len() as u64 * 3 / 8;
    until("most of a half is there", || {
        first.borrow().accounting.origin >= most
    })
    .await;
    assert!(!crowd[0].gives());
    gates.manifest.send_replace(true);
    until("it is given", || crowd[0].gives()).await;
    begun.extend(crowd[1..].iter().map(|member| member.begin(&url)));
    for transfer in &begun[1..] {
        let shown = transfer.progress();
        until("others took it", || shown.borrow().accounting.peers > 0).await;
    }
    gates.second_half.send_replace(true);
    for transfer in &mut begun {
        check(&transfer.outcome().await.unwrap(), &content);
    }
}

#[tokio::test]
async fn what_a_stale_manifest_says_is_given_no_more() {
    let (content, old) = (blob(8 * MIB, 3), blob(8 * MIB, 4));
    let gates = Gates::default();
    gates.file.send_replace(false);
    let origin = BesideOrigin::start(&content, manifest_of(&old), &gates, &[LINK]).await;
    let crowd = Site::new().crowd_with(3, &validated()).await;
    let mut begun: Vec<_> = crowd.iter().map(|it| it.begin(&origin.url("/f"))).collect();
    until("they take part", || crowd.iter().all(Member::gives)).await;
    gates.file.send_replace(true);
    for transfer in &mut begun {
        let done = transfer.outcome().await.unwrap();
        check(&done, &content);
        assert_eq!(done.accounting.origin, content.len() as u64);
        assert_eq!(done.troubles, [OriginTrouble::StaleManifest]);
        assert!(!done.lease.validated());
    }
    assert!(!crowd.iter().any(Member::gives));
}
