//! When to speak on the subnet, and when to be silent.
//!
//! A thousand nodes may share a subnet, so nothing here grows with their square: a
//! PROBE is answered by about as many nodes as it asks for, each after a random
//! delay; the announcements of all nodes together have one rate; and a node that
//! has enough peers, or got none lately, does not ask.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

use crate::beacon::{Beacon, BeaconMessage, ShortHash};
use crate::dice::Dice;

/// Times of the HELLOs after the start: datagrams get lost, and machines that boot
/// together may not all listen yet.
const HELLOS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(4),
];
/// All nodes of a subnet together announce themselves about twice a second at most.
const SITE_INTERVAL: Duration = Duration::from_millis(500);
/// One node announces itself no more often than this.
const MIN_PERIOD: Duration = Duration::from_secs(30);
/// A node that was silent for this many periods is no longer counted.
const PERIODS_REMEMBERED: u32 = 3;
/// How many nodes are counted at most.
const MAX_HEARD: usize = 8192;

/// The first PROBE waits for the answers to the HELLO: they may be enough.
const FIRST_PROBE: Duration = Duration::from_millis(10);
/// Between two PROBEs at least, whoever asks for them.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Between PROBEs at most: a small site never has as many peers as a node may want.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(300);

/// Each expected answer gets this much time of its own...
const ANSWER_SPACING: Duration = Duration::from_millis(4);
/// ...but no answer waits longer than this.
const MAX_ANSWER_DELAY: Duration = Duration::from_millis(100);
/// Answers at once, before `ANSWER_INTERVAL` holds: what a forged or repeated
/// question can draw from one node is bounded.
const ANSWER_BURST: u32 = 32;
const ANSWER_INTERVAL: Duration = Duration::from_millis(50);

/// Where a datagram came from, and by which interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Origin {
    /// The index of the interface that heard it.
    pub interface: u32,
    /// The sender.
    pub address: SocketAddrV4,
}

/// How many peers are missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// How many.
    pub wanted: u16,
    /// Who need not answer.
    pub known: Vec<PeerId>,
}

/// What the driver is to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BeaconAction {
    /// To all: this node is here.
    Hello,
    /// To all: who is here?
    Probe(Need),
    /// To the one who asked: this node is here.
    Answer(Origin),
    /// To all: this node goes.
    Bye,
}

/// Decides about beacons. Every PROBE that is heard costs at most one answer.
pub struct BeaconCore {
    me: PeerId,
    dice: Dice,
    heard: BTreeMap<PeerId, Heard>,
    hellos_sent: usize,
    next_hello: Instant,
    need: Option<Need>,
    next_probe: Instant,
    last_probe: Option<Instant>,
    probe_interval: Duration,
    has_room: bool,
    answers: VecDeque<(Instant, Origin)>,
    /// When the answers that were given are forgotten.
    answers_paid: Instant,
    actions: VecDeque<BeaconAction>,
}

struct Heard {
    at: Instant,
    population: u32,
}

impl BeaconCore {
    /// For the node `me`, which starts now. The seed is to differ from node to node.
    #[must_use]
    pub fn new(me: PeerId, seed: u64, now: Instant) -> Self {
        let mut dice = Dice::new(seed);
        let next_probe = now + FIRST_PROBE + dice.up_to(2 * FIRST_PROBE);
        Self {
            me,
            dice,
            heard: BTreeMap::new(),
            hellos_sent: 0,
            next_hello: now,
            need: None,
            next_probe,
            last_probe: None,
            probe_interval: MIN_PROBE_INTERVAL,
            has_room: true,
            answers: VecDeque::new(),
            answers_paid: now,
            actions: VecDeque::new(),
        }
    }

    /// Takes in an authentic, fresh datagram of another node.
    pub fn handle_beacon(&mut self, beacon: &Beacon, from: Origin, now: Instant) {
        if let BeaconMessage::Bye = beacon.message {
            self.heard.remove(&beacon.sender);
            return;
        }
        if self.heard.len() < MAX_HEARD || self.heard.contains_key(&beacon.sender) {
            let population = beacon.population;
            self.heard.insert(
                beacon.sender,
                Heard {
                    at: now,
                    population,
                },
            );
        }
        if let BeaconMessage::Probe { wanted, known } = &beacon.message {
            let mine = ShortHash::of(&self.me, beacon.sequence);
            if !known.contains(&mine) {
                self.consider_answer(*wanted, known.len(), from, now);
            }
        }
    }

