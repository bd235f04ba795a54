//! Who is a peer, who could become one, and whom to call next.
//!
//! A node is heard of, called, proven by its certificate, and listed once it has
//! answered a Hello over the proven connection. The list never holds more than
//! `max_peers`; how fast it calls is bounded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

use crate::dice::Dice;
use crate::known_addresses::KnownAddresses;
use crate::peer_entries::PeerEntries;
use crate::peer_state::{PeerEntry, PeerState, Setback};
use crate::static_peer::{StaticPeer, StaticState};
use crate::table_action::{Admission, DialTarget, TableAction};
use crate::{Departure, PeerInfo};

/// A node that is no peer and was silent for this long is forgotten: longer than the
/// announcements of a large site are apart.
const FORGET_AFTER: Duration = Duration::from_secs(45 * 60);
/// How often those are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// A peer that was listed for less counts as a failure when it goes.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// The nodes that are known. Every node is in one state; the listed ones are peers.
pub struct PeerTable {
    pub(crate) me: PeerId,
    pub(crate) max_peers: usize,
    pub(crate) dice: Dice,
    pub(crate) entries: PeerEntries,
    pub(crate) statics: Vec<StaticPeer>,
    /// When the calls that were made are forgotten.
    pub(crate) dials_paid: Instant,
    /// When nodes that were silent for long are looked for.
    next_forgetting: Instant,
    pub(crate) actions: VecDeque<TableAction>,
    /// Something changed since `take_changed`.
    pub(crate) changed: bool,
}

