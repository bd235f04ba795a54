//! The simulated nodes, their clock, and what happens to them.

use std::time::Duration;

use potluck_near::{PeerId, Setback};

use crate::event_queue::EventQueue;
use crate::subnet::connections::Lost;
use crate::subnet::event::{Event, Place};
use crate::subnet::node::{SubnetNode, peer_id};
use crate::subnet::traffic::Traffic;

/// How the subnet is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SubnetSettings {
    /// How many nodes there are.
    pub nodes: usize,
    /// Which part of the datagrams gets lost, from 0 to 1; at each receiver by itself.
    pub loss: f64,
    /// Everything random comes from it.
    pub seed: u64,
    /// How many peers a node takes at most; it looks for three quarters of them.
    pub max_peers: usize,
}

/// Nodes, the network between them and a clock.
pub struct Subnet {
    pub(crate) settings: SubnetSettings,
    pub(crate) queue: EventQueue<Event>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) ids: Vec<PeerId>,
    /// Those that run.
    pub(crate) nodes: Vec<Option<SubnetNode>>,
    /// The first half of the nodes does not reach the other one.
    cut: bool,
    /// When the network changed last.
    pub(crate) changed: Duration,
    pub(crate) last_connection: u64,
    pub(crate) traffic: Traffic,
    pub(crate) false_removals: Vec<Lost>,
}

impl Subnet {
    /// A subnet of machines that are switched off.
    #[must_use]
    pub fn new(settings: SubnetSettings) -> Self {
        let mut rng = fastrand::Rng::with_seed(settings.seed);
        let places = 0..settings.nodes;
        Self {
            settings,
            queue: EventQueue::new(),
            ids: places.map(|place| peer_id(place, &mut rng)).collect(),
            rng,
            nodes: (0..settings.nodes).map(|_| None).collect(),
            cut: false,
            changed: Duration::ZERO,
            last_connection: 0,
            traffic: Traffic::default(),
            false_removals: Vec::new(),
        }
    }

    /// All nodes start, each at some moment within this time.
    pub fn boot_all(&mut self, within: Duration) {
        for place in 0..self.nodes.len() {
            let wait = within.mul_f64(self.rng.f64());
            self.queue.put_in(wait, Event::Boot(place));
        }
    }

    /// A machine is switched off: it says nothing any more, not even goodbye.
    pub fn vanish(&mut self, place: Place) {
        self.nodes[place] = None;
    }

    /// A node stops in order.
    pub fn stop(&mut self, place: Place) {
        let Some(node) = &mut self.nodes[place] else {
            return;
        };
        node.stop();
        let closed = node.connections.take_all();
        self.settle(place);
        for (peer, connection) in closed {
            self.close(place, peer, connection);
        }
        self.nodes[place] = None;
    }

    /// The network falls into two halves, or becomes one again.
    pub fn cut(&mut self, cut: bool) {
        self.cut = cut;
        self.changed = self.now();
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now() + time;
        while let Some(event) = self.queue.next_until(end) {
            self.happen(event);
        }
    }

    /// Since the start.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.queue.now()
    }

    /// How it was made.
    #[must_use]
    pub const fn settings(&self) -> &SubnetSettings {
        &self.settings
    }

    /// The node at a place, while it runs.
    #[must_use]
    pub fn node(&self, place: Place) -> Option<&SubnetNode> {
        self.nodes.get(place)?.as_ref()
    }

    /// The nodes that run.
    pub fn nodes(&self) -> impl Iterator<Item = (Place, &SubnetNode)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(place, node)| Some((place, node.as_ref()?)))
    }

    /// Whether datagrams of one get to the other.
    #[must_use]
    pub const fn reaches(&self, one: Place, other: Place) -> bool {
        let half = self.settings.nodes / 2;
        !self.cut || (one < half) == (other < half)
    }

    /// What was sent since this was asked last.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// Peers that left a list since this was asked last, though they ran, were in
    /// reach, and had been for a minute.
    pub fn take_false_removals(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.false_removals)
    }

    /// A random choice that the seed repeats.
    pub fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Boot(place) => {
                let (id, max) = (self.ids[place], self.settings.max_peers);
                let node = SubnetNode::boot(id, max, &mut self.rng, self.queue.clock());
                self.nodes[place] = Some(node);
                self.settle(place);
            }
            Event::Wake(place) => self.wake(place),
            Event::Multicast(packet) => {
                for place in 0..self.nodes.len() {
                    self.hear(place, &packet);
                }
            }
            Event::Unicast(packet, place) => self.hear(place, &packet),
            Event::Established { caller, called } => self.establish(caller, called),
            Event::CallFailed { caller, called } => {
                let (id, (_, now)) = (self.ids[called], self.queue.clock());
                self.with(caller, |node| node.call_failed(id, now));
            }
            Event::HelloAnswered {
                at,
                peer,
                connection,
            } => self.introduce(at, peer, connection),
            Event::Full {
                at,
                peer,
                connection,
            } => {
                self.end(at, peer, connection, Some(Setback::Full));
            }
            Event::Closed {
                at,
                peer,
                connection,
            } => {
                if self.reaches(at, peer) {
                    self.end(at, peer, connection, None);
                }
            }
            Event::PingEnds {
                at,
                peer,
                connection,
            } => self.end_ping(at, peer, connection),
        }
    }
}
