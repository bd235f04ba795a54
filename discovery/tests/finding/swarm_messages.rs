//! What peers tell each other about swarms.

use std::sync::Arc;

use potluck_discovery::{
    AskError, MAX_SWARM_ANSWER, MAX_SWARM_MESSAGE, Membership, PeerId, SwarmDesk,
};

use crate::support::{Desk, Node, PATIENCE, Site, config, group, standing};

fn start(member: &Membership, ip: &str, group: std::net::SocketAddrV4) -> (Node, Arc<Desk>) {
    let desk = Arc::new(Desk::default());
    let given = Arc::clone(&desk) as Arc<dyn SwarmDesk>;
    let node = Node::start_with(&standing(member), &config(ip, Some(group)), Some(given));
    (node, desk)
}

#[tokio::test]
async fn messages_go_both_ways_and_are_answered() {
    let (site, group) = (Site::of(2).await, group());
    let (first, first_desk) = start(&site.members[0], "127.0.0.1", group);
    let (second, second_desk) = start(&site.members[1], "127.0.0.2", group);
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;
    let [one, two] = [0, 1].map(|number| site.members[number].peer_id());

    let there = first.handle.ask_swarm(two, b"soup?".to_vec(), PATIENCE);
    let back = second.handle.ask_swarm(one, b"bread?".to_vec(), PATIENCE);
    let (there, back) = tokio::join!(there, back);
    assert_eq!(there, Ok(b"heard soup?".to_vec()));
    assert_eq!(back, Ok(b"heard bread?".to_vec()));
    assert_eq!(second_desk.heard(), [(one, b"soup?".to_vec())]);
    assert_eq!(first_desk.heard(), [(two, b"bread?".to_vec())]);
}

#[tokio::test]
async fn the_longest_message_arrives_and_a_longer_one_is_not_sent() {
    let (site, group) = (Site::of(2).await, group());
    let (first, _) = start(&site.members[0], "127.0.0.1", group);
    let (second, desk) = start(&site.members[1], "127.0.0.2", group);
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;
    let peer = site.members[1].peer_id();

    let long = vec![7; MAX_SWARM_MESSAGE + 1];
    let refused = first.handle.ask_swarm(peer, long, PATIENCE).await;
    assert_eq!(refused, Err(AskError::TooMuch));
    assert!(desk.heard().is_empty());
    desk.answers(vec![9; MAX_SWARM_ANSWER]);
    let longest = vec![7; MAX_SWARM_MESSAGE];
    let answer = first.handle.ask_swarm(peer, longest.clone(), PATIENCE);
    assert_eq!(answer.await, Ok(vec![9; MAX_SWARM_ANSWER]));
    desk.answers(vec![9; MAX_SWARM_ANSWER + 1]);
    let answer = first.handle.ask_swarm(peer, longest, PATIENCE).await;
    assert!(matches!(answer, Err(AskError::Refused(_))), "{answer:?}");
    first.sees(&["node-1"]).await;
}

#[tokio::test]
async fn strangers_are_not_asked_and_nodes_without_a_desk_refuse() {
    let (site, group) = (Site::of(2).await, group());
    let (first, desk) = start(&site.members[0], "127.0.0.1", group);
    let second = Node::start(&site.members[1], &config("127.0.0.2", Some(group)));
    first.sees(&["node-1"]).await;
    second.sees(&["node-0"]).await;

    let message = || b"soup?".to_vec();
    let stranger = first
        .handle
        .ask_swarm(PeerId::random(), message(), PATIENCE);
    assert_eq!(stranger.await, Err(AskError::NotAPeer));
    let older = site.members[1].peer_id();
    let refused = first.handle.ask_swarm(older, message(), PATIENCE).await;
    assert!(matches!(refused, Err(AskError::Refused(_))), "{refused:?}");
    // It may still tell something itself, and keeps its place.
    let peer = site.members[0].peer_id();
    let told = second.handle.ask_swarm(peer, message(), PATIENCE).await;
    assert_eq!(told, Ok(b"heard soup?".to_vec()));
    assert_eq!(desk.heard().len(), 1);
    first.sees(&["node-1"]).await;
}
