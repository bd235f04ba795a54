//! What peers ask each other.

use std::time::{Duration, Instant};

use potluck_content::{ContentId, EntityKey};
use potluck_discovery::{
    AskError, Departure, DiscoveryEvent, PeerFault, PeerId, RejectReason, Wanted,
};

use crate::support::{Node, PATIENCE, Site, config, group};

async fn pair() -> (Site, Node, Node) {
    let site = Site::of(2).await;
    let group = Some(group());
    let first = Node::start(&site.members[0], &config("127.0.0.1", group));
    let second = Node::start(&site.members[1], &config("127.0.0.2", group));
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;
    (site, first, second)
}

#[tokio::test]
async fn holdings_and_manifests_are_told() {
    let (site, first, second) = pair().await;
    let held = second.shelf.put(&vec![7; 3 * 256 * 1024 + 5]);
    let peer = site.members[1].peer_id();
    let missing = ContentId::of(b"nobody has this");
    let wanted = vec![
        Wanted::Entity(EntityKey::from_bytes([1; 32])),
        Wanted::Content(held),
        Wanted::Content(missing),
    ];
    let answer = first.handle.ask_have(peer, wanted, PATIENCE).await.unwrap();
    assert_eq!(answer.len(), 3);
    let holding = answer[1].as_ref().unwrap();
    assert_eq!((holding.content, holding.size), (held, 3 * 256 * 1024 + 5));
    assert!(answer[0].is_none() && answer[2].is_none());

    let manifest = first.handle.manifest(peer, held).await.unwrap();
    assert_eq!((manifest.id(), manifest.values().len()), (held, 4));
    let none = first.handle.manifest(peer, missing).await;
    assert_eq!(none, Err(AskError::NotHeld));
    let stranger = first.handle.manifest(PeerId::random(), held).await;
    assert_eq!(stranger, Err(AskError::NotAPeer));
    let many = vec![Wanted::Content(held); 65];
    let many = first.handle.ask_have(peer, many, PATIENCE).await;
    assert_eq!(many, Err(AskError::TooMuch));
}

#[tokio::test]
async fn the_largest_manifest_fits() {
    let (site, first, second) = pair().await;
    // 16,384 pieces: the most that a content of up to 4 GiB has. The bytes are a
    // sparse nothing, so the values are made directly.
    let size = 16_384 * 256 * 1024;
    let values = (0..16_384_u32).map(|n| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        potluck_content::ChainingValue::from_bytes(bytes)
    });
    let manifest = potluck_content::Manifest::from_values(size, values.collect()).unwrap();
    let id = second.shelf.put_manifest(manifest);
    let peer = site.members[1].peer_id();
    let manifest = first.handle.manifest(peer, id).await.unwrap();
    assert_eq!(manifest.values().len(), 16_384);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_connection_answers_in_about_a_millisecond() {
    let (site, first, second) = pair().await;
    let held = second.shelf.put(b"soup");
    let peer = site.members[1].peer_id();
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        let wanted = vec![Wanted::Content(held)];
        first.handle.ask_have(peer, wanted, PATIENCE).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("median of 50 questions: {median:?}");
    // Ten times what it takes on an idle machine.
    assert!(median < Duration::from_millis(10), "{median:?}");
}

#[tokio::test]
async fn a_peer_at_fault_goes_and_does_not_come_back() {
    let (site, first, second) = pair().await;
    let peer = site.members[1].peer_id();
    let mut events = first.handle.subscribe();
    first.handle.report_fault(peer, PeerFault::new("it lied"));
    first.sees(&[]).await;
    let refused = first.refuses(|rejected| rejected.id == Some(peer)).await;
    assert_eq!(refused.reason, RejectReason::Other("it lied".to_owned()));
    assert_eq!(refused.name.as_deref(), Some("node-1"));
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        told.push(event.unwrap().unwrap());
    }
    assert!(matches!(told[0], DiscoveryEvent::PeerRejected(_)));
    assert!(matches!(
        &told[1],
        DiscoveryEvent::PeerRemoved { departure: Departure::Fault(why), .. } if why == "it lied"
    ));

    second.sees(&[]).await;
    // It calls again, and is sent away each time.
    second.handle.need_peers();
    let again = first.handle.ask_have(peer, Vec::new(), PATIENCE).await;
    assert_eq!(again, Err(AskError::NotAPeer));
    first.sees(&[]).await;
}
