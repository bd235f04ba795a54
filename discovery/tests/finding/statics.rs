//! Peers that are named in the configuration.

use std::time::{Duration, Instant};

use potluck_discovery::{DiscoveryEvent, StartError};

use crate::support::{Node, PATIENCE, Site, config};

/// The data port that makes this node's control port the next one.
fn static_address(node: &Node) -> String {
    let control = node.handle.control_address();
    format!("{}:{}", control.ip(), control.port() - 1)
}

#[tokio::test]
async fn named_peers_are_found_without_multicast() {
    let site = Site::of(3).await;
    let first = Node::start(&site.members[0], &config("127.0.0.1", None));
    let mut second = config("127.0.0.2", None);
    second.static_peers = vec![static_address(&first)];
    let second = Node::start(&site.members[1], &second);
    let mut third = config("127.0.0.1", None);
    third.static_peers = vec![static_address(&first), static_address(&second)];
    let third = Node::start(&site.members[2], &third);
    first.sees(&["node-1", "node-2"]).await;
    second.sees(&["node-0", "node-2"]).await;
    third.sees(&["node-0", "node-1"]).await;
}

#[tokio::test]
async fn a_named_peer_that_comes_back_is_called_again() {
    let site = Site::of(2).await;
    let first = Node::start(&site.members[0], &config("127.0.0.1", None));
    let address = first.handle.control_address();
    let mut second = config("127.0.0.2", None);
    second.static_peers = vec![static_address(&first)];
    let second = Node::start(&site.members[1], &second);
    let former = second.sees(&["node-0"]).await[0].generation;
    first.stop().await;
    second.sees(&[]).await;
    let mut again = config("127.0.0.1", None);
    again.control_port = address.port();
    let _first = Node::start(&site.members[0], &again);
    let peers = second.sees(&["node-0"]).await;
    assert!(peers[0].generation > former);
}

#[tokio::test]
async fn a_node_does_not_call_itself_twice() {
    let site = Site::of(2).await;
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let mut own = config("127.0.0.1", None);
    own.control_port = port;
    own.static_peers = vec![format!("127.0.0.1:{}", port - 1)];
    let first = Node::start(&site.members[0], &own);
    let mut other = config("127.0.0.2", None);
    other.static_peers = vec![format!("127.0.0.1:{}", port - 1)];
    let _second = Node::start(&site.members[1], &other);
    first.sees(&["node-1"]).await;
    assert!(first.handle.rejected().is_empty());
}

#[tokio::test]
async fn what_cannot_be_started_is_said() {
    let site = Site::of(1).await;
    let refused = |config| {
        let shelf = std::sync::Arc::new(crate::support::Shelf::default());
        let stop = tokio_util::sync::CancellationToken::new();
        let standing = crate::support::standing(&site.members[0]);
        potluck_discovery::start(&config, &standing, shelf, None, stop).err()
    };
    let taken = Node::start(&site.members[0], &config("127.0.0.1", None));
    let mut busy = config("127.0.0.1", None);
    busy.control_port = taken.handle.control_address().port();
    assert!(matches!(refused(busy), Some(StartError::Listen { .. })));
    let unicast = config("127.0.0.1", Some("10.0.0.1:7383".parse().unwrap()));
    assert!(matches!(refused(unicast), Some(StartError::NotAGroup(_))));
    let mut nobody = config("127.0.0.1", None);
    nobody.static_peers = vec!["cellar:many".to_owned()];
    assert!(matches!(refused(nobody), Some(StartError::StaticPeer(_))));
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_call_each_other_at_once_stay_connected() {
    let site = Site::of(2).await;
    for _ in 0..2 {
        let ports = [free_port(), free_port()];
        let nodes = [0, 1].map(|number| {
            let mut config = config("127.0.0.1", None);
            config.control_port = ports[number];
            config.static_peers = vec![format!("127.0.0.1:{}", ports[1 - number] - 1)];
            Node::start(&site.members[number], &config)
        });
        let mut events = nodes.each_ref().map(|node| node.handle.subscribe());
        nodes[0].sees(&["node-1"]).await;
        nodes[1].sees(&["node-0"]).await;
        // Long enough for a surplus connection to be closed, and nobody notices.
        let end = Instant::now() + Duration::from_millis(2500);
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while Instant::now() < end {
            pace.tick().await;
            for (number, node) in nodes.iter().enumerate() {
                let peer = site.members[1 - number].peer_id();
                let asked = node.handle.ask_have(peer, Vec::new(), PATIENCE).await;
                assert_eq!(asked, Ok(Vec::new()));
            }
        }
        for (node, events) in nodes.into_iter().zip(&mut events) {
            while let Ok(event) = events.try_recv() {
                assert!(
                    !matches!(event, DiscoveryEvent::PeerRemoved { .. }),
                    "{event:?}"
                );
            }
            assert!(node.handle.rejected().is_empty());
            drop(node);
        }
    }
}
