//! All entities of which this node gives pieces.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_cache::Cache;
use potluck_content::{ContentId, EntityKey};

use crate::shelf::TakenPieces;
use crate::swarm::SwarmPieces;

/// How much is remembered of entities that are whole here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SwarmShelfLimits {
    /// How many of them.
    pub finished: usize,
    /// Their pieces, of all together. Each takes some 200 bytes.
    pub finished_pieces: u64,
}

impl Default for SwarmShelfLimits {
    fn default() -> Self {
        Self {
            finished: 4096,
            finished_pieces: 128 << 10,
        }
    }
}

/// The entities of which this node gives pieces: those that it downloads, all of them, and
/// those that it has whole, as long as there is room. Cheap to clone.
#[derive(Clone)]
pub struct SwarmShelf(Arc<Inner>);

struct Inner {
    cache: Cache,
    limits: SwarmShelfLimits,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_entity: HashMap<EntityKey, Arc<SwarmPieces>>,
    /// Those that are whole, the oldest first.
    finished: VecDeque<Arc<SwarmPieces>>,
    finished_pieces: u64,
}

impl SwarmShelf {
    /// An empty shelf; what is whole is read from this cache.
    #[must_use]
    pub fn new(cache: Cache, limits: SwarmShelfLimits) -> Self {
        Self(Arc::new(Inner {
            cache,
            limits,
            entries: Mutex::default(),
        }))
    }

    /// Puts the pieces of an entity there; they take the place of others of the same one.
    pub fn put(&self, pieces: Arc<SwarmPieces>) {
        let mut entries = self.lock();
        if let Some(before) = entries.by_entity.insert(*pieces.entity(), pieces) {
            entries.forget_finished(&before);
        }
    }

    /// What there is of an entity.
    #[must_use]
    pub fn get(&self, entity: &EntityKey) -> Option<Arc<SwarmPieces>> {
        self.lock().by_entity.get(entity).cloned()
    }

    /// All there is.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<SwarmPieces>> {
        self.lock().by_entity.values().cloned().collect()
    }

    /// Notes that pieces became a content. The oldest such go where there are too many.
    pub fn finish(&self, pieces: &Arc<SwarmPieces>, content: ContentId) {
        let again = pieces.content().is_some();
        pieces.finish(content);
        let mut entries = self.lock();
        if again || !entries.has(pieces) {
            return;
        }
        entries.finished.push_back(Arc::clone(pieces));
        entries.finished_pieces += u64::from(pieces.layout().pieces());
        let limits = self.0.limits;
        while entries.finished.len() > limits.finished
            || entries.finished_pieces > limits.finished_pieces
        {
            let Some(oldest) = entries.finished.front().cloned() else {
                break;
            };
            entries.remove(&oldest);
        }
    }

    /// Takes pieces away, unless others of the same entity are in their place by now. Who
    /// reads already goes on.
    pub fn remove(&self, pieces: &Arc<SwarmPieces>) {
        self.lock().remove(pieces);
    }

    /// Takes everything away, as when nothing is to be given before it is validated.
    pub fn clear(&self) {
        *self.lock() = Entries::default();
    }

    /// Takes a run of pieces for a peer. Reads the disk and may sign.
    #[must_use]
    pub fn take_pieces(&self, entity: &EntityKey, run: Range<u32>) -> Option<TakenPieces> {
        let pieces = self.get(entity)?;
        let taken = pieces.take(run, &self.0.cache);
        if taken.is_none()
            && let Some(content) = pieces.content()
            && self.0.cache.held(&content).is_none()
        {
            tracing::debug!(?entity, %content, "not in the cache any more");
            self.remove(&pieces);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn has(&self, pieces: &Arc<SwarmPieces>) -> bool {
        let known = self.by_entity.get(pieces.entity());
        known.is_some_and(|known| Arc::ptr_eq(known, pieces))
    }

    fn remove(&mut self, pieces: &Arc<SwarmPieces>) {
        if self.has(pieces) {
            self.by_entity.remove(pieces.entity());
        }
        self.forget_finished(pieces);
    }

    fn forget_finished(&mut self, pieces: &Arc<SwarmPieces>) {
        let place = self.finished.iter().position(|it| Arc::ptr_eq(it, pieces));
        if let Some(place) = place {
            self.finished.remove(place);
            self.finished_pieces -= u64::from(pieces.layout().pieces());
        }
    }
}

impl fmt::Debug for SwarmShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.lock();
        f.debug_struct("SwarmShelf")
            .field("entities", &entries.by_entity.len())
            .field("finished", &entries.finished.len())
            .finish()
    }
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
