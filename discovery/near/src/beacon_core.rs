//! When to speak on the subnet, and when to be silent.
//!
//! A thousand nodes may share a subnet, so nothing here grows with their square: a
//! PROBE is answered by about as many nodes as it asks for, each after a random
//! delay; the announcements of all nodes together have one rate; and a node that
//! has enough peers, or got none lately, does not ask.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

use crate::beacon::{Beacon, BeaconMessage, ShortHash};
use crate::crowd::Crowd;
use crate::dice::Dice;
use crate::population::Population;

/// Times of the HELLOs after the start: datagrams get lost, and machines that boot
/// together may not all listen yet.
const HELLOS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_secs(4),
];
/// Of a crowd that starts together each repeats its HELLO so much later, times the
/// nodes that there are.
const CROWD_SPACING: Duration = Duration::from_millis(10);
/// All nodes of a subnet together announce themselves about twice a second at most.
const SITE_INTERVAL: Duration = Duration::from_millis(500);
/// One node announces itself no more often than this.
const MIN_PERIOD: Duration = Duration::from_secs(30);
/// A node that was silent for this many periods is no longer counted.
const PERIODS_REMEMBERED: u32 = 3;

/// The first PROBE waits for the answers to the HELLO: they may be enough.
const FIRST_PROBE: Duration = Duration::from_millis(10);
/// While nodes introduce themselves it waits on, but no longer than this. Of a thousand
/// that start within a second only the last few need to ask.
const LONGEST_LISTENING: Duration = Duration::from_millis(500);
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
    pub address: SocketAddr,
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

/// Decides about beacons. Every PROBE that is heard costs at most one answer, by
/// however many links it comes.
pub struct BeaconCore {
    me: PeerId,
    dice: Dice,
    population: Population,
    crowd: Crowd,
    hellos_sent: usize,
    next_hello: Instant,
    last_hello: Instant,
    need: Option<Need>,
    next_probe: Instant,
    /// Until then those who introduce themselves put the PROBE off.
    listening_until: Instant,
    last_probe: Option<Instant>,
    probe_interval: Duration,
    has_room: bool,
    answers: VecDeque<(Instant, Origin)>,
    /// When the answers that were given are forgotten.
    answers_paid: Instant,
    actions: VecDeque<BeaconAction>,
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
            population: Population::default(),
            crowd: Crowd::new(now),
            hellos_sent: 0,
            next_hello: now,
            last_hello: now,
            need: None,
            next_probe,
            listening_until: now + LONGEST_LISTENING,
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
            self.population.remove(&beacon.sender);
            return;
        }
        let new = self.population.hear(beacon.sender, beacon.population, now);
        if new && beacon.message == BeaconMessage::Hello {
            self.crowd.hear(now);
        }
        if new && now < self.listening_until {
            let later = now + FIRST_PROBE + self.dice.up_to(FIRST_PROBE);
            self.next_probe = self.next_probe.max(later.min(self.listening_until));
        }
        if let BeaconMessage::Probe { wanted, known } = &beacon.message {
            let mine = ShortHash::of(&self.me, beacon.sequence);
            let interval = MIN_PROBE_INTERVAL / 2;
            let again = self.population.asks_again(&beacon.sender, interval, now);
            if !again && !known.contains(&mine) {
                self.consider_answer(*wanted, known.len(), from, now);
            }
        }
    }

    /// Is told whenever the number of missing peers changes.
    pub fn handle_need(&mut self, need: Option<Need>, now: Instant) {
        let asked = self.last_probe.is_some() || self.next_probe <= now;
        if self.need.is_none() && need.is_some() && asked {
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
        self.crowd = Crowd::new(now);
        self.listening_until = now + LONGEST_LISTENING;
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
            self.announce(now);
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
        self.population.count()
    }

    fn announce(&mut self, now: Instant) {
        let crowd = CROWD_SPACING.saturating_mul(self.population.estimate());
        let repeats = (1..HELLOS.len()).contains(&self.hellos_sent);
        if repeats && now < self.last_hello + crowd * 3 / 4 {
            // Only now it is known how many there are.
            self.next_hello = self.last_hello + self.dice.about(crowd);
            self.next_hello = self.next_hello.max(now + ANSWER_INTERVAL);
            return;
        }
        self.actions.push_back(BeaconAction::Hello);
        self.last_hello = now;
        self.hellos_sent += 1;
        let wait = match HELLOS.get(self.hellos_sent) {
            Some(time) => crowd.max(*time - HELLOS[self.hellos_sent - 1]),
            None => self.period(),
        };
        self.next_hello = now + self.dice.about(wait);
        let remembered = self.period() * PERIODS_REMEMBERED;
        self.population.forget_the_silent(remembered, now);
    }

    fn period(&self) -> Duration {
        SITE_INTERVAL
            .saturating_mul(self.population.estimate())
            .clamp(MIN_PERIOD, Duration::from_secs(3600))
    }

    fn not_too_soon(&self, wish: Instant) -> Instant {
        self.last_probe
            .map_or(wish, |last| wish.max(last + MIN_PROBE_INTERVAL))
    }

    fn consider_answer(&mut self, wanted: u16, known: usize, to: Origin, now: Instant) {
        // Neither the asking node nor those it knows answer.
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        let population = self.population.estimate().max(self.crowd.size(now));
        let candidates = population.saturating_sub(known + 1).max(1);
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
