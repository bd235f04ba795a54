//! Connections do not outlive the certificates on them.

use std::time::{Duration, SystemTime};

use potluck_discovery::{Departure, DiscoveryEvent, RejectReason};

use crate::support::{Node, PATIENCE, Site, config, group};

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
