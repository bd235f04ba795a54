//! A member has the key of the beacons, so it can speak in another's name. What it says
//! makes nodes ask the connection; it ends none.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use potluck_discovery::{Membership, PeerId, Wanted};
use potluck_near::{Beacon, BeaconMessage};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::{Node, PATIENCE, Site, config, group};

/// Sends beacons in whatever name.
struct Forger {
    key: [u8; 32],
    socket: Socket,
    group: SocketAddrV4,
    sequence: u64,
}

impl Forger {
    fn new(member: &Membership, group: SocketAddrV4) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 0));
        socket.bind(&from.into()).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        socket.set_multicast_loop_v4(true).unwrap();
        let beacon_key = member.beacon_key().unwrap().expose();
        Self {
            key: blake3::derive_key("potluck 2026-11 beacon seal v1", beacon_key),
            socket,
            group,
            sequence: 1000,
        }
    }

    /// Says something in the name of a node, as docs/protocol.md has it.
    fn says(&mut self, sender: PeerId, generation: u64, message: BeaconMessage) {
        self.sequence += 1;
        let beacon = Beacon {
            sender,
            generation,
            sequence: self.sequence,
            time: wall(),
            population: u32::MAX,
            control_port: 9,
            data_port: 9,
            name: "forged".to_owned(),
            message,
        };
        let mut header = *b"PLB\x01------------------------";
        getrandom::fill(&mut header[4..]).unwrap();
        let mut material = [0; 44];
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher
            .update(&header[4..])
            .finalize_xof()
            .fill(&mut material);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &material[..32]).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&material[32..]).unwrap();
        let mut sealed = beacon.encode();
        key.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed)
            .unwrap();
        let datagram = [&header[..], &sealed].concat();
        self.socket
            .send_to(&datagram, &SocketAddr::V4(self.group).into())
            .unwrap();
    }
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A pair of peers, and what a third member says in the name of the second.
async fn survives(what: impl Fn(u64) -> Vec<(u64, BeaconMessage)>) {
    let site = Site::of(3).await;
    let group = group();
    let node = Node::start(&site.members[0], &config("127.0.0.1", Some(group)));
    let other = Node::start(&site.members[1], &config("127.0.0.2", Some(group)));
    let peers = node.sees(&["node-1"]).await;
    let mut events = node.handle.subscribe();
    let mut forger = Forger::new(&site.members[2], group);
    let id = site.members[1].peer_id();
    let heard = node.handle.beacon_stats().accepted;
    let said = what(peers[0].generation);
    let count = said.len() as u64;
    for (generation, message) in said {
        forger.says(id, generation, message);
    }
    let taken = crate::support::eventually(|| {
        let now = node.handle.beacon_stats().accepted;
        (now >= heard + count).then_some(())
    });
    assert!(taken.await.is_some(), "{:?}", node.handle.beacon_stats());
    // The connection is asked within two seconds; until then nothing may happen to it.
    let quiet = std::time::Duration::from_secs(4);
    let event = tokio::time::timeout(quiet, events.recv()).await;
    assert!(event.is_err(), "{event:?}");
    let held = other.shelf.put(b"soup");
    let asked = node
        .handle
        .ask_have(id, vec![Wanted::Content(held)], PATIENCE);
    assert!(asked.await.unwrap()[0].is_some());
}

#[tokio::test]
async fn a_goodbye_in_another_name() {
    survives(|generation| vec![(generation, BeaconMessage::Bye)]).await;
}

#[tokio::test]
async fn a_restart_in_another_name() {
    survives(|generation| {
        let later = generation + 1;
        vec![(later, BeaconMessage::Hello), (later, BeaconMessage::Bye)]
    })
    .await;
}

#[tokio::test]
async fn whoever_announces_the_dead_makes_no_peers_of_them() {
    let site = Site::of(2).await;
    let group = group();
    let node = Node::start(&site.members[0], &config("127.0.0.1", Some(group)));
    let mut forger = Forger::new(&site.members[1], group);
    let heard = crate::support::eventually(|| {
        for _ in 0..20 {
            forger.says(PeerId::random(), wall(), BeaconMessage::Hello);
        }
        let accepted = node.handle.beacon_stats().accepted;
        (accepted >= 200).then_some(())
    });
    assert!(heard.await.is_some(), "{:?}", node.handle.beacon_stats());
    node.sees(&[]).await;
    // A real one is found among them: each of them was called once at most before it.
    let real = Node::start(&site.members[1], &config("127.0.0.2", Some(group)));
    node.sees(&["node-1"]).await;
    real.stop().await;
}
