//! Connections do not outlive the certificates on them.

use std::time::{Duration, SystemTime};

use potluck_discovery::{Departure, DiscoveryEvent, RejectReason};

use crate::support::{Node, PATIENCE, Site, config, eventually, group};

#[tokio::test]
async fn a_peer_goes_when_its_certificate_ends_and_is_refused_from_then_on() {
    let mut site = Site::of(2).await;
    site.reissue(1, Duration::from_secs(3));
    let ends = site.members[1].expires();
    let group = Some(group());
    let first = Node::start(&site.members[0], &config("127.0.0.1", group));
    let second = Node::start(&site.members[1], &config("127.0.0.2", group));
    let mut events = first.handle.subscribe();
    let listed = first.sees(&["node-1"]).await;
    assert_eq!(listed[0].certificate_expires, ends);
    second.sees(&["node-0"]).await;

    first.sees(&[]).await;
    second.sees(&[]).await;
    let late = SystemTime::now().duration_since(ends).unwrap();
    assert!(late < Duration::from_secs(3), "{late:?} after the end");
    let mut departed = None;
    while departed.is_none() {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        if let DiscoveryEvent::PeerRemoved { departure, .. } = event.unwrap().unwrap() {
            departed = Some(departure);
        }
    }
    // Whoever closes first: both look at both certificates.
    assert!(matches!(
        departed,
        Some(Departure::CertificateEnded | Departure::Lost(_))
    ));
    let refused = first.refuses(|it| it.reason == RejectReason::Expired).await;
    assert_eq!(refused.address.ip().to_string(), "127.0.0.2");
    assert!(first.handle.peers().is_empty());
}

#[tokio::test]
async fn a_renewed_node_stays_on_the_list_past_its_old_certificates_end() {
    let mut site = Site::of(2).await;
    site.reissue(1, Duration::from_secs(4));
    let ends = site.members[1].expires();
    let group = Some(group());
    let first = Node::start(&site.members[0], &config("127.0.0.1", group));
    let second = Node::start(&site.members[1], &config("127.0.0.2", group));
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;
    let mut events = first.handle.subscribe();
    let mut others = second.handle.subscribe();

    site.reissue(1, Duration::from_secs(3600));
    let renewed = site.members[1].expires();
    second.handle.standing().renew(&site.members[1]).unwrap();
    let mut peers = first.handle.watch_peers();
    let seen = peers.wait_for(|list| list.iter().any(|it| it.certificate_expires == renewed));
    tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
    eventually(|| (SystemTime::now() > ends + Duration::from_secs(2)).then_some(())).await;
    assert_eq!(first.handle.peers().len(), 1);
    assert_eq!(second.handle.peers().len(), 1);
    assert!(events.try_recv().is_err(), "nobody came or went");
    assert!(others.try_recv().is_err(), "nobody came or went");
}
