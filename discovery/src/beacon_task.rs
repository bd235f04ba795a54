//! The task that speaks and listens on the subnet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::DiscoveryEvent;
use crate::beacon_gate::BeaconGate;
use crate::beacon_seal::{BeaconSeal, OpenError};
use crate::beacon_socket::{BeaconSocket, Datagram, Groups};
use crate::handle::Shared;
use crate::link::{Link, LinkChoice};
use potluck_near::ClockWatch;
use potluck_near::Sighting;
use potluck_near::{Beacon, BeaconMessage, ShortHash};
use potluck_near::{BeaconAction, BeaconCore, Need, Origin};
use potluck_near::{ReplayError, ReplayGuard};

/// How soon a link that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Datagrams between the sockets and the task.
const QUEUE: usize = 256;

/// What the beacon tells the swarm.
pub(crate) enum Heard {
    Node(Sighting),
    Goodbye { peer: PeerId, generation: u64 },
}

/// What the swarm tells the beacon.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Wishes {
    pub(crate) need: Option<Need>,
    pub(crate) has_room: bool,
}

/// What a beacon says of this node in every datagram.
pub(crate) struct Introduction {
    pub(crate) me: PeerId,
    pub(crate) generation: u64,
    pub(crate) control_port: u16,
    pub(crate) data_port: u16,
    pub(crate) name: String,
}

pub(crate) struct BeaconTask {
    pub(crate) introduction: Introduction,
    pub(crate) groups: Groups,
    pub(crate) choice: LinkChoice,
    pub(crate) links: watch::Receiver<Arc<[Link]>>,
    pub(crate) seal: BeaconSeal,
    pub(crate) seed: u64,
    pub(crate) heard: mpsc::Sender<Heard>,
    pub(crate) wishes: watch::Receiver<Wishes>,
    pub(crate) shared: Arc<Shared>,
}

/// The running part: what changes while the task runs.
struct Running {
    task: BeaconTask,
    core: BeaconCore,
    gate: BeaconGate,
    guard: ReplayGuard,
    clocks: ClockWatch,
    sequence: u64,
    links: BTreeMap<Link, Arc<BeaconSocket>>,
    readers: BTreeMap<Link, tokio::task::AbortHandle>,
    reading: JoinSet<()>,
    datagrams: mpsc::Sender<Datagram>,
    /// It was said once that there is no link.
    warned: bool,
    /// Links that could not be opened.
    shut: BTreeSet<Link>,
}

impl BeaconTask {
    /// Runs until `stop`, and says goodbye.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (datagrams, mut incoming) = mpsc::channel(QUEUE);
        let core = BeaconCore::new(self.introduction.me, self.seed, Instant::now().into_std());
        let shared = Arc::clone(&self.shared);
        let gate = BeaconGate::new(self.seed, Arc::clone(&self.shared));
        let mut wishes = self.wishes.clone();
        let mut links = self.links.clone();
        let mut running = Running {
            task: self,
            core,
            gate,
            guard: ReplayGuard::default(),
            clocks: ClockWatch::default(),
            sequence: 0,
            links: BTreeMap::new(),
            readers: BTreeMap::new(),
            reading: JoinSet::new(),
            datagrams,
            warned: false,
            shut: BTreeSet::new(),
        };
        running.look_at_links();
        running.take_wishes(&wishes.borrow_and_update().clone());
        loop {
            running.carry_out();
            let wake = Instant::from_std(running.core.poll_timeout());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = links.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    running.look_at_links();
                }
                () = tokio::time::sleep(RETRY), if !running.shut.is_empty() => {
                    running.look_at_links();
                }
                changed = wishes.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let latest = wishes.borrow_and_update().clone();
                    running.take_wishes(&latest);
                }
                () = shared.need_peers.notified() => running.core.handle_nudge(now()),
                () = tokio::time::sleep_until(wake) => running.core.handle_timeout(now()),
                Some(datagram) = incoming.recv() => running.take_in(datagram),
                Some(ended) = running.reading.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
        running.core.handle_stop();
        running.carry_out();
    }
}

impl Running {
    fn look_at_links(&mut self) {
        let found = self.task.choice.for_beacons(&self.task.links.borrow());
        self.shut.retain(|link| found.contains(link));
        let gone = self.links.keys().filter(|link| !found.contains(link));
        for link in gone.cloned().collect::<Vec<_>>() {
            tracing::info!(link = link.name, address = %link.address, "beacon: link is gone");
            self.links.remove(&link);
            if let Some(reader) = self.readers.remove(&link) {
                reader.abort();
            }
        }
        if found.is_empty() && !self.warned {
            self.warned = true;
            tracing::warn!(
                listen = %self.task.choice.listen,
                interfaces = ?self.task.choice.names,
                "beacon: no interface to find peers on"
            );
        }
        for link in found {
            if let Some(group) = self.task.groups.on(&link)
                && !self.links.contains_key(&link)
            {
                self.open(link, group);
            }
        }
    }

    fn open(&mut self, link: Link, group: SocketAddr) {
        match BeaconSocket::open(link.clone(), group) {
            Ok(socket) => {
                tracing::info!(link = link.name, address = %link.address, "beacon: link in use");
                let socket = Arc::new(socket);
                let (listening, heard) = (Arc::clone(&socket), self.datagrams.clone());
                let gate = self.gate.clone();
                let reader = self.reading.spawn(async move {
                    let admit = |from, bytes: &[u8]| gate.admit(from, bytes);
                    listening.listen(heard, admit).await;
                });
                self.readers.insert(link.clone(), reader);
                self.shut.remove(&link);
                self.links.insert(link, socket);
                self.core.handle_new_link(now());
            }
            Err(error) => {
                if self.shut.insert(link.clone()) {
                    tracing::warn!(link = link.name, %error, "beacon: link cannot be used");
                }
            }
        }
    }

