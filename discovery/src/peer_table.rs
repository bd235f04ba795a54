//! Who is a peer, who could become one, and whom to call next.
//!
//! A node is heard of, called, proven by its certificate, and listed once it has
//! answered a Hello over the proven connection. The list never holds more than
//! `max_peers`; calls never run faster than `DIAL_INTERVAL` allows.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::beacon_core::Need;
use crate::dice::Dice;
use crate::peer_state::{PeerEntry, PeerState, Setback};
use crate::static_peer::{StaticPeer, StaticState};
use crate::{Departure, PeerInfo};

/// How many nodes are remembered, peers or not.
const MAX_ENTRIES: usize = 1024;
/// A node that is no peer and was silent for this long is forgotten: longer than the
/// announcements of a large site are apart.
const FORGET_AFTER: Duration = Duration::from_secs(45 * 60);
/// Of two nodes that hear each other, the one with the smaller id calls; the other
/// waits this long before it does so itself, so that there is one connection.
const GRACE: Duration = Duration::from_millis(400);
/// Calls under way at once.
const MAX_DIALS: usize = 8;
/// Calls at once, before `DIAL_INTERVAL` holds.
const DIAL_BURST: u32 = 16;
const DIAL_INTERVAL: Duration = Duration::from_millis(50);
/// A restarted node is called again after this time even if it was refused before:
/// its certificate may be another. What runs can claim to be new is bounded by it.
const REFUSED_RESTART: Duration = Duration::from_secs(10);
/// A peer that was listed for less counts as a failure when it goes.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// A node that was heard on the subnet.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) peer: PeerId,
    pub(crate) generation: u64,
    /// Its control port.
    pub(crate) address: SocketAddr,
}

/// Whom a call is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum DialTarget {
    Peer(PeerId),
    /// The configured peer at this place of the list.
    Static(usize),
}

/// Whether a proven node is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Welcome,
    /// There are as many peers as wanted.
    Full,
    /// It did wrong lately.
    Shunned,
}

/// What the driver owes after a decision.
#[derive(Debug)]
pub(crate) enum TableAction {
    Dial {
        target: DialTarget,
        address: SocketAddr,
    },
    /// Close every connection with the peer.
    Close(PeerId),
    /// See at once whether the peer still answers.
    Check(PeerId),
    Added(PeerInfo),
    Removed(PeerInfo, Departure),
}

/// The nodes that are known. Every node is in one state; the listed ones are peers.
pub(crate) struct PeerTable {
    me: PeerId,
    max_peers: usize,
    dice: Dice,
    entries: BTreeMap<PeerId, PeerEntry>,
    statics: Vec<StaticPeer>,
    /// When the calls that were made are forgotten.
    dials_paid: Instant,
    actions: VecDeque<TableAction>,
    /// Something changed since `take_changed`.
    changed: bool,
}