    /// Is told whenever the number of missing peers changes.
    pub fn handle_need(&mut self, need: Option<Need>, now: Instant) {
        if self.need.is_none() && need.is_some() && self.last_probe.is_some() {
            // Peers were lost. Others may have lost theirs at the same moment.
            self.probe_interval = MIN_PROBE_INTERVAL;
            let soon = now + self.dice.up_to(MIN_PROBE_INTERVAL / 2);
            self.next_probe = self.not_too_soon(soon);
        }
        self.need = need;
    }

    /// Somebody could use more peers now.
    pub fn handle_nudge(&mut self, now: Instant) {
        if self.last_probe.is_some() {
            self.next_probe = self.next_probe.min(self.not_too_soon(now));
        }
    }

    /// Is told whether this node would take one more peer.
    pub const fn handle_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// There is a link on which nobody knows this node yet.
    pub fn handle_new_link(&mut self, now: Instant) {
        self.hellos_sent = 0;
        self.next_hello = now;
        let soon = now + FIRST_PROBE + self.dice.up_to(2 * FIRST_PROBE);
        self.next_probe = self.not_too_soon(soon);
        self.probe_interval = MIN_PROBE_INTERVAL;
    }

    /// The node stops: nothing but a goodbye is left to do.
    pub fn handle_stop(&mut self) {
        self.actions.clear();
        self.actions.push_back(BeaconAction::Bye);
    }

    /// It is later. To be called when [`poll_timeout`](Self::poll_timeout) says, or earlier.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.answers.front().is_some_and(|(due, _)| *due <= now) {
            let answer = self.answers.pop_front();
            self.actions
                .extend(answer.map(|(_, to)| BeaconAction::Answer(to)));
        }
        if self.next_hello <= now {
            self.actions.push_back(BeaconAction::Hello);
            self.hellos_sent += 1;
            let wait = match HELLOS.get(self.hellos_sent) {
                Some(time) => *time - HELLOS[self.hellos_sent - 1],
                None => self.period(),
            };
            self.next_hello = now + self.dice.about(wait);
            self.forget_the_silent(now);
        }
        if self.next_probe <= now
            && let Some(need) = self.need.clone()
        {
            self.actions.push_back(BeaconAction::Probe(need));
            self.last_probe = Some(now);
            self.next_probe = now + self.dice.about(self.probe_interval);
            self.next_probe = self.not_too_soon(self.next_probe);
            self.probe_interval = (self.probe_interval * 2).min(MAX_PROBE_INTERVAL);
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<BeaconAction> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Instant {
        let probe = self.need.as_ref().map(|_| self.next_probe);
        let answer = self.answers.front().map(|(due, _)| *due);
        [probe, answer]
            .into_iter()
            .flatten()
            .fold(self.next_hello, Instant::min)
    }

    /// How many nodes are heard, this one included.
    pub fn population(&self) -> u32 {
        u32::try_from(self.heard.len() + 1).unwrap_or(u32::MAX)
    }

    /// How many nodes there probably are. A node that came late has heard few itself,
    /// so the others' count matters: the middle one, which no single node can move.
    fn estimate(&self) -> u32 {
        let mut reported: Vec<u32> = self.heard.values().map(|heard| heard.population).collect();
        let middle = reported.len() / 2;
        let reported = if reported.is_empty() {
            0
        } else {
            *reported.select_nth_unstable(middle).1
        };
        self.population().max(reported)
    }

    fn period(&self) -> Duration {
        SITE_INTERVAL
            .saturating_mul(self.estimate())
            .clamp(MIN_PERIOD, Duration::from_secs(3600))
    }

    fn forget_the_silent(&mut self, now: Instant) {
        let remembered = self.period() * PERIODS_REMEMBERED;
        self.heard
            .retain(|_, heard| now.saturating_duration_since(heard.at) < remembered);
    }

    fn not_too_soon(&self, wish: Instant) -> Instant {
        self.last_probe
            .map_or(wish, |last| wish.max(last + MIN_PROBE_INTERVAL))
    }

    fn consider_answer(&mut self, wanted: u16, known: usize, to: Origin, now: Instant) {
        // Neither the asking node nor those it knows answer.
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        let candidates = self.estimate().saturating_sub(known + 1).max(1);
        let wanted = u32::from(wanted);
        if !self.has_room || !self.dice.chance(wanted.into(), candidates.into()) {
            return;
        }
        let paid = self.answers_paid.max(now);
        if paid > now + ANSWER_INTERVAL * ANSWER_BURST {
            return;
        }
        self.answers_paid = paid + ANSWER_INTERVAL;
        let spread = (ANSWER_SPACING * candidates.min(wanted)).min(MAX_ANSWER_DELAY);
        let due = now + self.dice.up_to(spread);
        let place = self.answers.partition_point(|(other, _)| *other <= due);
        self.answers.insert(place, (due, to));
    }
}

#[cfg(test)]
#[path = "beacon_core_tests.rs"]
mod tests;
