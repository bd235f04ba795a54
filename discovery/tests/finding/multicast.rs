//! Finding each other by beacons.

use std::time::Duration;

use potluck_discovery::{Departure, DiscoveryEvent};

use crate::support::{Node, PATIENCE, Site, config, eventually, group};

#[tokio::test]
async fn three_nodes_find_each_other_and_notice_who_goes_and_comes_back() {
    let site = Site::of(3).await;
    let group = Some(group());
    // Two on one address with ports of their own, one on another address.
    let addresses = ["127.0.0.1", "127.0.0.1", "127.0.0.2"];
    let mut nodes = Vec::new();
    for (member, address) in site.members.iter().zip(addresses) {
        nodes.push(Node::start(member, &config(address, group)));
    }
    nodes[0].sees(&["node-1", "node-2"]).await;
    nodes[1].sees(&["node-0", "node-2"]).await;
    nodes[2].sees(&["node-0", "node-1"]).await;

    let mut events = nodes[0].handle.subscribe();
    let former = nodes[0].sees(&["node-1", "node-2"]).await;
    let former = former.iter().find(|peer| peer.name == "node-2").unwrap();
    assert_eq!(former.address, "127.0.0.2:7381".parse().unwrap());
    assert_eq!(former.id, site.members[2].peer_id());
    let until = site.members[2].expires();
    assert_eq!(former.certificate_expires, until);

    nodes.pop().unwrap().stop().await;
    nodes[0].sees(&["node-1"]).await;
    nodes[1].sees(&["node-0"]).await;
    match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap() {
        Ok(DiscoveryEvent::PeerRemoved { peer, departure }) => {
            assert_eq!(peer.name, "node-2");
            assert!(matches!(departure, Departure::Left | Departure::Lost(_)));
        }
        other => panic!("{other:?}"),
    }

    nodes.push(Node::start(&site.members[2], &config("127.0.0.2", group)));
    let peers = nodes[0].sees(&["node-1", "node-2"]).await;
    let again = peers.iter().find(|peer| peer.name == "node-2").unwrap();
    assert!(again.generation > former.generation);
    nodes[1].sees(&["node-0", "node-2"]).await;
    for node in nodes {
        assert!(node.handle.rejected().is_empty());
        node.stop().await;
    }
}

#[tokio::test]
async fn another_domain_on_the_same_group_is_never_listed() {
    let (site, other) = (Site::of(2).await, Site::of(1).await);
    let group = Some(group());
    let first = Node::start(&site.members[0], &config("127.0.0.1", group));
    let stranger = Node::start(&other.members[0], &config("127.0.0.3", group));
    let second = Node::start(&site.members[1], &config("127.0.0.2", group));
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;
    let heard = eventually(|| {
        let foreign = |node: &Node| node.handle.beacon_stats().foreign > 0;
        (foreign(&first) && foreign(&stranger)).then_some(())
    });
    heard
        .await
        .expect("they hear each other, and cannot read it");
    assert!(stranger.handle.peers().is_empty());
    assert!(
        first.handle.rejected().is_empty(),
        "nobody called a stranger"
    );
    first.sees(&["node-1"]).await;
}

#[tokio::test]
async fn a_late_node_is_found_quickly() {
    let site = Site::of(2).await;
    let group = Some(group());
    let first = Node::start(&site.members[0], &config("127.0.0.1", group));
    let sent = eventually(|| (first.handle.beacon_stats().sent > 0).then_some(()));
    sent.await.unwrap();
    let began = std::time::Instant::now();
    let second = Node::start(&site.members[1], &config("127.0.0.1", group));
    second.sees(&["node-0"]).await;
    let took = began.elapsed();
    first.sees(&["node-1"]).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn garbage_on_the_group_is_counted_and_ignored() {
    let site = Site::of(1).await;
    let group = group();
    let node = Node::start(&site.members[0], &config("127.0.0.1", Some(group)));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_multicast_if_v4(&[127, 0, 0, 1].into()).unwrap();
    let malformed = eventually(|| {
        socket.send_to(b"hello?", &group.into()).unwrap();
        (node.handle.beacon_stats().malformed > 3).then_some(())
    });
    malformed.await.expect("it is counted");
    assert_eq!(node.handle.beacon_stats().accepted, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_list_stays_full() {
    let site = Site::of(6).await;
    let group = Some(group());
    let nodes = site.members.iter().map(|member| {
        let mut config = config("127.0.0.1", group);
        config.max_peers = 2;
        Node::start(member, &config)
    });
    let nodes: Vec<_> = nodes.collect();
    let connected = eventually(|| {
        let counts = nodes.iter().map(|node| node.handle.peers().len());
        let counts: Vec<_> = counts.collect();
        assert!(counts.iter().all(|&count| count <= 2), "{counts:?}");
        (counts.iter().filter(|&&count| count > 0).count() >= 5).then_some(())
    });
    connected.await.expect("most nodes have peers");
}
