//! Room on the disk itself.

use std::fmt;
use std::path::Path;

use crate::CacheError;
use crate::inner::Inner;

/// Why nothing is written although the disk is not quite full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that were to be written, with those that were promised to others.
    pub wanted: u64,
    /// Bytes that are to stay free: see [`Limits::min_free`](crate::Limits::min_free).
    pub min_free: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the disk has {} bytes free, {} are to stay free (cache.min_free), {} are wanted, \
             and the cache has nothing left to let go",
            self.free, self.min_free, self.wanted
        )
    }
}

/// Deleted files may give their room back late, and clones give none: so often is looked
/// again before the cache gives up.
const ROUNDS: usize = 2;

impl Inner {
    /// Sees to it that the disk has room for some bytes and still keeps its minimum free.
    /// Contents that may go do so first, unless that would not be enough. The caller holds
    /// no lock and no edit.
    pub(crate) fn need_disk(&self, path: &Path, wanted: u64) -> Result<(), CacheError> {
        let min_free = self.shelf().limits.min_free;
        for round in 0..=ROUNDS {
            let free = self.free()?;
            let lacking = wanted.saturating_add(min_free).saturating_sub(free);
            if lacking == 0 {
                return Ok(());
            }
            if round == ROUNDS || self.shelf().evictable() < lacking {
                break;
            }
            self.free_disk(lacking);
        }
        Err(CacheError::NoSpace {
            path: path.to_owned(),
            shortage: Some(Shortage {
                free: self.free()?,
                wanted,
                min_free,
            }),
        })
    }

    /// Bytes that can be taken without any content going.
    pub(crate) fn spare_disk(&self) -> Result<u64, CacheError> {
        let min_free = self.shelf().limits.min_free;
        Ok(self.free()?.saturating_sub(min_free))
    }

    /// Gives the disk back what it is to have free, as far as contents may go: others fill
    /// it as well.
    pub(crate) fn keep_min_free(&self) -> Result<u64, CacheError> {
        let min_free = self.shelf().limits.min_free;
        let lacking = min_free.saturating_sub(self.free()?);
        Ok(if lacking > 0 {
            self.free_disk(lacking)
        } else {
            0
        })
    }

    /// Lets go contents of so many bytes; says how many it were.
    fn free_disk(&self, bytes: u64) -> u64 {
        let before = self.shelf().let_go;
        let evicted = self.evict_while(
            |shelf| shelf.let_go.saturating_sub(before) < bytes,
            usize::MAX,
        );
        if evicted.contents > 0 {
            tracing::info!(
                contents = evicted.contents,
                bytes = evicted.bytes,
                "evicted, because the disk is full"
            );
        }
        evicted.bytes
    }

    fn free(&self) -> Result<u64, CacheError> {
        let contents = self.dir.contents();
        let disk = rustix::fs::statvfs(&contents);
        let disk = disk.map_err(|e| CacheError::io(&contents, e.into()))?;
        // What only root may take is for others to be rescued with.
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}
