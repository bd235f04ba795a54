//! One simulated node: what stands around the deciding code in a real one.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant, UNIX_EPOCH};

use potluck_near::{
    Admission, Beacon, BeaconAction, BeaconCore, BeaconMessage, Departure, DialTarget, MAX_KNOWN,
    Need, Origin, PeerId, PeerInfo, PeerTable, ReplayGuard, Setback, ShortHash, TableAction,
};

use crate::subnet::connections::Connections;
use crate::subnet::event::{Packet, Place};

/// The driver's bound on what it reads from one link in one second.
const READ_PER_SECOND: u32 = 2000;
/// The clock of every node at the start, in milliseconds since 1970.
const WALL: u64 = 1_800_000_000_000;
/// How often connections are looked after.
const TICK: Duration = Duration::from_secs(1);

/// What a node asks of the network.
#[derive(Debug)]
pub(crate) enum Order {
    Send(Beacon, Option<Place>),
    Call(Place),
    Close(Place),
    Check(Place),
    Listed(Place),
    Unlisted(Place),
}

/// A node that runs.
pub struct SubnetNode {
    id: PeerId,
    generation: u64,
    name: String,
    core: BeaconCore,
    guard: ReplayGuard,
    table: PeerTable,
    sequence: u64,
    need: Option<Need>,
    pub(crate) listed: BTreeSet<Place>,
    pub(crate) connections: Connections,
    /// The event that will wake it.
    pub(crate) armed: Option<Duration>,
    next_tick: Duration,
    booted: Duration,
    /// What it read in this second.
    read: (u64, u32),
    /// What its last question drew.
    pub(crate) answers: u64,
}

impl SubnetNode {
    /// Starts.
    pub(crate) fn boot(
        id: PeerId,
        max_peers: usize,
        rng: &mut fastrand::Rng,
        now: (Duration, Instant),
    ) -> Self {
        let mut core = BeaconCore::new(id, rng.u64(..), now.1);
        core.handle_new_link(now.1);
        let mut table = PeerTable::new(id, max_peers, Vec::new(), rng.u64(..), now.1);
        table.handle_timeout(now.1);
        Self {
            id,
            generation: wall(now.0),
            name: format!("host-{:04}", place_of(&id)),
            core,
            guard: ReplayGuard::default(),
            table,
            sequence: 0,
            need: None,
            listed: BTreeSet::new(),
            connections: Connections::default(),
            armed: None,
            next_tick: now.0 + TICK,
            booted: now.0,
            read: (0, 0),
            answers: 0,
        }
    }

    /// Who is on its list.
    #[must_use]
    pub const fn listed(&self) -> &BTreeSet<Place> {
        &self.listed
    }

    /// When it started, since the start of the simulation.
    #[must_use]
    pub const fn booted(&self) -> Duration {
        self.booted
    }

    /// How many nodes it hears, itself included.
    #[must_use]
    pub fn population(&self) -> u32 {
        self.core.population()
    }

    /// Whether the driver reads one more datagram in this second.
    pub(crate) fn reads(&mut self, now: Duration) -> bool {
        if self.read.0 != now.as_secs() {
            self.read = (now.as_secs(), 0);
        }
        self.read.1 += 1;
        self.read.1 <= READ_PER_SECOND
    }

    pub(crate) fn hear(&mut self, packet: &Packet, now: (Duration, Instant)) {
        let beacon = &packet.beacon;
        if self.guard.check(beacon, wall(now.0), now.1).is_err() {
            return;
        }
        let origin = Origin {
            interface: 1,
            address: address(packet.from).into(),
        };
        self.core.handle_beacon(beacon, origin, now.1);
        match &packet.sighting {
            Some(sighting) => self.table.handle_sighting(sighting, now.1),
            None => self.table.handle_goodbye(&beacon.sender, beacon.generation),
        }
    }

    /// A time it waited for has come. True when connections are to be looked after.
    pub(crate) fn wake(&mut self, now: (Duration, Instant)) -> bool {
        self.armed = None;
        if self.core.poll_timeout() <= now.1 {
            self.core.handle_timeout(now.1);
        }
        let ticks = self.next_tick <= now.0;
        if ticks || self.table.poll_timeout().is_some_and(|due| due <= now.1) {
            self.table.handle_timeout(now.1);
        }
        if ticks {
            self.next_tick = now.0 + TICK;
        }
        ticks
    }

    /// When it wants to be woken: by its clock, or by its rounds.
    pub(crate) fn poll_timeout(&self) -> (Instant, Duration) {
        let core = self.core.poll_timeout();
        let table = self.table.poll_timeout();
        (table.map_or(core, |table| table.min(core)), self.next_tick)
    }

    pub(crate) fn connected(&mut self, peer: PeerId, called: bool, now: Instant) -> Admission {
        let target = called.then_some(DialTarget::Peer(peer));
        self.table.handle_connected(peer, target, now)
    }

