//! Whom the peer table calls, and when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

use crate::beacon::MAX_KNOWN;
use crate::beacon_core::Need;
use crate::peer_state::{PeerState, Setback};
use crate::peer_table::PeerTable;
use crate::static_peer::StaticState;
use crate::table_action::{DialTarget, TableAction};

/// Of two nodes that hear each other, the one with the smaller id calls; the other
/// waits this long before it does so itself, so that there is one connection.
pub(crate) const GRACE: Duration = Duration::from_millis(400);
/// Calls under way at once.
const MAX_DIALS: usize = 8;
/// Calls at once, before `DIAL_INTERVAL` holds.
pub(crate) const DIAL_BURST: u32 = 16;
const DIAL_INTERVAL: Duration = Duration::from_millis(50);
/// Places beyond those that calls are made for, for peers that were lost and come back.
const CALLED_BACK: usize = 2;

impl PeerTable {
    /// When somebody may be called who may not be called now.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.free_calls() == 0 {
            return None;
        }
        let statics = self.callable_statics().map(|(_, _, from)| from).min();
        let due = self
            .entries
            .next_callable()
            .into_iter()
            .chain(statics)
            .min()?;
        let rate = DIAL_INTERVAL * DIAL_BURST;
        let paid = self.dials_paid.checked_sub(rate).unwrap_or(due);
        Some(due.max(paid))
    }

    /// How many peers are missing that nobody is known for.
    pub fn need(&self) -> Option<Need> {
        let provided = self.occupied() + self.entries.candidates();
        let missing = self.target().checked_sub(provided).filter(|&n| n > 0)?;
        Some(Need {
            wanted: u16::try_from(missing).unwrap_or(u16::MAX),
            known: self.entries.nearest(MAX_KNOWN),
        })
    }

    /// Calls are made for three quarters of the places.
    const fn target(&self) -> usize {
        self.max_peers - self.max_peers / 4
    }

    /// How many calls may begin now, but for their rate.
    fn free_calls(&self) -> usize {
        let statics = self.statics.iter();
        let static_dialing = statics.filter(|it| matches!(it.state, StaticState::Dialing));
        let free = MAX_DIALS.saturating_sub(self.entries.dialing() + static_dialing.count());
        free.min(self.target().saturating_sub(self.occupied()))
    }

    /// Everybody who may be called now, those with the fewest failures last: whoever
    /// announces nodes that are not there must not keep others from being called.
    fn due(&mut self, now: Instant) -> Vec<DialTarget> {
        let heard = self.entries.callable(now).filter_map(|peer| {
            let entry = self.entries.get(peer)?;
            Some((entry.failures, DialTarget::Peer(*peer)))
        });
        let statics = self.callable_statics().filter(|(_, _, from)| *from <= now);
        let statics = statics.map(|(target, _, _)| (0, target));
        let mut due: Vec<_> = heard.chain(statics).collect();
        // Any of them: if all called the same few, those would soon be full.
        self.dice.shuffle(&mut due);
        due.sort_by_key(|(failures, _)| std::cmp::Reverse(*failures));
        due.into_iter().map(|(_, target)| target).collect()
    }

    /// Where to call.
    fn address_of(&self, target: DialTarget) -> Option<SocketAddr> {
        match target {
            DialTarget::Peer(peer) => self.entries.get(&peer)?.addresses.best(),
            DialTarget::Static(index) => self.statics.get(index)?.address,
        }
    }

    pub(crate) fn call_those_due(&mut self, now: Instant) {
        self.release_statics(now);
        let mut free = self.free_calls();
        if free == 0 || self.is_out_of_calls(now) {
            return;
        }
        let mut due = self.due(now);
        while free > 0
            && !self.is_out_of_calls(now)
            && let Some(target) = due.pop()
        {
            let Some(address) = self.address_of(target) else {
                continue;
            };
            self.dials_paid = self.dials_paid.max(now) + DIAL_INTERVAL;
            match target {
                DialTarget::Peer(peer) => {
                    if let Some(mut entry) = self.entries.get_mut(&peer) {
                        entry.state = PeerState::Dialing { address };
                    }
                }
                DialTarget::Static(index) => self.statics[index].state = StaticState::Dialing,
            }
            self.actions
                .push_back(TableAction::Dial { target, address });
            free -= 1;
        }
    }

    /// A node was heard that was a peer until its connection broke. The subnet may have
    /// been in two parts, each of which has found peers enough for itself by now: a few
    /// calls beyond what is looked for make it one again.
    pub(crate) fn call_back(&mut self, peer: &PeerId, now: Instant) {
        let places = (self.target() + CALLED_BACK).min(self.max_peers);
        let has_place = self.occupied() < places && self.entries.dialing() < MAX_DIALS;
        if !has_place || self.is_out_of_calls(now) {
            return;
        }
        let Some(mut entry) = self.entries.get_mut(peer) else {
            return;
        };
        let may_be_called = match entry.state {
            PeerState::Candidate { .. } => true,
            PeerState::BackedOff { why, .. } => why == Setback::Unreachable,
            _ => false,
        };
        let Some(address) = entry
            .addresses
            .best()
            .filter(|_| may_be_called && entry.lost)
        else {
            return;
        };
        entry.state = PeerState::Dialing { address };
        drop(entry);
        self.dials_paid = self.dials_paid.max(now) + DIAL_INTERVAL;
        let target = DialTarget::Peer(*peer);
        self.actions
            .push_back(TableAction::Dial { target, address });
    }

    /// Whether as many calls were made lately as may be.
    fn is_out_of_calls(&self, now: Instant) -> bool {
        self.dials_paid.max(now) > now + DIAL_INTERVAL * DIAL_BURST
    }

    /// When it is our turn to call a node that was only just heard.
    pub(crate) fn turn(&mut self, peer: &PeerId, now: Instant) -> Instant {
        if self.me < *peer {
            now
        } else {
            now + GRACE + self.dice.up_to(GRACE / 4)
        }
    }
}
