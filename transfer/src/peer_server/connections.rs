//! How many connections peers have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_discovery::PeerId;

/// Counts the connections of proven peers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PeerConnections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    in_all: usize,
    of_peer: usize,
    open: Mutex<HashMap<PeerId, usize>>,
}

/// One connection; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    connections: PeerConnections,
    peer: PeerId,
}

impl PeerConnections {
    /// At most so many in all, and of one peer.
    pub(crate) fn new(in_all: usize, of_peer: usize) -> Self {
        Self(Arc::new(Inner {
            in_all,
            of_peer,
            open: Mutex::default(),
        }))
    }

    /// Counts one more; `None` when there are too many.
    pub(crate) fn admit(&self, peer: PeerId) -> Option<Counted> {
        let mut open = self.open();
        let own = open.get(&peer).copied().unwrap_or_default();
        if own >= self.0.of_peer || open.values().sum::<usize>() >= self.0.in_all {
            return None;
        }
        open.insert(peer, own + 1);
        drop(open);
        Some(Counted {
            connections: self.clone(),
            peer,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_does_not_take_all() {
        let connections = PeerConnections::new(5, 3);
        let (greedy, other) = (PeerId::random(), PeerId::random());
        let mut held: Vec<_> = (0..3).map_while(|_| connections.admit(greedy)).collect();
        assert_eq!(held.len(), 3);
        assert!(connections.admit(greedy).is_none());
        let others = (connections.admit(other), connections.admit(other));
        assert!(others.0.is_some() && others.1.is_some());
        assert!(connections.admit(other).is_none(), "five in all");
        held.pop();
        assert!(connections.admit(other).is_some());
        drop((held, others));
        assert!(connections.open().is_empty());
    }
}
