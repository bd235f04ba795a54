//! What the cache has for peers.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use potluck_cache::{Cache, Lease};
use potluck_content::{ContentId, EntityKey, Manifest};
use potluck_discovery::{Holding, Holdings, Wanted};

use crate::shelf::{Readable, Shelf, TakenPieces};

/// The complete, validated contents of the cache, as peers ask for them.
#[derive(Clone)]
pub struct CacheHoldings {
    cache: Cache,
}

impl CacheHoldings {
    /// What this cache holds.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self { cache }
    }
}

impl Holdings for CacheHoldings {
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>> {
        let look = |wanted: &Wanted| {
            let id = match wanted {
                Wanted::Entity(key) => self.cache.find_entity(key)?,
                Wanted::Content(id) => *id,
                Wanted::Digest(digest) => self.cache.find_digest(digest)?,
            };
            let held = self.cache.held(&id).filter(|held| held.validated)?;
            Some(Holding {
                content: held.id,
                size: held.size,
                bitfield: None,
            })
        };
        wanted.iter().map(look).collect()
    }

    fn manifest(&self, content: &ContentId) -> Option<Manifest> {
        let lease = self.cache.lease(content).filter(Lease::validated)?;
        Some(lease.manifest().as_ref().clone())
    }
}

impl Shelf for CacheHoldings {
    fn take(&self, content: &ContentId) -> Option<Arc<dyn Readable>> {
        let lease = self.cache.lease(content).filter(Lease::validated)?;
        Some(Arc::new(Leased(lease)))
    }

    /// The cache has whole contents only; whoever wants them asks by content id.
    fn take_pieces(&self, _: &EntityKey, _: Range<u32>) -> Option<TakenPieces> {
        None
    }
}

struct Leased(Lease);

impl Readable for Leased {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.0.read_at(buffer, offset)? < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
