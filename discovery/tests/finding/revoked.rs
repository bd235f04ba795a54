//! Who was revoked is out everywhere, and knows it.

use std::time::SystemTime;

use potluck_discovery::{
    Config, Departure, DiscoveryEvent, PeerId, RejectReason, Revocation, Standing,
};

use crate::support::{Node, PATIENCE, Site, config, eventually, group};

fn revoke(standing: &Standing, peer: PeerId) {
    let entry = Revocation::new("lost".parse().unwrap(), "stolen", SystemTime::now());
    let revoked = standing.revocations().revoke_here(peer, entry).unwrap();
    assert!(revoked.is_some());
}

async fn knows(node: &Node, peer: PeerId) {
    let known = || node.handle.standing().revocations().is_revoked(&peer);
    let known = eventually(|| known().then_some(())).await;
    assert!(known.is_some(), "never learned of the revocation");
}

#[tokio::test]
async fn a_revoked_peer_is_cut_off_and_told_why() {
    let site = Site::of(3).await;
    let group = Some(group());
    let standings: Vec<_> = (0..3).map(|number| site.standing(number)).collect();
    let node = |number: usize| {
        let address = format!("127.0.0.{}", number + 1);
        Node::start_as(&standings[number], &config(&address, group))
    };
    let (founder, lost, other) = (node(0), node(1), node(2));
    founder.sees(&["node-1", "node-2"]).await;
    other.sees(&["node-0", "node-1"]).await;
    lost.sees(&["node-0", "node-2"]).await;
    let mut events = other.handle.subscribe();

    let id = site.members[1].peer_id();
    revoke(&standings[0], id);
    founder.sees(&["node-2"]).await;
    other.sees(&["node-0"]).await;
    lost.sees(&[]).await;
    knows(&lost, id).await;

    let (mut told, mut left) = (false, false);
    while !(told && left) {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        match event.unwrap().unwrap() {
            DiscoveryEvent::NodeRevoked {
                id: revoked,
                revocation,
            } => {
                assert_eq!((revoked, revocation.reason.as_str()), (id, "stolen"));
                told = true;
            }
            DiscoveryEvent::PeerRemoved { peer, departure } if peer.id == id => {
                assert_eq!(departure, Departure::Revoked);
                left = true;
            }
            _ => {}
        }
    }
    let refused = other.refuses(|it| it.reason == RejectReason::Revoked).await;
    assert_eq!(
        (refused.id, refused.name.as_deref()),
        (Some(id), Some("node-1"))
    );

    // Started again, it gets nowhere, and hears why.
    lost.stop().await;
    let again = node(1);
    let why = RejectReason::RefusedUs("our certificate was revoked");
    again.refuses(|it| it.reason == why).await;
    assert!(again.handle.peers().is_empty());
    assert_eq!(founder.handle.peers().len(), 1);
}

#[tokio::test]
async fn a_list_crosses_a_chain_of_peers_and_reaches_who_comes_later() {
    let site = Site::of(5).await;
    let standings: Vec<_> = (0..5).map(|number| site.standing(number)).collect();
    let lost = site.members[4].peer_id();
    // Each knows the one before it only.
    let start = |number: usize, before: Option<&Node>| {
        let mut config: Config = config("127.0.0.1", None);
        let port = before.map(|node| node.handle.control_address().port() - 1);
        config.static_peers = port
            .map(|port| format!("127.0.0.1:{port}"))
            .into_iter()
            .collect();
        Node::start_as(&standings[number], &config)
    };
    let first = start(0, None);
    let second = start(1, Some(&first));
    let third = start(2, Some(&second));
    third.sees(&["node-1"]).await;
    second.sees(&["node-0", "node-2"]).await;
    revoke(&standings[0], lost);
    knows(&third, lost).await;
    assert_eq!(
        standings[2].revocations().stamp(),
        standings[0].revocations().stamp()
    );

    let fourth = start(3, Some(&third));
    fourth.sees(&["node-2"]).await;
    knows(&fourth, lost).await;
    let kept = site.standing(3);
    assert!(kept.revocations().is_revoked(&lost), "it lasts");
    fourth.stop().await;
}