    pub(crate) fn call_failed(&mut self, peer: PeerId, now: Instant) {
        let target = DialTarget::Peer(peer);
        self.table
            .handle_dial_failed(target, Setback::Unreachable, now);
    }

    pub(crate) fn introduced(&mut self, peer: PeerInfo, now: Instant) {
        self.table.handle_hello(peer, now);
    }

    pub(crate) fn dismiss(&mut self, peer: PeerId, setback: Setback, now: Instant) {
        self.table
            .handle_dismissal(peer, Departure::Unreachable, setback, now);
    }

    pub(crate) fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        let departure = Departure::Lost("closed".to_owned());
        self.table
            .handle_disconnected(peer, departure, Setback::Unreachable, now);
    }

    pub(crate) fn stop(&mut self) {
        self.core.handle_stop();
    }

    /// How it introduces itself on a connection.
    pub(crate) fn info(&self) -> PeerInfo {
        PeerInfo {
            id: self.id,
            name: self.name.clone(),
            address: address(place_of(&self.id)).into(),
            since: UNIX_EPOCH,
            certificate_expires: UNIX_EPOCH,
            generation: self.generation,
        }
    }

    /// The next thing that is to be done for it.
    pub(crate) fn poll_order(&mut self, now: (Duration, Instant)) -> Option<Order> {
        loop {
            if let Some(action) = self.core.poll_action() {
                return Some(self.speak(action, now.0));
            }
            if let Some(action) = self.table.poll_action() {
                return Some(match action {
                    // What is on the list changed, not who.
                    TableAction::Renewed | TableAction::Moved(..) => continue,
                    TableAction::Dial { address, .. } => Order::Call(place_at(address.ip())),
                    TableAction::Close(peer) => Order::Close(place_of(&peer)),
                    TableAction::Check(peer) => Order::Check(place_of(&peer)),
                    TableAction::Added(info) => Order::Listed(place_of(&info.id)),
                    TableAction::Removed(info, _) => Order::Unlisted(place_of(&info.id)),
                });
            }
            if !self.table.take_changed() {
                return None;
            }
            self.core.handle_room(self.table.has_room());
            let need = self.table.need();
            if need != self.need {
                self.need.clone_from(&need);
                self.core.handle_need(need, now.1);
            }
        }
    }

    fn speak(&mut self, action: BeaconAction, now: Duration) -> Order {
        self.sequence += 1;
        let (message, to) = match action {
            BeaconAction::Hello => (BeaconMessage::Hello, None),
            BeaconAction::Bye => (BeaconMessage::Bye, None),
            BeaconAction::Answer(to) => (BeaconMessage::Match, Some(place_at(to.address.ip()))),
            BeaconAction::Probe(need) => (self.probe(&need), None),
        };
        let beacon = Beacon {
            sender: self.id,
            generation: self.generation,
            sequence: self.sequence,
            time: wall(now),
            population: self.core.population(),
            control_port: 7382,
            data_port: 7381,
            name: self.name.clone(),
            message,
        };
        Order::Send(beacon, to)
    }

    fn probe(&self, need: &Need) -> BeaconMessage {
        let known = need.known.iter().take(MAX_KNOWN);
        BeaconMessage::Probe {
            wanted: need.wanted,
            known: known
                .map(|peer| ShortHash::of(peer, self.sequence))
                .collect(),
        }
    }
}

/// The time by the nodes' clocks.
fn wall(now: Duration) -> u64 {
    WALL + u64::try_from(now.as_millis()).expect("a simulation ends")
}

/// A random identity that tells its place: an Ed25519 key as libp2p writes it, with the
/// place where the key would end.
pub(crate) fn peer_id(place: Place, rng: &mut fastrand::Rng) -> PeerId {
    let mut bytes = [0; 38];
    rng.fill(&mut bytes[6..34]);
    bytes[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
    let place = u32::try_from(place).expect("few nodes");
    bytes[34..].copy_from_slice(&place.to_be_bytes());
    PeerId::from_bytes(&bytes).expect("the form of a peer id")
}

pub(crate) fn place_of(peer: &PeerId) -> Place {
    let bytes = peer.to_bytes();
    let place = bytes.last_chunk().expect("made above");
    u32::from_be_bytes(*place) as Place
}

pub(crate) fn address(place: Place) -> SocketAddrV4 {
    let place = u32::try_from(place).expect("few nodes");
    let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 1, 0)) + place);
    SocketAddrV4::new(ip, 7382)
}

fn place_at(ip: std::net::IpAddr) -> Place {
    match ip {
        std::net::IpAddr::V4(ip) => {
            (u32::from(ip) - u32::from(Ipv4Addr::new(10, 0, 1, 0))) as Place
        }
        std::net::IpAddr::V6(_) => unreachable!("all addresses are of version 4"),
    }
}
