//! A thousand nodes on one subnet, with losses: what all of them send together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use potluck_near::{Beacon, BeaconAction, BeaconCore, BeaconMessage, Need, Origin, PeerId};
use potluck_near::{MAX_KNOWN, ShortHash};

const WANTED: usize = 24;

/// Some peer id, the same for the same number.
fn peer(number: u64) -> PeerId {
    let mut bytes = [0; 38];
    bytes[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
    bytes[6..14].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    PeerId::from_bytes(&bytes).expect("the form of a peer id")
}

fn origin(number: usize) -> Origin {
    let [_, _, high, low] = u32::try_from(number).expect("few nodes").to_be_bytes();
    Origin {
        interface: 1,
        address: std::net::SocketAddr::new([10, 1, high, low].into(), 7383),
    }
}

/// A node that counts whom it heard, and wants so many.
struct Node {
    core: BeaconCore,
    known: BTreeMap<PeerId, Instant>,
    sequence: u64,
    booted: Instant,
    /// When it had a first peer.
    found: Option<Instant>,
}

/// A subnet on a made-up clock. What is sent to all arrives at each node or not.
struct Subnet {
    nodes: Vec<Option<Node>>,
    boots: Vec<Instant>,
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    /// How many datagrams of a hundred are lost.
    loss: u64,
    dice: u64,
    /// When each datagram was sent, and what kind it was.
    sent: Vec<(Instant, &'static str, usize)>,
}

impl Subnet {
    fn new(boots: Vec<Instant>, loss: u64) -> Self {
        let wakes = boots.iter().enumerate();
        let wakes = wakes.map(|(number, boot)| Reverse((*boot, number)));
        Self {
            nodes: boots.iter().map(|_| None).collect(),
            wakes: wakes.collect(),
            boots,
            loss,
            dice: 1,
            sent: Vec::new(),
        }
    }

    fn is_lost(&mut self) -> bool {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005);
        self.dice = self.dice.wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % 100 < self.loss
    }

    fn run_until(&mut self, end: Instant) {
        while let Some(Reverse((now, number))) = self.wakes.pop() {
            if now > end {
                self.wakes.push(Reverse((now, number)));
                return;
            }
            let boot = self.boots[number];
            let node = self.nodes[number].get_or_insert_with(|| {
                let seed = number as u64;
                let mut core = BeaconCore::new(peer(seed), seed, boot);
                core.handle_need(need(&BTreeMap::new()), boot);
                Node {
                    core,
                    known: BTreeMap::new(),
                    sequence: 0,
                    booted: boot,
                    found: None,
                }
            });
            // A wake that another one has overtaken.
            if node.core.poll_timeout() > now {
                continue;
            }
            node.core.handle_timeout(now);
            self.carry_out(number, now);
        }
    }

    fn carry_out(&mut self, number: usize, now: Instant) {
        while let Some(action) = self.node(number).core.poll_action() {
            let node = self.node(number);
            node.sequence += 1;
            let (message, kind, to) = match action {
                BeaconAction::Hello => (BeaconMessage::Hello, "hello", None),
                BeaconAction::Bye => (BeaconMessage::Bye, "bye", None),
                BeaconAction::Probe(need) => {
                    let known = need.known.iter().take(MAX_KNOWN);
                    let known = known.map(|peer| ShortHash::of(peer, node.sequence));
                    let known = known.collect();
                    let wanted = need.wanted;
                    (BeaconMessage::Probe { wanted, known }, "probe", None)
                }
                BeaconAction::Answer(to) => (BeaconMessage::Match, "match", Some(to)),
            };
            let beacon = Beacon {
                sender: peer(number as u64),
                generation: 1,
                sequence: node.sequence,
                time: 2,
                population: node.core.population(),
                control_port: 7382,
                data_port: 7381,
                name: format!("node-{number}"),
                message,
            };
            // With the seal and the headers of UDP and IPv4.
            let bytes = beacon.encode().len() + 44 + 28;
            self.sent.push((now, kind, bytes));
            for other in 0..self.nodes.len() {
                let wanted = to.is_none_or(|to| to == origin(other));
                if other == number || !wanted || self.nodes[other].is_none() || self.is_lost() {
                    continue;
                }
                self.node(other).hear(&beacon, origin(number), now);
                self.wake(other);
            }
        }
        self.wake(number);
    }

    fn node(&mut self, number: usize) -> &mut Node {
        self.nodes[number].as_mut().expect("it has booted")
    }

    fn wake(&mut self, number: usize) {
        let at = self.node(number).core.poll_timeout();
        self.wakes.push(Reverse((at, number)));
    }

    /// How many datagrams of a kind were sent in a time.
    fn count(&self, kind: &str, from: Instant, to: Instant) -> usize {
        let sent = self.sent.iter();
        let sent = sent.filter(|(at, it, _)| *it == kind && (from..to).contains(at));
        sent.count()
    }

    /// The most datagrams in any second.
    fn peak(&self) -> usize {
        let second = Duration::from_secs(1);
        let (mut first, mut peak) = (0, 0);
        for (last, (at, _, _)) in self.sent.iter().enumerate() {
            while self.sent[first].0 + second <= *at {
                first += 1;
            }
            peak = peak.max(last + 1 - first);
        }
        peak
    }
}

impl Node {
    fn hear(&mut self, beacon: &Beacon, from: Origin, now: Instant) {
        self.core.handle_beacon(beacon, from, now);
        let before = self.known.len();
        if before < WANTED {
            self.known.insert(beacon.sender, now);
            self.core.handle_need(need(&self.known), now);
        }
        self.found = self.found.or(Some(now));
        self.core.handle_room(self.known.len() < WANTED + 8);
    }
}

fn need(known: &BTreeMap<PeerId, Instant>) -> Option<Need> {
    let wanted = WANTED.checked_sub(known.len()).filter(|&wanted| wanted > 0);
    wanted.map(|wanted| Need {
        wanted: u16::try_from(wanted).expect("few are wanted"),
        known: known.keys().copied().collect(),
    })
}

/// Nodes that boot evenly spread over a time.
fn booting(count: u32, over: Duration, loss: u64) -> (Subnet, Instant) {
    let start = Instant::now();
    let boots = (0..count).map(|number| start + over * number / count);
    (Subnet::new(boots.collect(), loss), start)
}

#[test]
fn a_thousand_nodes_that_boot_together_make_no_storm() {
    for over in [0, 1, 20] {
        let (mut subnet, start) = booting(1000, Duration::from_secs(over), 30);
        let end = start + Duration::from_secs(over + 5);
        subnet.run_until(end);
        let (peak, matches) = (subnet.peak(), subnet.count("match", start, end));
        let probes = subnet.count("probe", start, end);
        println!("over {over} s: {peak} in the worst second, {probes} PROBEs, {matches} MATCHes");
        assert!(peak < 2500, "over {over} s: {peak} datagrams in a second");
        for node in subnet.nodes.iter().flatten() {
            let found = node.found.expect("it found somebody") - node.booted;
            assert!(found < Duration::from_secs(3), "over {over} s: {found:?}");
        }
    }
}

#[test]
fn a_late_node_draws_no_more_answers_than_it_wants() {
    let (mut subnet, start) = booting(1001, Duration::from_secs(1), 30);
    let late = start + Duration::from_secs(60);
    subnet.boots[1000] = late;
    subnet.wakes.retain(|Reverse((_, number))| *number != 1000);
    subnet.wakes.push(Reverse((late, 1000)));
    subnet.run_until(late);
    // Its peers have room again.
    for node in subnet.nodes.iter_mut().flatten() {
        node.core.handle_room(true);
    }
    let end = late + Duration::from_millis(900);
    subnet.run_until(end);
    let matches = subnet.count("match", late, end);
    let probes = subnet.count("probe", late, end);
    assert_eq!(probes, 1);
    assert!((5..=50).contains(&matches), "{matches} answers");
    let found = subnet.nodes[1000].as_ref().unwrap().found.unwrap() - late;
    assert!(found < Duration::from_millis(200), "{found:?}");
}

#[test]
fn a_thousand_nodes_at_rest_say_little() {
    let (mut subnet, start) = booting(1000, Duration::from_secs(1), 5);
    let rest = start + Duration::from_secs(120);
    let end = rest + Duration::from_secs(600);
    subnet.run_until(end);
    let heard: usize = subnet
        .sent
        .iter()
        .filter(|(at, kind, _)| *at >= rest && *kind != "match")
        .map(|(_, _, bytes)| bytes)
        .sum();
    assert!(heard < 600 * 1000, "{} bytes a second", heard / 600);
    assert_eq!(subnet.count("probe", rest, end), 0);
}
