//! Telling members that this node takes part no longer.

use std::collections::{BTreeMap, BTreeSet};

use potluck_content::EntityKey;

use crate::swarm::codec::MAX_NEWS;
use crate::swarm::news::{News, NewsKind};
use crate::swarm::teller::Teller;

/// Who has still to hear which swarms this node left. Each is told once; where that is lost,
/// it is told when it next says something, as it is where there are too many.
#[derive(Debug)]
pub(super) struct Leaving<P>(BTreeMap<P, BTreeMap<EntityKey, News>>);

impl<P> Default for Leaving<P> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<P: Copy + Ord> Leaving<P> {
    /// These are to hear that it left.
    pub(super) fn add(&mut self, teller: &Teller, members: impl Iterator<Item = P>) {
        let (state, _) = teller.everything();
        let news = News {
            kind: NewsKind::Leave,
            got: Vec::new(),
            fetching: Vec::new(),
            limits: None,
            leader: None,
            doubts: Vec::new(),
            ..state
        };
        for member in members {
            let to_hear = self.0.entry(member).or_default();
            if to_hear.len() < MAX_NEWS {
                to_hear.insert(news.entity, news.clone());
            }
        }
    }

    /// It takes part again, and says so to everybody.
    pub(super) fn forget(&mut self, entity: &EntityKey) {
        self.0.retain(|_, to_hear| {
            to_hear.remove(entity);
            !to_hear.is_empty()
        });
    }

    /// Who the peers are now: nobody else hears anything.
    pub(super) fn set_peers(&mut self, peers: &BTreeSet<P>) {
        self.0.retain(|peer, _| peers.contains(peer));
    }

    /// What a peer has to hear.
    pub(super) fn take(&mut self, peer: &P) -> Vec<News> {
        let to_hear = self.0.remove(peer).unwrap_or_default();
        to_hear.into_values().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
