//! What the peer table does with news from the subnet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

use crate::known_addresses::KnownAddresses;
use crate::peer_state::{PeerEntry, PeerState, Setback};
use crate::peer_table::PeerTable;
use crate::table_action::{Sighting, TableAction};

/// A restarted node is called again after this time even if it was refused before:
/// its certificate may be another. What runs can claim to be new is bounded by it.
const REFUSED_RESTART: Duration = Duration::from_secs(10);

impl PeerTable {
    /// A node was heard on the subnet.
    pub fn handle_sighting(&mut self, seen: &Sighting, now: Instant) {
        self.changed = true;
        if seen.peer == self.me {
            return;
        }
        let from = self.turn(&seen.peer, now);
        if !self.entries.contains_key(&seen.peer) && !self.entries.make_room(&mut self.dice, now) {
            return;
        }
        let mut entry = self.entries.get_or_insert(seen.peer, || PeerEntry {
            generation: seen.generation,
            addresses: KnownAddresses::default(),
            name: String::new(),
            state: PeerState::Candidate { from },
            failures: 0,
            heard: now,
            leaving: false,
            lost: false,
        });
        if seen.generation < entry.generation {
            return;
        }
        entry.heard = now;
        entry.name.clone_from(&seen.name);
        let elsewhere = entry.addresses.note(seen.address, now);
        if elsewhere && matches!(entry.state, PeerState::Listed { .. }) {
            // It may have left the address that its connection goes to.
            self.actions.push_back(TableAction::Check(seen.peer));
        }
        if seen.generation > entry.generation {
            entry.generation = seen.generation;
            entry.leaving = false;
            entry.restart(seen, from, now, &mut self.actions);
        }
        drop(entry);
        self.call_those_due(now);
        self.call_back(&seen.peer, now);
    }

    /// A node said goodbye.
    pub fn handle_goodbye(&mut self, peer: &PeerId, generation: u64) {
        self.changed = true;
        let Some(mut entry) = self.entries.get_mut(peer) else {
            return;
        };
        if generation < entry.generation {
            return;
        }
        match entry.state {
            PeerState::Candidate { .. } => {
                drop(entry);
                self.entries.remove(peer);
            }
            PeerState::BackedOff { why, .. } if why != Setback::Fault => {
                drop(entry);
                self.entries.remove(peer);
            }
            PeerState::BackedOff { .. } => {}
            PeerState::Dialing { .. } => entry.leaving = true,
            // Any member can say goodbye in another's name: believe the connection.
            PeerState::Connected | PeerState::Listed { .. } => {
                entry.leaving = true;
                self.actions.push_back(TableAction::Check(*peer));
            }
        }
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
            // Its generation is from the connection itself: an earlier run. But any member
            // can announce another, so the connection is believed, and asked.
            PeerState::Listed { info, .. } if info.generation < seen.generation => {
                actions.push_back(TableAction::Check(seen.peer));
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