impl PeerTable {
    /// For the node `me`, which starts now and takes at most `max_peers`. The seed is
    /// to differ from node to node.
    #[must_use]
    pub fn new(
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
            entries: PeerEntries::default(),
            statics,
            dials_paid: now,
            next_forgetting: now,
            actions: VecDeque::new(),
            changed: false,
        }
    }

    /// A connection was made and its certificate is proven. Without an address the
    /// peer called us.
    pub fn handle_connected(
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
        // Whoever is refused takes nobody's place.
        if !known && (occupied >= self.max_peers || !self.entries.make_room(&mut self.dice, now)) {
            return Admission::Full;
        }
        let mut entry = self.entries.get_or_insert(peer, || PeerEntry {
            generation: 0,
            addresses: KnownAddresses::default(),
            name: String::new(),
            state: PeerState::Candidate { from: now },
            failures: 0,
            heard: now,
            leaving: false,
            lost: false,
        });
        if let Some(DialTarget::Static(index)) = dialed {
            let address = self.statics.get(index).and_then(|known| known.address);
            if let Some(address) = address {
                entry.addresses.note(address, now);
            }
        }
        match &mut entry.state {
            PeerState::BackedOff {
                why: Setback::Fault,
                until,
            } if now < *until => Admission::Shunned,
            PeerState::Connected => Admission::Welcome,
            PeerState::Listed { called, .. } => {
                *called = None;
                entry.addresses.forgive();
                Admission::Welcome
            }
            PeerState::Dialing { .. } => {
                entry.addresses.forgive();
                entry.state = PeerState::Connected;
                Admission::Welcome
            }
            _ if occupied >= self.max_peers => Admission::Full,
            _ => {
                entry.state = PeerState::Connected;
                Admission::Welcome
            }
        }
    }

    /// A proven node has answered a Hello.
    pub fn handle_hello(&mut self, info: PeerInfo, now: Instant) {
        self.changed = true;
        let Some(mut entry) = self.entries.get_mut(&info.id) else {
            return;
        };
        if !entry.state.is_connected() {
            return;
        }
        if let PeerState::Listed { info: former, .. } = &mut entry.state {
            if former.generation == info.generation && former.address == info.address {
                if former.certificate_expires != info.certificate_expires {
                    former.certificate_expires = info.certificate_expires;
                    self.actions.push_back(TableAction::Renewed);
                }
                return;
            }
            if former.generation == info.generation {
                let from = std::mem::replace(&mut former.address, info.address);
                former.certificate_expires = info.certificate_expires;
                let moved = TableAction::Moved(former.clone(), from);
                self.actions.push_back(moved);
                return;
            }
            let gone = TableAction::Removed(former.clone(), Departure::Restarted);
            self.actions.push_back(gone);
        }
        entry.generation = entry.generation.max(info.generation);
        entry.heard = now;
        entry.leaving = false;
        entry.lost = false;
        entry.state = PeerState::Listed {
            info: info.clone(),
            since: now,
            called: None,
        };
        self.actions.push_back(TableAction::Added(info));
    }

    /// The last connection with a peer ended.
    pub fn handle_disconnected(
        &mut self,
        peer: &PeerId,
        departure: Departure,
        setback: Setback,
        now: Instant,
    ) {
        self.changed = true;
        let from = self.turn(peer, now);
        let Some(mut entry) = self.entries.get_mut(peer) else {
            return;
        };
        let stable = match &entry.state {
            // Its place is kept until the call has succeeded or failed.
            PeerState::Listed {
                called: Some(_), ..
            } => return,
            PeerState::Listed { info, since, .. } => {
                let left = entry.leaving.then_some(Departure::Left);
                let gone = TableAction::Removed(info.clone(), left.unwrap_or(departure));
                self.actions.push_back(gone);
                now.saturating_duration_since(*since) >= STABLE_AFTER
            }
            PeerState::Connected => false,
            // Closed by a decision of ours, which set the state already.
            _ => return,
        };
        let leaving = entry.leaving;
        entry.lost |= matches!(entry.state, PeerState::Listed { .. });
        let again = stable && setback == Setback::Unreachable && !leaving;
        if again {
            entry.failures = 0;
            entry.state = PeerState::Candidate { from };
        }
        drop(entry);
        if leaving {
            self.entries.remove(peer);
        } else if !again {
            self.back_off(*peer, setback, now);
        }
        self.call_those_due(now);
    }

    /// A call came to nothing.
    pub fn handle_dial_failed(&mut self, target: DialTarget, why: Setback, now: Instant) {
        self.changed = true;
        match target {
            DialTarget::Peer(peer) => {
                let entry = self.entries.get(&peer);
                match entry.map(|entry| (&entry.state, entry.leaving)) {
                    Some((PeerState::Dialing { .. }, true)) => {
                        self.entries.remove(&peer);
                    }
                    Some((PeerState::Dialing { address }, false)) => {
                        self.try_elsewhere(peer, *address, why, now);
                    }
                    Some((PeerState::Listed { .. }, _)) => {
                        self.handle_redial_failed(peer, why, now);
                    }
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

    /// A peer is to go, by a decision of ours.
    pub fn handle_dismissal(
        &mut self,
        peer: PeerId,
        departure: Departure,
        setback: Setback,
        now: Instant,
    ) {
        self.changed = true;
        let Some(mut entry) = self.entries.get_mut(&peer) else {
            return;
        };
        if let PeerState::Listed { info, .. } = &entry.state {
            let gone = TableAction::Removed(info.clone(), departure);
            self.actions.push_back(gone);
            entry.lost = setback == Setback::Unreachable;
        }
        if entry.state.is_connected() {
            self.actions.push_back(TableAction::Close(peer));
        }
        drop(entry);
        self.back_off(peer, setback, now);
        self.call_those_due(now);
    }

    /// It is later. To be called when [`poll_timeout`](Self::poll_timeout) says, and now
    /// and then.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.changed = true;
        if self.next_forgetting <= now {
            self.next_forgetting = now + FORGET_INTERVAL;
            self.entries.retain(|entry| {
                let silent = now.saturating_duration_since(entry.heard);
                entry.state.is_occupied() || silent < FORGET_AFTER
            });
        }
        self.call_those_due(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<TableAction> {
        self.actions.pop_front()
    }

    /// Whether `need` and `has_room` may be others than at the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The peer list.
    pub fn listed(&self) -> impl Iterator<Item = &PeerInfo> {
        self.entries
            .values()
            .filter_map(|entry| match &entry.state {
                PeerState::Listed { info, .. } => Some(info),
                _ => None,
            })
    }

    /// The peer's line on the list, if it is there.
    pub fn info(&self, peer: &PeerId) -> Option<&PeerInfo> {
        match &self.entries.get(peer)?.state {
            PeerState::Listed { info, .. } => Some(info),
            _ => None,
        }
    }

    /// The name that a node goes by, unproven.
    pub fn name(&self, peer: &PeerId) -> Option<String> {
        let name = &self.entries.get(peer)?.name;
        (!name.is_empty()).then(|| name.clone())
    }

    /// Whether one more peer would be taken.
    pub fn has_room(&self) -> bool {
        self.occupied() < self.max_peers
    }

    /// How many places are taken, by peers and by those who are being called.
    pub(crate) fn occupied(&self) -> usize {
        let statics = self.statics.iter();
        let dialing = statics.filter(|it| matches!(it.state, StaticState::Dialing));
        self.entries.occupied() + dialing.count()
    }

    pub(crate) fn back_off(&mut self, peer: PeerId, why: Setback, now: Instant) {
        if let Some(mut entry) = self.entries.get_mut(&peer) {
            entry.failures = entry.failures.saturating_add(1);
            let until = now + self.dice.about(why.delay(entry.failures));
            entry.state = PeerState::BackedOff { until, why };
        }
    }
}

#[cfg(test)]
#[path = "peer_table_tests.rs"]
pub(crate) mod tests;
