//! What a node needs to fetch files together with others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use potluck_cache::Cache;
use potluck_discovery::{PeerId, SwarmDesk};
use potluck_plan::{MemberId, ServeLimits};

use crate::engine::Neighbours;
use crate::swarm::{Notary, SwarmShelf, SwarmShelfLimits, Vouching};
use crate::talk::{SwarmTalk, member_id};

/// Members that were caught lying are remembered until so many others were.
const MAX_BANNED: usize = 1024;

/// This node's part in the swarms of its domain: what it tells, what it gives, and whose
/// word it takes. Cheap to clone.
#[derive(Clone)]
pub struct Swarms {
    pub(crate) me: MemberId,
    pub(crate) talk: SwarmTalk,
    pub(crate) shelf: SwarmShelf,
    pub(crate) vouching: Arc<Vouching>,
    banned: Arc<Mutex<BTreeSet<PeerId>>>,
}

impl Swarms {
    /// Takes part as this member, gives what the cache has, and tells what it serves at
    /// most.
    #[must_use]
    pub fn new(me: &PeerId, cache: Cache, notary: Arc<dyn Notary>, limits: ServeLimits) -> Self {
        Self {
            me: member_id(me),
            talk: SwarmTalk::new(limits),
            shelf: SwarmShelf::new(cache, SwarmShelfLimits::default()),
            vouching: Arc::new(Vouching::new(notary)),
            banned: Arc::default(),
        }
    }

    /// Who answers what peers tell.
    #[must_use]
    pub fn desk(&self) -> Arc<dyn SwarmDesk> {
        Arc::new(self.talk.clone())
    }

    /// What peers may take of files that are not complete.
    #[must_use]
    pub fn shelf(&self) -> SwarmShelf {
        self.shelf.clone()
    }

    /// Talks to these neighbours from now on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(&self, neighbours: Arc<dyn Neighbours>) {
        self.talk.connect(neighbours);
    }

    /// Talks to nobody any more, and gives nothing.
    pub fn disconnect(&self) {
        self.talk.disconnect();
        self.shelf.clear();
    }

    /// Changes what members of swarms are told of how much is served.
    pub fn set_limits(&self, limits: ServeLimits) {
        self.talk.set_limits(limits);
    }

    /// Takes nobody's word any more who was caught lying.
    pub(crate) fn ban(&self, signer: PeerId) {
        let mut banned = self.banned.lock().unwrap_or_else(PoisonError::into_inner);
        if banned.len() >= MAX_BANNED {
            banned.pop_first();
        }
        banned.insert(signer);
    }

    pub(crate) fn is_banned(&self, signer: &PeerId) -> bool {
        let banned = self.banned.lock().unwrap_or_else(PoisonError::into_inner);
        banned.contains(signer)
    }
}