    fn take_wishes(&mut self, wishes: &Wishes) {
        self.core.handle_room(wishes.has_room);
        self.core.handle_need(wishes.need.clone(), now());
    }

    fn take_in(&mut self, mut datagram: Datagram) {
        let shared = Arc::clone(&self.task.shared);
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let counters = &shared.beacon;
        let mut links = self.links.keys();
        let on_link =
            links.any(|link| link.index == datagram.interface && link.is_on_link(datagram.from));
        if !on_link {
            return count(&counters.off_link);
        }
        let beacon = match self.task.seal.open(&mut datagram.bytes) {
            Ok(beacon) => beacon,
            Err(OpenError::Malformed) => return count(&counters.malformed),
            Err(OpenError::Foreign) => return count(&counters.foreign),
        };
        if beacon.sender == self.task.introduction.me {
            return;
        }
        match self.guard.check(&beacon, wall(), now()) {
            Ok(()) => {
                count(&counters.accepted);
                self.gate.know(datagram.from.ip());
            }
            Err(ReplayError::Stale) => {
                count(&counters.stale);
                return self.compare_clocks(&beacon);
            }
            Err(ReplayError::Replayed) => return count(&counters.replayed),
        }
        self.compare_clocks(&beacon);
        let origin = Origin {
            interface: datagram.interface,
            address: datagram.from,
        };
        self.core.handle_beacon(&beacon, origin, now());
        let population = u64::from(self.core.population());
        counters.population.store(population, Ordering::Relaxed);
        let heard = match beacon.message {
            BeaconMessage::Bye => Heard::Goodbye {
                peer: beacon.sender,
                generation: beacon.generation,
            },
            _ => Heard::Node(Sighting {
                peer: beacon.sender,
                generation: beacon.generation,
                address: with_port(datagram.from, beacon.control_port),
                name: beacon.name,
            }),
        };
        // When the swarm cannot follow, the next announcement will do.
        let _ = self.task.heard.try_send(heard);
    }

    fn compare_clocks(&mut self, beacon: &Beacon) {
        let trouble = self
            .clocks
            .handle_time(beacon.sender, beacon.time, wall(), now());
        self.task.shared.set_clock(self.clocks.offset(now()));
        let Some(trouble) = trouble else { return };
        let name = &beacon.name;
        tracing::warn!(?trouble, name, "clocks differ");
        let name = name.clone();
        // Nobody listening is no failure.
        let event = DiscoveryEvent::ClockDiffers { trouble, name };
        let _ = self.task.shared.events.send(event);
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.core.poll_action() {
            let links: Vec<Arc<BeaconSocket>> = match &action {
                BeaconAction::Answer(to) => self.link_to(to).into_iter().collect(),
                _ => self.links.values().cloned().collect(),
            };
            for socket in links {
                self.send(&action, &socket);
            }
        }
    }

    /// The link by which a question came.
    fn link_to(&self, to: &Origin) -> Option<Arc<BeaconSocket>> {
        let mut links = self.links.iter();
        let link =
            links.find(|(link, _)| to.interface == link.index && link.is_on_link(to.address));
        link.map(|(_, socket)| Arc::clone(socket))
    }

    /// Sends on one link. Each link has a datagram of its own, with its own number: who
    /// is on two of them hears this node by both.
    fn send(&mut self, action: &BeaconAction, socket: &BeaconSocket) {
        self.sequence += 1;
        let message = match action {
            BeaconAction::Hello => BeaconMessage::Hello,
            BeaconAction::Bye => BeaconMessage::Bye,
            BeaconAction::Answer(_) => BeaconMessage::Match,
            BeaconAction::Probe(need) => probe(need, self.sequence),
        };
        let about = &self.task.introduction;
        let beacon = Beacon {
            sender: about.me,
            generation: about.generation,
            sequence: self.sequence,
            time: wall(),
            population: self.core.population(),
            control_port: about.control_port,
            data_port: about.data_port,
            name: about.name.clone(),
            message,
        };
        let mut salt = [0; 24];
        if getrandom::fill(&mut salt).is_err() {
            tracing::error!("the system gives no random numbers: beacon not sent");
            return;
        }
        let datagram = self.task.seal.seal(&beacon, salt);
        let sent = match action {
            BeaconAction::Answer(to) => socket.answer(&datagram, to.address),
            _ => socket.broadcast(&datagram),
        };
        match sent {
            Ok(()) => {
                let counters = &self.task.shared.beacon;
                counters.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::debug!(link = socket.link.name, %error, "beacon not sent"),
        }
    }
}

fn probe(need: &Need, sequence: u64) -> BeaconMessage {
    let known = need.known.iter().take(potluck_near::MAX_KNOWN);
    BeaconMessage::Probe {
        wanted: need.wanted,
        known: known.map(|peer| ShortHash::of(peer, sequence)).collect(),
    }
}

/// The same machine's other port, with the scope if there is one.
fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// This machine's clock, in milliseconds since 1970.
pub(crate) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
#[path = "beacon_faults_tests.rs"]
mod faults_tests;
