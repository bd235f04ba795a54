//! What the cache has for peers.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use potluck_cache::{Cache, Lease, PartialReader};
use potluck_content::{ContentId, EntityKey, Manifest};
use potluck_discovery::{Holding, Holdings, Serves, Wanted};
use potluck_plan::ServeLimits;

use crate::shelf::{Readable, Shelf, TakenPieces};
use crate::swarm::SwarmShelf;

/// The complete, validated contents of the cache, as peers ask for them; and what is given
/// before it is complete.
#[derive(Clone)]
pub struct CacheHoldings {
    cache: Cache,
    swarms: Option<SwarmShelf>,
    limits: Option<ServeLimits>,
}

impl CacheHoldings {
    /// What this cache holds.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            swarms: None,
            limits: None,
        }
    }

    /// With the pieces of entities that are on this shelf, whole or not.
    #[must_use]
    pub fn with_swarms(self, swarms: SwarmShelf) -> Self {
        Self {
            swarms: Some(swarms),
            ..self
        }
    }

    /// Served within these limits, which whoever asks is told.
    #[must_use]
    pub fn with_limits(self, limits: ServeLimits) -> Self {
        Self {
            limits: Some(limits),
            ..self
        }
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
                serves: self.limits.map(|limits| Serves {
                    clients: limits.clients,
                    bits_per_second: limits.rate.bits(),
                }),
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

    fn take_pieces(&self, entity: &EntityKey, pieces: Range<u32>) -> Option<TakenPieces> {
        self.swarms.as_ref()?.take_pieces(entity, pieces)
    }
}

/// A content that stays in the cache while it is read.
pub(crate) struct Leased(Lease);

impl Leased {
    /// Opens a content, validated or not.
    pub(crate) fn of(cache: &Cache, content: &ContentId) -> Option<Arc<dyn Readable>> {
        Some(Arc::new(Self(cache.lease(content)?)))
    }
}

impl Readable for PartialReader {
    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        Self::read_exact_at(self, buffer, offset)
    }
}

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
