//! Wrong datagrams on real sockets: each is counted as what it is, and nothing else
//! happens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{BeaconTask, Heard, Introduction, Wishes, wall};
use crate::beacon_seal::BeaconSeal;
use crate::beacon_socket::{BeaconSocket, Groups};
use crate::handle::Shared;
use crate::link::{Link, LinkChoice, links};
use crate::{BeaconStats, ClockTrouble, DiscoveryEvent, NodeIdentity};
use potluck_near::{Beacon, BeaconMessage, MAX_DATAGRAM};

const KEY: [u8; 32] = [7; 32];
const PATIENCE: Duration = Duration::from_secs(20);
const MINUTES: u64 = 60_000;

/// A listening beacon, and one who sends it what it likes.
struct Bench {
    shared: Arc<Shared>,
    heard: mpsc::Receiver<Heard>,
    enemy: BeaconSocket,
    sender: PeerId,
    sequence: u64,
    _wishes: watch::Sender<Wishes>,
    _links: watch::Sender<Arc<[Link]>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Bench {
    fn new() -> Self {
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        let group = std::net::SocketAddrV4::new([239, 255, 73, 81].into(), port);
        let shared = Arc::new(Shared {
            rejected: Mutex::default(),
            events: broadcast::channel(64).0,
            need_peers: Notify::new(),
            beacon: Default::default(),
            clock: Mutex::default(),
        });
        let choice = |listen: &str| LinkChoice {
            listen: listen.parse().unwrap(),
            names: Vec::new(),
        };
        let all = links().unwrap();
        let place = choice("127.0.0.9").for_beacons(&all).remove(0);
        let (heard_out, heard) = mpsc::channel(64);
        let (links, links_in) = watch::channel(all.into());
        let (wishes, wishes_in) = watch::channel(Wishes::default());
        let task = BeaconTask {
            introduction: Introduction {
                me: peer(),
                generation: 1,
                control_port: 7382,
                data_port: 7381,
                name: "cellar".to_owned(),
            },
            groups: Groups {
                v4: Some(group),
                v6: None,
            },
            choice: choice("127.0.0.1"),
            links: links_in,
            seal: BeaconSeal::new(&KEY),
            seed: 1,
            heard: heard_out,
            wishes: wishes_in,
            shared: Arc::clone(&shared),
        };
        let stop = CancellationToken::new();
        tokio::spawn(task.run(stop.clone()));
        Self {
            shared,
            heard,
            enemy: BeaconSocket::open(place, group.into()).unwrap(),
            sender: peer(),
            sequence: 0,
            _wishes: wishes,
            _links: links,
            _stop: stop.drop_guard(),
        }
    }

    /// A HELLO, sealed rightly, by a clock that is so far ahead.
    fn hello(&mut self, ahead: i64) -> Vec<u8> {
        self.sequence += 1;
        let time = wall().saturating_add_signed(ahead);
        let beacon = Beacon {
            sender: self.sender,
            generation: time,
            sequence: self.sequence,
            time,
            population: 2,
            control_port: 7382,
            data_port: 7381,
            name: "attic".to_owned(),
            message: BeaconMessage::Hello,
        };
        let mut salt = [0; 24];
        getrandom::fill(&mut salt).unwrap();
        BeaconSeal::new(&KEY).seal(&beacon, salt)
    }

    /// Sends until a counter has grown: the network may lose a datagram.
    async fn counts(&self, datagram: &[u8], counter: impl Fn(&BeaconStats) -> u64) {
        let before = counter(&self.shared.beacon.read());
        let sending = async {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while counter(&self.shared.beacon.read()) == before {
                pace.tick().await;
                self.enemy.broadcast(datagram).unwrap();
            }
        };
        let counted = tokio::time::timeout(PATIENCE, sending).await;
        let length = datagram.len();
        counted.unwrap_or_else(|_| panic!("{length} bytes: {:?}", self.shared.beacon.read()));
    }
}

fn peer() -> PeerId {
    NodeIdentity::generate().unwrap().public_key().peer_id()
}

#[tokio::test]
async fn each_wrong_datagram_is_counted_as_what_it_is() {
    let mut bench = Bench::new();
    let right = bench.hello(0);

    bench.counts(&right, |stats| stats.accepted).await;
    assert!(matches!(bench.heard.recv().await, Some(Heard::Node(_))));

    bench.counts(&right, |stats| stats.replayed).await;
    bench.counts(&[], |stats| stats.malformed).await;
    bench.counts(b"hello?", |stats| stats.malformed).await;
    bench.counts(&[0x50; 400], |stats| stats.malformed).await;
    bench.counts(&right[..20], |stats| stats.malformed).await;
    let mut oversized = right.clone();
    oversized.resize(MAX_DATAGRAM + 1, 0);
    bench.counts(&oversized, |stats| stats.malformed).await;

    let truncated = &right[..right.len() - 1];
    bench.counts(truncated, |stats| stats.foreign).await;
    let mut forged = right.clone();
    forged[40] ^= 1;
    bench.counts(&forged, |stats| stats.foreign).await;
    let mut random = right.clone();
    getrandom::fill(&mut random[4..]).unwrap();
    bench.counts(&random, |stats| stats.foreign).await;

    let future = bench.hello(90 * MINUTES as i64);
    bench.counts(&future, |stats| stats.stale).await;
    bench.sender = peer();
    let past = bench.hello(-(90 * MINUTES as i64));
    bench.counts(&past, |stats| stats.stale).await;

    assert_eq!(bench.shared.beacon.read().accepted, 1);
    assert!(bench.heard.try_recv().is_err(), "nobody else was heard");
}

#[tokio::test]
async fn a_flood_is_dropped_and_what_is_known_is_still_heard() {
    let mut bench = Bench::new();
    let right = bench.hello(0);
    bench.counts(&right, |stats| stats.accepted).await;
    let forged: Vec<u8> = right.iter().map(|byte| byte ^ 1).collect();
    let mut forged = forged;
    forged[..4].copy_from_slice(b"PLB\x01");
    // As fast as it goes, while the reader gets its turns.
    let flood = async {
        while bench.shared.beacon.read().flooded < 2000 {
            for _ in 0..50 {
                bench.enemy.broadcast(&forged).unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("a flood");
    let opened = bench.shared.beacon.read().foreign;
    assert!(opened < 1500, "{opened} were opened");
    // Once it has passed the same source is heard again.
    let again = bench.hello(0);
    bench.counts(&again, |stats| stats.accepted).await;
}

#[tokio::test]
async fn a_wrong_clock_is_said_once_with_whose_it_is() {
    let mut bench = Bench::new();
    let mut events = bench.shared.events.subscribe();
    let ahead = 90 * MINUTES as i64;
    let first = bench.sender;
    for _ in 0..2 {
        let hello = bench.hello(ahead);
        bench.counts(&hello, |stats| stats.stale).await;
    }
    match events.try_recv() {
        Ok(DiscoveryEvent::ClockDiffers {
            trouble: ClockTrouble::Theirs(peer, offset),
            name,
        }) => {
            assert_eq!((peer, name.as_str()), (first, "attic"));
            assert!((ahead - 5000..=ahead).contains(&offset), "{offset}");
        }
        other => panic!("{other:?}"),
    }
    assert!(events.try_recv().is_err(), "it is said once");

    bench.sender = peer();
    let hello = bench.hello(ahead);
    bench.enemy.broadcast(&hello).unwrap();
    match tokio::time::timeout(PATIENCE, events.recv()).await {
        Ok(Ok(DiscoveryEvent::ClockDiffers { trouble, .. })) => {
            assert!(matches!(trouble, ClockTrouble::Ours(_)), "{trouble:?}");
        }
        other => panic!("{other:?}"),
    }
    let clock = bench.shared.clock.lock().unwrap().unwrap();
    assert_eq!(clock.senders, 2);
    assert!(clock.milliseconds > ahead - 5000);
}
