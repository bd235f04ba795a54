//! Keeping requests, peers and pieces in step.

use std::time::Instant;

use potluck_content::PieceIndex;

use super::peer::{Patience, Peer, Performance, Request};
use super::pieces::PieceState;
use super::{Action, FilePlan, MAX_DROPPED};
use crate::{DropReason, Holding, PeerKey, RequestId, ServeLimits, Source};

impl FilePlan {
    /// A request has one piece less to bring. Says whether it is over.
    pub(super) fn disown(&mut self, id: RequestId) -> bool {
        let Some(request) = self.requests.get_mut(&id) else {
            return false;
        };
        request.owned = request.owned.saturating_sub(1);
        if request.owned > 0 {
            return false;
        }
        if request.next < request.run.end {
            self.cancel(id);
        } else {
            self.remove_request(id);
        }
        true
    }

    pub(super) fn finish_if_complete(&mut self) {
        if self.pieces.is_complete() && !self.finished {
            let rest: Vec<RequestId> = self.requests.keys().copied().collect();
            for id in rest {
                self.cancel(id);
            }
            self.judge_at = None;
            self.finished = true;
            self.actions.push_back(Action::Finished);
        }
    }

    pub(super) fn cancel(&mut self, id: RequestId) {
        if self.remove_request(id).is_some() {
            self.actions.push_back(Action::Cancel { request: id });
        }
    }

    pub(super) fn cancel_all(&mut self, source: Source) {
        let all: Vec<RequestId> = self
            .requests
            .keys()
            .copied()
            .filter(|id| id.source == source)
            .collect();
        for id in all {
            self.cancel(id);
        }
    }

    /// Forgets a request; what it did not bring is missing again.
    pub(super) fn remove_request(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.pieces.release(id, request.run.clone());
        match id.source {
            Source::Origin => self.origin.in_flight -= 1,
            Source::Peer(key) => {
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.in_flight -= 1;
                }
            }
        }
        Some(request)
    }

    /// A peer holds this, whatever was known of it before.
    pub(super) fn set_holding(&mut self, key: PeerKey, holding: Holding, now: Instant) {
        self.pieces.add_holder(&holding);
        if let Some(peer) = self.peers.get_mut(&key) {
            let before = std::mem::replace(&mut peer.holding, holding);
            peer.barren = None;
            self.pieces.remove_holder(&before);
        } else {
            let peer = Peer {
                holding,
                performance: Performance::new(&self.config, now),
                patience: Patience::default(),
                in_flight: 0,
                limits: None,
                barren: None,
            };
            self.peers.insert(key, peer);
        }
    }

    /// A peer says how much it serves at most, if it does.
    pub(super) fn set_limits(&mut self, key: PeerKey, limits: Option<ServeLimits>) {
        if let (Some(limits), Some(peer)) = (limits, self.peers.get_mut(&key)) {
            peer.limits = Some(limits);
        }
    }

    /// A peer got these too.
    pub(super) fn add_peer_pieces(&mut self, key: PeerKey, pieces: &[PieceIndex]) {
        if let Some(peer) = self.peers.get_mut(&key)
            && let Holding::Pieces(bitfield) = &mut peer.holding
        {
            peer.barren = None;
            for index in pieces {
                if index.0 < bitfield.pieces() && bitfield.set(*index) {
                    self.pieces.add_holder_of(index.0);
                }
            }
        }
    }

    pub(super) fn remove_peer(&mut self, key: PeerKey, now: Instant) {
        self.cancel_all(Source::Peer(key));
        if let Some(peer) = self.peers.remove(&key) {
            self.pieces.remove_holder(&peer.holding);
        }
        if let Some(swarm) = &mut self.swarm {
            swarm.remove(key, now);
        }
    }

    pub(super) fn drop_peer(&mut self, key: PeerKey, reason: DropReason, now: Instant) {
        let known = self.peers.contains_key(&key);
        self.remove_peer(key, now);
        if (known || self.dropped.len() < MAX_DROPPED) && self.dropped.insert(key) {
            self.actions
                .push_back(Action::DropPeer { peer: key, reason });
        }
    }

    /// Panics when the parts of the plan contradict each other. For tests: it looks at
    /// every piece.
    #[doc(hidden)]
    pub fn check(&self) {
        self.pieces.check();
        for (id, request) in &self.requests {
            let owned = request.run.clone().filter(|index| {
                matches!(self.pieces.state(*index), Some(PieceState::Asked { by, also })
                    if by == *id || also == Some(*id))
            });
            let owned = u32::try_from(owned.count()).unwrap_or(u32::MAX);
            assert_eq!(request.owned, owned, "pieces of {id:?}");
            assert!(owned > 0, "{id:?} has nothing to bring");
        }
        for index in 0..self.pieces.len() {
            if let Some(PieceState::Asked { by, also }) = self.pieces.state(index) {
                assert!(
                    self.requests.contains_key(&by),
                    "{index} is asked of nobody"
                );
                assert!(also.is_none_or(|also| self.requests.contains_key(&also)));
                assert_ne!(Some(by), also, "{index} is asked of one twice");
            }
        }
        let in_flight = |source| {
            let ids = self.requests.keys().filter(|id| id.source == source);
            u32::try_from(ids.count()).unwrap_or(u32::MAX)
        };
        assert_eq!(self.origin.in_flight, in_flight(Source::Origin));
        for (key, peer) in &self.peers {
            assert_eq!(peer.in_flight, in_flight(Source::Peer(*key)));
            assert!(!self.dropped.contains(key));
        }
        let nothing = self.requests.is_empty() && self.poll_timeout().is_none();
        assert!(
            !nothing || self.finished || self.stuck || self.window_open,
            "pieces are missing and nothing will happen"
        );
    }
}
