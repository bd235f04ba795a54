//! For whose answer somebody who joins waits.

use std::time::{Duration, Instant};

use potluck_content::EntityKey;

use super::{Gossip, Link, Told};

/// Who has not answered a message for so long is waited for no more.
const SILENT: Duration = Duration::from_secs(1);

impl Link {
    fn is_silent(&self, now: Instant) -> bool {
        let since = self.sent_at.filter(|_| self.under_way.is_some());
        self.lost > 0 || since.is_some_and(|since| now.saturating_duration_since(since) >= SILENT)
    }
}

impl<P: Copy + Ord> Gossip<P> {
    /// Whether everybody who was asked to take part has answered. Nobody waits for who did
    /// not answer the last message, as for one that takes part in no swarms at all, or has
    /// not answered this one for a second.
    #[must_use]
    pub fn has_settled(&self, entity: &EntityKey, now: Instant) -> bool {
        let is_silent = |peer: &P| self.links.get(peer).is_some_and(|link| link.is_silent(now));
        self.swarms.get(entity).is_none_or(|swarm| {
            let mut told = swarm.told.iter();
            told.all(|(peer, told)| {
                matches!(told, Told::Member(_) | Told::Outside) || is_silent(peer)
            })
        })
    }

    /// How many files this node fetches together with others.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.swarms.values().filter(|swarm| swarm.fetches).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use potluck_content::Layout;

    use super::*;
    use crate::swarm::Teller;

    const FILES: [EntityKey; 2] = [
        EntityKey::from_bytes([1; 32]),
        EntityKey::from_bytes([2; 32]),
    ];

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn teller(entity: EntityKey) -> Teller {
        Teller::new(entity, Layout::for_size(1000).unwrap(), None)
    }

    #[test]
    fn a_peer_that_answers_nothing_holds_up_no_second_file() {
        let (begun, [first, second]) = (start(), FILES);
        let mut gossip = Gossip::<u8>::default();
        gossip.set_peers(&BTreeSet::from([1, 2]));
        assert!(gossip.join(teller(first)));
        assert!(gossip.poll_message(begun).is_some() && gossip.poll_message(begun).is_some());
        gossip.handle_answer(1, Vec::new(), begun);
        let soon = begun + SILENT / 2;
        assert!(!gossip.has_settled(&first, soon));
        let late = begun + SILENT;
        assert!(gossip.has_settled(&first, late));
        // Of the other an answer is still to come.
        assert!(gossip.join(teller(second)));
        assert_eq!(gossip.fetches(), 2);
        assert!(!gossip.has_settled(&second, late));
        assert_eq!(gossip.poll_message(late).map(|(to, _)| to), Some(1));
        gossip.handle_answer(1, Vec::new(), late);
        assert!(gossip.has_settled(&second, late));
        // It answers after all.
        gossip.handle_answer(2, Vec::new(), late);
        assert!(gossip.has_settled(&first, late) && !gossip.has_settled(&second, late));
    }
}
