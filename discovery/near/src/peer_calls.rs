//! Whom the peer table calls, and when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;

use crate::beacon::MAX_KNOWN;
use crate::beacon_core::Need;
use crate::peer_state::PeerState;
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

    /// Everybody who may be called now.
    fn due(&self, now: Instant) -> Vec<(DialTarget, SocketAddr)> {
        let heard = self.entries.callable(now).filter_map(|peer| {
            let address = self.entries.get(peer)?.addresses.best()?;
            Some((DialTarget::Peer(*peer), address))
        });
        let statics = self.callable_statics().filter(|(_, _, from)| *from <= now);
        heard
            .chain(statics.map(|(target, address, _)| (target, address)))
            .collect()
    }

    pub(crate) fn call_those_due(&mut self, now: Instant) {
        self.release_statics(now);
        let mut free = self.free_calls();
        if free == 0 || self.is_out_of_calls(now) {
            return;
        }
        let mut due = self.due(now);
        while free > 0 && !due.is_empty() && !self.is_out_of_calls(now) {
            self.dials_paid = self.dials_paid.max(now) + DIAL_INTERVAL;
            // Any of them: if all called the same few, those would soon be full.
            let choice = self.dice.below(due.len() as u64);
            let choice = usize::try_from(choice).expect("an index");
            let (target, address) = due.swap_remove(choice);
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
