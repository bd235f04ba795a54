//! Messages about swarms from who should not send them, and as none should.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use potluck_discovery::{AskError, MAX_SWARM_ANSWER, MAX_SWARM_MESSAGE, SwarmDesk};

use crate::cbor::Cbor;
use crate::rogue::{Rogue, polite, polite_but};
use crate::support::{Desk, Node, PATIENCE, Site, config, standing};

fn message(bytes: &[u8]) -> Cbor {
    Cbor::map(&[("kind", Cbor::text("swarm")), ("swarm", Cbor::bytes(bytes))])
}

fn start(site: &Site, max_peers: usize) -> (Node, Arc<Desk>) {
    let desk = Arc::new(Desk::default());
    let given = Arc::clone(&desk) as Arc<dyn SwarmDesk>;
    let mut config = config("127.0.0.1", None);
    config.max_peers = max_peers;
    let node = Node::start_with(&standing(&site.members[0]), &config, Some(given));
    (node, desk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_not_heard_before_it_is_on_the_list() {
    let site = Site::of(2).await;
    let (node, desk) = start(&site, 8);
    let (open, opened) = sync_channel::<()>(0);
    let (opened, polite) = (Mutex::new(opened), polite(&site.members[0]));
    let answers = move |kind: &str| {
        if kind == "hello" {
            // Until the test has asked.
            let _ = opened.lock().unwrap().recv();
        }
        polite(kind)
    };
    let address = node.handle.control_address();
    let rogue = Rogue::call(&site.members[1], address, answers).await;
    let answer = rogue.asks(&message(b"soup?")).await;
    assert!(answer.contains("bad_question"), "{answer}");
    assert!(desk.heard().is_empty());
    drop(open);
    node.sees(&["node-1"]).await;
    let answer = rogue.asks(&message(b"soup?")).await;
    assert!(answer.contains("heard soup?"), "{answer}");
}

#[tokio::test]
async fn a_member_for_whom_the_list_has_no_room_is_not_heard() {
    let site = Site::of(3).await;
    let (node, desk) = start(&site, 1);
    let address = node.handle.control_address();
    let call =
        |number: usize| Rogue::call(&site.members[number], address, polite(&site.members[0]));
    let _first = call(1).await;
    node.sees(&["node-1"]).await;
    let answer = call(2).await.asks(&message(b"soup?")).await;
    assert!(answer.contains("full"), "{answer}");
    assert!(desk.heard().is_empty());
}

#[tokio::test]
async fn messages_that_break_a_rule_are_refused() {
    let site = Site::of(2).await;
    let (node, desk) = start(&site, 8);
    let address = node.handle.control_address();
    let rogue = Rogue::call(&site.members[1], address, polite(&site.members[0])).await;
    node.sees(&["node-1"]).await;
    let long = message(&[7; MAX_SWARM_MESSAGE + 1]);
    let none = Cbor::map(&[("kind", Cbor::text("swarm"))]);
    for question in [long, none] {
        let answer = rogue.asks(&question).await;
        assert!(answer.contains("bad_question"), "{answer}");
    }
    assert!(desk.heard().is_empty());
    node.sees(&["node-1"]).await;
}

#[tokio::test]
async fn an_answer_that_is_none_or_too_long_costs_the_place() {
    let long = Cbor::bytes(&[7; MAX_SWARM_ANSWER + 1]);
    let wrong = [Cbor::map(&[("swarm", long)]), Cbor::map(&[])];
    let site = Site::of(1 + wrong.len()).await;
    let (node, _) = start(&site, 8);
    for (member, answer) in site.members[1..].iter().zip(wrong) {
        let address = node.handle.control_address();
        let answers = polite_but(&site.members[0], "swarm", answer.0);
        let rogue = Rogue::call(member, address, answers).await;
        node.sees(&[member.node_name().as_str()]).await;
        let peer = member.peer_id();
        let told = node.handle.ask_swarm(peer, b"soup?".to_vec(), PATIENCE);
        let told = told.await;
        assert!(matches!(told, Err(AskError::WrongAnswer(_))), "{told:?}");
        rogue.cut_off().await;
        node.sees(&[]).await;
    }
}