impl PeerTable {
    pub(crate) fn new(
        me: PeerId,
        max_peers: usize,
        statics: Vec<StaticPeer>,
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            me,
            max_peers,
            dice: Dice::new(seed),
            entries: BTreeMap::new(),
            statics,
            dials_paid: now,
            actions: VecDeque::new(),
            changed: false,
        }
    }

    /// A node was heard on the subnet.
    pub(crate) fn handle_sighting(&mut self, seen: &Sighting, now: Instant) {
        self.changed = true;
        if seen.peer == self.me {
            return;
        }
        let from = self.turn(&seen.peer, now);
        if !self.entries.contains_key(&seen.peer) && !self.make_room(now) {
            return;
        }
        let entry = self.entries.entry(seen.peer).or_insert(PeerEntry {
            generation: seen.generation,
            address: None,
            state: PeerState::Candidate { from },
            failures: 0,
            heard: now,
            leaving: false,
        });
        if seen.generation < entry.generation {
            return;
        }
        entry.heard = now;
        if !matches!(entry.state, PeerState::Dialing) || entry.address.is_none() {
            entry.address = Some(seen.address);
        }
        if seen.generation > entry.generation {
            entry.generation = seen.generation;
            entry.leaving = false;
            entry.restart(seen, from, now, &mut self.actions);
        }
        self.call_those_due(now);
    }

    /// A node said goodbye.
    pub(crate) fn handle_goodbye(&mut self, peer: &PeerId, generation: u64) {
        self.changed = true;
        let Some(entry) = self.entries.get_mut(peer) else {
            return;
        };
        if generation < entry.generation {
            return;
        }
        match entry.state {
            PeerState::Candidate { .. } => {
                self.entries.remove(peer);
            }
            PeerState::BackedOff { why, .. } if why != Setback::Fault => {
                self.entries.remove(peer);
            }
            PeerState::BackedOff { .. } => {}
            PeerState::Dialing => entry.leaving = true,
            // Any member can say goodbye in another's name: believe the connection.
            PeerState::Connected | PeerState::Listed { .. } => {
                entry.leaving = true;
                self.actions.push_back(TableAction::Check(*peer));
            }
        }
    }

    /// A connection was made and its certificate is proven. Without an address the
    /// peer called us.
    pub(crate) fn handle_connected(
        &mut self,
        peer: PeerId,
        dialed: Option<DialTarget>,
        now: Instant,
    ) -> Admission {
        self.changed = true;
        if let Some(DialTarget::Static(index)) = dialed
            && let Some(configured) = self.statics.get_mut(index)
        {
            configured.state = StaticState::Known(peer);
            configured.failures = 0;
        }
        let occupied = self.occupied();
        let known = self.entries.contains_key(&peer);
        if !known && !self.make_room(now) {
            return Admission::Full;
        }
        let entry = self.entries.entry(peer).or_insert(PeerEntry {
            generation: 0,
            address: None,
            state: PeerState::Candidate { from: now },
            failures: 0,
            heard: now,
            leaving: false,
        });
        if let Some(DialTarget::Static(index)) = dialed {
            entry.address = self.statics.get(index).and_then(|known| known.address);
        }
        match entry.state {
            PeerState::BackedOff {
                why: Setback::Fault,
                until,
            } if now < until => Admission::Shunned,
            PeerState::Connected | PeerState::Listed { .. } => Admission::Welcome,
            PeerState::Dialing => {
                entry.state = PeerState::Connected;
                Admission::Welcome
            }
            _ if occupied >= self.max_peers => {
                if !known {
                    self.entries.remove(&peer);
                }
                Admission::Full
            }
            _ => {
                entry.state = PeerState::Connected;
                Admission::Welcome
            }
        }
    }

    /// A proven node has answered a Hello.
    pub(crate) fn handle_hello(&mut self, info: PeerInfo, now: Instant) {
        self.changed = true;
        let Some(entry) = self.entries.get_mut(&info.id) else {
            return;
        };
        if !entry.state.is_connected() {
            return;
        }
        if let PeerState::Listed { info: former, .. } = &entry.state {
            if former.generation == info.generation && former.address == info.address {
                return;
            }
            let gone = TableAction::Removed(former.clone(), Departure::Restarted);
            self.actions.push_back(gone);
        }
        entry.generation = entry.generation.max(info.generation);
        entry.heard = now;
        entry.leaving = false;
        entry.state = PeerState::Listed {
            info: info.clone(),
            since: now,
        };
        self.actions.push_back(TableAction::Added(info));
    }

    /// The last connection with a peer ended.
    pub(crate) fn handle_disconnected(
        &mut self,
        peer: &PeerId,
        departure: Departure,
        setback: Setback,
        now: Instant,
    ) {
        self.changed = true;
        let from = self.turn(peer, now);
        let Some(entry) = self.entries.get_mut(peer) else {
            return;
        };
        let stable = match &entry.state {
            PeerState::Listed { info, since } => {
                let left = entry.leaving.then_some(Departure::Left);
                let gone = TableAction::Removed(info.clone(), left.unwrap_or(departure));
                self.actions.push_back(gone);
                now.saturating_duration_since(*since) >= STABLE_AFTER
            }
            PeerState::Connected => false,
            // Closed by a decision of ours, which set the state already.
            _ => return,
        };
        if entry.leaving {
            self.entries.remove(peer);
        } else if stable && setback == Setback::Unreachable {
            entry.failures = 0;
            entry.state = PeerState::Candidate { from };
        } else {
            self.back_off(*peer, setback, now);
        }
        self.call_those_due(now);
    }

    /// A call came to nothing.
    pub(crate) fn handle_dial_failed(&mut self, target: DialTarget, why: Setback, now: Instant) {
        self.changed = true;
        match target {
            DialTarget::Peer(peer) => {
                let entry = self.entries.get(&peer);
                match entry.map(|entry| (&entry.state, entry.leaving)) {
                    Some((PeerState::Dialing, true)) => {
                        self.entries.remove(&peer);
                    }
                    Some((PeerState::Dialing, false)) => self.back_off(peer, why, now),
                    _ => {}
                }
            }
            DialTarget::Static(index) => {
                if let Some(configured) = self.statics.get_mut(index) {
                    configured.failures = configured.failures.saturating_add(1);
                    let delay = self.dice.about(why.delay(configured.failures));
                    configured.state = StaticState::Waiting { from: now + delay };
                }
            }
        }
        self.call_those_due(now);
    }

    /// A configured peer turned out to be this node.
    pub(crate) fn handle_myself(&mut self, target: DialTarget) {
        self.changed = true;
        match target {
            DialTarget::Peer(peer) => {
                self.entries.remove(&peer);
            }
            DialTarget::Static(index) => {
                if let Some(configured) = self.statics.get_mut(index) {
                    configured.state = StaticState::Myself;
                }
            }
        }
    }

    /// The host of a configured peer was resolved.
    pub(crate) fn handle_resolved(&mut self, index: usize, address: SocketAddr, now: Instant) {
        self.changed = true;
        if let Some(configured) = self.statics.get_mut(index) {
            configured.address = Some(address);
        }
        self.call_those_due(now);
    }

    /// A peer is to go, by a decision of ours.
    pub(crate) fn handle_dismissal(
        &mut self,
        peer: PeerId,
        departure: Departure,
        setback: Setback,
        now: Instant,
    ) {
        self.changed = true;
        let Some(entry) = self.entries.get_mut(&peer) else {
            return;
        };
        if let PeerState::Listed { info, .. } = &entry.state {
            let gone = TableAction::Removed(info.clone(), departure);
            self.actions.push_back(gone);
        }
        if entry.state.is_connected() {
            self.actions.push_back(TableAction::Close(peer));
        }
        self.back_off(peer, setback, now);
        self.call_those_due(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.changed = true;
        self.entries.retain(|_, entry| {
            entry.state.is_occupied() || now.saturating_duration_since(entry.heard) < FORGET_AFTER
        });
        self.call_those_due(now);
    }

    pub(crate) fn poll_action(&mut self) -> Option<TableAction> {
        self.actions.pop_front()
    }

    /// When somebody may be called who may not be called now.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.free_calls() == 0 {
            return None;
        }
        let due = self.callable().map(|(_, _, from)| from).min()?;
        let rate = DIAL_INTERVAL * DIAL_BURST;
        let paid = self.dials_paid.checked_sub(rate).unwrap_or(due);
        Some(due.max(paid))
    }

    /// Whether `need` and `has_room` may be others than at the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The peer list.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &PeerInfo> {
        self.entries
            .values()
            .filter_map(|entry| match &entry.state {
                PeerState::Listed { info, .. } => Some(info),
                _ => None,
            })
    }

    /// The peer's line on the list, if it is there.
    pub(crate) fn info(&self, peer: &PeerId) -> Option<&PeerInfo> {
        match &self.entries.get(peer)?.state {
            PeerState::Listed { info, .. } => Some(info),
            _ => None,
        }
    }

    /// Whether one more peer would be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.occupied() < self.max_peers
    }

    /// How many peers are missing that nobody is known for.
    pub(crate) fn need(&self) -> Option<Need> {
        let candidates = self
            .entries
            .values()
            .filter(|entry| matches!(entry.state, PeerState::Candidate { .. }));
        let provided = self.occupied() + candidates.count();
        let missing = self.target().checked_sub(provided).filter(|&n| n > 0)?;
        Some(Need {
            wanted: u16::try_from(missing).unwrap_or(u16::MAX),
            known: self.entries.keys().copied().collect(),
        })
    }

    /// Configured peers that are not connected, with their index: to be resolved.
    pub(crate) fn statics_to_resolve(&self) -> Vec<(usize, String, u16)> {
        let waiting = |configured: &StaticPeer| match &configured.state {
            StaticState::Waiting { .. } => true,
            StaticState::Known(peer) => {
                let entry = self.entries.get(peer);
                !entry.is_some_and(|entry| entry.state.is_occupied())
            }
            StaticState::Dialing | StaticState::Myself => false,
        };
        let listed = self.statics.iter().enumerate();
        listed
            .filter(|(_, configured)| waiting(configured))
            .map(|(index, it)| (index, it.host.clone(), it.control_port()))
            .collect()
    }

    /// Calls are made for three quarters of the places.
    const fn target(&self) -> usize {
        self.max_peers - self.max_peers / 4
    }

    fn occupied(&self) -> usize {
        let entries = self.entries.values();
        let entries = entries.filter(|entry| entry.state.is_occupied()).count();
        let statics = self.statics.iter();
        let dialing = statics.filter(|it| matches!(it.state, StaticState::Dialing));
        entries + dialing.count()
    }

    /// How many calls may begin now, but for their rate.
    fn free_calls(&self) -> usize {
        let entries = self.entries.values();
        let dialing = entries.filter(|entry| matches!(entry.state, PeerState::Dialing));
        let statics = self.statics.iter();
        let static_dialing = statics.filter(|it| matches!(it.state, StaticState::Dialing));
        let free = MAX_DIALS.saturating_sub(dialing.count() + static_dialing.count());
        free.min(self.target().saturating_sub(self.occupied()))
    }

    /// Everybody who could be called, and from when on.
    fn callable(&self) -> impl Iterator<Item = (DialTarget, SocketAddr, Instant)> {
        let heard = self.entries.iter().filter_map(|(peer, entry)| {
            let from = match entry.state {
                PeerState::Candidate { from } => from,
                PeerState::BackedOff { until, .. } => until,
                _ => return None,
            };
            Some((DialTarget::Peer(*peer), entry.address?, from))
        });
        let statics = self.statics.iter().enumerate();
        let configured = statics.filter_map(|(index, it)| match it.state {
            StaticState::Waiting { from } => Some((DialTarget::Static(index), it.address?, from)),
            _ => None,
        });
        heard.chain(configured)
    }

    /// A configured peer whose entry is gone is called by its address again.
    fn release_statics(&mut self, now: Instant) {
        for configured in &mut self.statics {
            if let StaticState::Known(peer) = &configured.state
                && !self.entries.contains_key(peer)
            {
                let from = now + self.dice.about(Setback::Unreachable.delay(1));
                configured.state = StaticState::Waiting { from };
            }
        }
    }

    fn call_those_due(&mut self, now: Instant) {
        self.release_statics(now);
        let mut free = self.free_calls();
        if free == 0 {
            return;
        }
        let due = self.callable().filter(|(_, _, from)| *from <= now);
        let mut due: Vec<_> = due.collect();
        while free > 0 && !due.is_empty() {
            let paid = self.dials_paid.max(now);
            if paid > now + DIAL_INTERVAL * DIAL_BURST {
                return;
            }
            self.dials_paid = paid + DIAL_INTERVAL;
            // Any of them: if all called the same few, those would soon be full.
            let choice = self.dice.below(due.len() as u64);
            let choice = usize::try_from(choice).expect("an index");
            let (target, address, _) = due.swap_remove(choice);
            match target {
                DialTarget::Peer(peer) => {
                    if let Some(entry) = self.entries.get_mut(&peer) {
                        entry.state = PeerState::Dialing;
                    }
                }
                DialTarget::Static(index) => self.statics[index].state = StaticState::Dialing,
            }
            self.actions
                .push_back(TableAction::Dial { target, address });
            free -= 1;
        }
    }

    fn back_off(&mut self, peer: PeerId, why: Setback, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.failures = entry.failures.saturating_add(1);
            let until = now + self.dice.about(why.delay(entry.failures));
            entry.state = PeerState::BackedOff { until, why };
        }
    }

    /// When it is our turn to call a node that was only just heard.
    fn turn(&mut self, peer: &PeerId, now: Instant) -> Instant {
        if self.me < *peer {
            now
        } else {
            now + GRACE + self.dice.up_to(GRACE / 4)
        }
    }

    /// Makes room for one more entry; says whether there is some.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.entries.len() < MAX_ENTRIES {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, entry)| {
            !entry.state.is_occupied()
                && !matches!(entry.state, PeerState::BackedOff { why: Setback::Fault, until } if now < until)
        });
        let oldest = idle.min_by_key(|(_, entry)| entry.heard);
        let oldest = oldest.map(|(peer, _)| *peer);
        oldest.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }
}

impl PeerEntry {
    /// A later run of the node was heard.
    fn restart(
        &mut self,
        seen: &Sighting,
        from: Instant,
        now: Instant,
        actions: &mut VecDeque<TableAction>,
    ) {
        match &mut self.state {
            // Its generation is from the connection itself: an earlier run.
            PeerState::Listed { info, .. } if info.generation < seen.generation => {
                actions.push_back(TableAction::Removed(info.clone(), Departure::Restarted));
                actions.push_back(TableAction::Close(seen.peer));
                self.state = PeerState::Candidate { from };
            }
            PeerState::BackedOff { until, why } => match why {
                Setback::Unreachable | Setback::Full => {
                    self.failures = 0;
                    self.state = PeerState::Candidate { from };
                }
                Setback::Refused => *until = (*until).min(now + REFUSED_RESTART),
                Setback::Fault => {}
            },
            // The connection may be of the new run already.
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "peer_table_tests.rs"]
mod tests;
