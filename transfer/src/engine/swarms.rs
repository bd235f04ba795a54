//! What a node needs to fetch files together with others.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_cache::Cache;
use potluck_discovery::{PeerId, SwarmDesk};
use potluck_plan::{MemberId, ServeLimits};
use tokio::sync::broadcast;

use crate::engine::Neighbours;
use crate::swarm::{Exposure, Notary, SwarmShelf, SwarmShelfLimits, Vouching};
use crate::talk::{SwarmTalk, member_id};

/// Members that were caught lying are remembered until so many others were since.
const MAX_BANNED: usize = 1024;
/// Proofs that nobody has taken yet; the oldest go first.
const MAX_EXPOSURES: usize = 64;

/// This node's part in the swarms of its domain: what it tells, what it gives, and whose
/// word it takes. Cheap to clone.
#[derive(Clone)]
pub struct Swarms {
    pub(crate) me: MemberId,
    pub(crate) talk: SwarmTalk,
    pub(crate) shelf: SwarmShelf,
    pub(crate) vouching: Arc<Vouching>,
    banned: Arc<Mutex<Banned>>,
    exposures: broadcast::Sender<Exposure>,
}

/// Who was caught lying.
#[derive(Default)]
struct Banned {
    members: BTreeSet<PeerId>,
    /// The same, in the order of their being caught.
    order: VecDeque<PeerId>,
    /// How many ever were.
    count: u64,
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
            exposures: broadcast::Sender::new(MAX_EXPOSURES),
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

    /// Members that are caught lying from now on, each once.
    #[must_use]
    pub fn exposures(&self) -> broadcast::Receiver<Exposure> {
        self.exposures.subscribe()
    }

    /// Takes nobody's word any more who was caught lying. Says whether it was not known
    /// yet.
    pub(crate) fn ban(&self, exposure: Exposure) -> bool {
        let signer = exposure.signed.signer.id;
        let mut banned = self.banned();
        if !banned.members.insert(signer) {
            return false;
        }
        banned.order.push_back(signer);
        banned.count += 1;
        if banned.order.len() > MAX_BANNED
            && let Some(oldest) = banned.order.pop_front()
        {
            banned.members.remove(&oldest);
        }
        drop(banned);
        self.forget_word_of(&signer);
        // Nobody may want to know.
        let _ = self.exposures.send(exposure);
        true
    }

    pub(crate) fn is_banned(&self, signer: &PeerId) -> bool {
        self.banned().members.contains(signer)
    }

    /// How many members were caught so far.
    pub(crate) fn bans(&self) -> u64 {
        self.banned().count
    }

    /// Gives nothing more of finished files that only this member vouches for. Transfers
    /// under way see to their own.
    fn forget_word_of(&self, signer: &PeerId) {
        let all = self.shelf.all();
        for pieces in all.iter().filter(|pieces| pieces.content().is_some()) {
            for index in pieces.offered().held() {
                if pieces.vouched_by(index).as_ref() == Some(signer) {
                    pieces.withdraw(index);
                }
            }
        }
    }

    fn banned(&self) -> MutexGuard<'_, Banned> {
        self.banned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use potluck_cache::Config;
    use potluck_content::{ChainingValue, EntityKey, PieceIndex, Statement};
    use potluck_plan::Rate;

    use super::*;
    use crate::swarm::test_notary::TestNotary;

    const LIE: Statement = Statement {
        entity: EntityKey::from_bytes([1; 32]),
        size: 5,
        index: PieceIndex(0),
        value: ChainingValue::from_bytes([2; 32]),
    };

    fn exposure(of: &Swarms) -> Exposure {
        Exposure {
            signed: of.vouching.sign(LIE).unwrap(),
            truth: ChainingValue::from_bytes([3; 32]),
        }
    }

    #[test]
    fn who_is_caught_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Config::new(dir.path().to_owned(), 1 << 30)).unwrap();
        let limits = ServeLimits {
            clients: 3,
            rate: Rate::Unlimited,
        };
        let [me, liar] = [1, 2].map(|number| {
            let notary = Arc::new(TestNotary::new(number));
            Swarms::new(&PeerId::random(), cache.clone(), notary, limits)
        });
        let mut told = me.exposures();
        let exposure = exposure(&liar);
        let signer = exposure.signed.signer.id;
        assert!(!me.is_banned(&signer));
        assert!(me.ban(exposure.clone()) && me.is_banned(&signer));
        assert!(!me.ban(exposure), "it was known");
        let proof = told.try_recv().unwrap();
        assert_eq!(
            (proof.signed.signer.id, proof.signed.verify()),
            (signer, true)
        );
        assert_ne!(proof.signed.statement.value, proof.truth);
        assert!(told.try_recv().is_err());
    }
}
