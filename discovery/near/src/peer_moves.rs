//! What the peer table does when a peer, or this node, is at another address.

use std::net::SocketAddr;
use std::time::Instant;

use libp2p_identity::PeerId;

use crate::Departure;
use crate::peer_state::{PeerState, Setback};
use crate::peer_table::PeerTable;
use crate::table_action::{DialTarget, TableAction};

impl PeerTable {
    /// The links of this node are others: whoever is on the list may be out of reach by
    /// its connection.
    pub fn handle_links_changed(&mut self) {
        let listed: Vec<PeerId> = self.listed().map(|info| info.id).collect();
        let checks = listed.into_iter().map(TableAction::Check);
        self.actions.extend(checks);
    }

    /// A peer did not answer a check. It keeps its place while it is called again where
    /// it was heard last.
    pub fn handle_check_failed(&mut self, peer: PeerId, now: Instant) {
        let again = self.entries.get_mut(&peer).and_then(|mut entry| {
            let address = entry.addresses.best().filter(|_| !entry.leaving)?;
            match &mut entry.state {
                PeerState::Listed { called, .. } if called.is_none() => {
                    *called = Some(address);
                    Some(address)
                }
                _ => None,
            }
        });
        match again {
            Some(address) => self.actions.push_back(TableAction::Dial {
                target: DialTarget::Peer(peer),
                address,
            }),
            None => {
                self.handle_dismissal(peer, Departure::Unreachable, Setback::Unreachable, now);
            }
        }
    }

    /// Whether a peer on the list is called again, since its connection seems broken.
    #[must_use]
    pub fn is_called_again(&self, peer: &PeerId) -> bool {
        let entry = self.entries.get(peer);
        entry.is_some_and(|entry| match entry.state {
            PeerState::Listed { called, .. } => called.is_some(),
            _ => false,
        })
    }

    /// A call to a peer that is on the list came to nothing.
    pub(crate) fn handle_redial_failed(&mut self, peer: PeerId, why: Setback, now: Instant) {
        let Some(mut entry) = self.entries.get_mut(&peer) else {
            return;
        };
        let PeerState::Listed { called, .. } = &mut entry.state else {
            return;
        };
        // It called us meanwhile.
        let Some(address) = called.take() else {
            return;
        };
        let another = why == Setback::Unreachable && entry.addresses.fail(address);
        drop(entry);
        if another {
            self.handle_check_failed(peer, now);
        } else {
            self.handle_dismissal(peer, Departure::Unreachable, why, now);
        }
    }

    /// Where nobody answers another address may; a refusal is that of the node.
    pub(crate) fn try_elsewhere(
        &mut self,
        peer: PeerId,
        address: SocketAddr,
        why: Setback,
        now: Instant,
    ) {
        if let Some(mut entry) = self.entries.get_mut(&peer)
            && why == Setback::Unreachable
            && entry.addresses.fail(address)
        {
            entry.state = PeerState::Candidate { from: now };
            return;
        }
        self.back_off(peer, why, now);
    }
}

#[cfg(test)]
#[path = "peer_moves_tests.rs"]
mod tests;
