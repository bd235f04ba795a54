//! How many questions one peer is asked at once.
//!
//! Each file is planned by itself and knows nothing of the others. All of them together
//! must not ask one peer for more than it serves one client: it would send some away, and
//! close connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use potluck_discovery::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions to one peer at once. It answers four of one client at once; the next stand
/// ready, so that it need not wait for them.
pub(super) const AT_ONCE: usize = 6;

/// The turns at all peers.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<PeerId, Arc<Semaphore>>>);

/// The right to ask a peer something, until it is dropped.
#[derive(Debug)]
pub(crate) struct PeerTurn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn; who comes first goes first. Safe to cancel.
    pub(super) async fn take(&self, peer: PeerId) -> PeerTurn {
        let turns = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has or waits for.
            all.retain(|_, turns| Arc::strong_count(turns) > 1);
            let turns = all
                .entry(peer)
                .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
            Arc::clone(turns)
        };
        // Nobody closes it.
        let permit = turns.acquire_owned().await.ok();
        PeerTurn { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn at_once(turns: &Turns, peer: PeerId) -> Option<PeerTurn> {
        turns.take(peer).now_or_never()
    }

    #[test]
    fn a_peer_is_asked_so_much_at_once_and_others_none_the_less() {
        let (turns, peer, other) = (Turns::default(), PeerId::random(), PeerId::random());
        let mut taken: Vec<_> = (0..AT_ONCE).map_while(|_| at_once(&turns, peer)).collect();
        assert_eq!(taken.len(), AT_ONCE);
        assert!(at_once(&turns, peer).is_none());
        assert!(at_once(&turns, other).is_some());
        taken.pop();
        assert!(at_once(&turns, peer).is_some());
    }

    #[test]
    fn who_waits_first_goes_first_and_nothing_is_kept_of_those_who_left() {
        let (turns, peer) = (Turns::default(), PeerId::random());
        let mut taken: Vec<_> = (0..AT_ONCE).map_while(|_| at_once(&turns, peer)).collect();
        let mut first = Box::pin(turns.take(peer));
        assert!(first.as_mut().now_or_never().is_none());
        taken.pop();
        assert!(at_once(&turns, peer).is_none(), "it is the turn of another");
        assert!(first.as_mut().now_or_never().is_some());
        drop((first, taken));
        let _ = at_once(&turns, PeerId::random());
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
