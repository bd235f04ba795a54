//! The configured peers of the peer table.

use std::net::SocketAddr;
use std::time::Instant;

use crate::peer_state::Setback;
use crate::peer_table::PeerTable;
use crate::static_peer::{StaticPeer, StaticState};
use crate::table_action::DialTarget;

impl PeerTable {
    /// Configured peers that are not connected, with their index: to be resolved.
    pub fn statics_to_resolve(&self) -> Vec<(usize, String, u16)> {
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

    /// A configured peer turned out to be this node.
    pub fn handle_myself(&mut self, target: DialTarget) {
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
    pub fn handle_resolved(&mut self, index: usize, address: SocketAddr, now: Instant) {
        self.changed = true;
        if let Some(configured) = self.statics.get_mut(index) {
            configured.address = Some(address);
        }
        self.call_those_due(now);
    }

    /// The configured peers that could be called, and from when on.
    pub(crate) fn callable_statics(
        &self,
    ) -> impl Iterator<Item = (DialTarget, SocketAddr, Instant)> {
        let statics = self.statics.iter().enumerate();
        statics.filter_map(|(index, it)| match it.state {
            StaticState::Waiting { from } => Some((DialTarget::Static(index), it.address?, from)),
            _ => None,
        })
    }

    /// A configured peer whose entry is gone is called by its address again.
    pub(crate) fn release_statics(&mut self, now: Instant) {
        for configured in &mut self.statics {
            if let StaticState::Known(peer) = &configured.state
                && !self.entries.contains_key(peer)
            {
                let from = now + self.dice.about(Setback::Unreachable.delay(1));
                configured.state = StaticState::Waiting { from };
            }
        }
    }
}
