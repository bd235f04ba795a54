//! Members who signed, and who of them was proven already.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use potluck_discovery::{MemberSignature, PeerId, RejectReason};
use rustls_pki_types::CertificateDer;

use crate::swarm::{Notary, Prover};

/// Members that are remembered; more than a swarm has signers at a time. Each takes a few
/// KiB.
const REMEMBERED: usize = 1024;

/// A member of the domain who signed something.
pub struct Signer {
    /// Who it is.
    pub id: PeerId,
    /// What proves that, its own certificate first.
    pub chain: Arc<[CertificateDer<'static>]>,
    prover: Arc<dyn Prover>,
}

impl Signer {
    /// Whether its word counts still.
    #[must_use]
    pub fn holds(&self, now: SystemTime) -> bool {
        self.prover.is_member(now)
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &MemberSignature) -> bool {
        self.prover.has_signed(message, signature)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.id)
    }
}

/// Members that were proven, so that certificates are judged once and not with each piece.
#[derive(Default)]
pub(super) struct SignerCache(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_chain: HashMap<Arc<[CertificateDer<'static>]>, Arc<Signer>>,
    /// The oldest first.
    order: VecDeque<Arc<[CertificateDer<'static>]>>,
}

impl SignerCache {
    /// Whose certificates these are. Asks the notary about those that are new, or do not
    /// hold any more.
    pub(super) fn prove(
        &self,
        notary: &dyn Notary,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Arc<Signer>, RejectReason> {
        if let Some(known) = self.lock().find(chain)
            && known.holds(now)
        {
            return Ok(known);
        }
        let proven = notary.prove(chain);
        let Ok(prover) = proven else {
            self.lock().forget(chain);
            return Err(proven.err().unwrap_or(RejectReason::BadCertificate));
        };
        let signer = Arc::new(Signer {
            id: prover.peer(),
            chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
            prover,
        });
        self.lock().note(&signer);
        Ok(signer)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find<'a>(&self, chain: &[CertificateDer<'a>]) -> Option<Arc<Signer>> {
        // Only to compare: what is looked for need not live as long.
        let by_chain: &HashMap<Arc<[CertificateDer<'a>]>, Arc<Signer>> = &self.by_chain;
        by_chain.get(chain).cloned()
    }

    fn forget(&mut self, chain: &[CertificateDer<'_>]) {
        if self.find(chain).is_some() {
            self.by_chain.retain(|known, _| **known != *chain);
            self.order.retain(|known| **known != *chain);
        }
    }

    fn note(&mut self, signer: &Arc<Signer>) {
        let chain = Arc::clone(&signer.chain);
        let before = self.by_chain.insert(Arc::clone(&chain), Arc::clone(signer));
        if before.is_some() {
            return;
        }
        self.order.push_back(chain);
        while self.order.len() > REMEMBERED {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.by_chain.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::test_notary::TestNotary;

    #[test]
    fn who_is_known_is_judged_once_until_it_ends_or_is_revoked() {
        let (notary, cache) = (TestNotary::new(1), SignerCache::default());
        let now = SystemTime::now();
        let prove = |at| cache.prove(&notary, &notary.certificates(), at);
        let signer = prove(now).unwrap();
        assert!(Arc::ptr_eq(&signer, &prove(now).unwrap()));
        assert_eq!(notary.judged(), 1);
        let later = now + 2 * TestNotary::LIFE;
        assert!(signer.holds(now) && !signer.holds(later));
        prove(later).unwrap();
        assert_eq!(notary.judged(), 2, "it has ended, as far as was known");
        notary.revoke();
        assert!(!signer.holds(now));
        assert_eq!(prove(now).unwrap_err(), RejectReason::Revoked);
        assert!(cache.lock().by_chain.is_empty() && cache.lock().order.is_empty());
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (notary, cache) = (TestNotary::new(1), SignerCache::default());
        let now = SystemTime::now();
        for number in 0..u16::try_from(REMEMBERED).unwrap() + 5 {
            let chain = TestNotary::new(number).certificates();
            cache.prove(&notary, &chain, now).unwrap();
        }
        let known = cache.lock();
        assert_eq!(known.by_chain.len(), REMEMBERED);
        assert_eq!(known.order.len(), REMEMBERED);
        assert!(known.find(&TestNotary::new(4).certificates()).is_none());
        assert!(known.find(&TestNotary::new(5).certificates()).is_some());
    }
}
