//! Room for what is on its way.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::CacheError;
use crate::inner::{Inner, lock};

/// What a content that is being written takes, and will take.
///
/// The disk promises its bytes before the first comes, so that several that come at once
/// do not all stop half-way. Room under the limit is made as they come, a little at a time:
/// when the content is complete, none has to be made all at once.
pub(crate) struct Ahead {
    inner: Arc<Inner>,
    size: Option<u64>,
    bytes: Mutex<Bytes>,
}

#[derive(Debug, Default)]
struct Bytes {
    /// That are there.
    came: u64,
    /// That the disk has promised.
    to_come: u64,
}

/// Contents that go, at most, for one piece that comes.
const AT_ONCE: usize = 64;

/// The part of the cache that makes room for a content of which nobody knows where it
/// ends: a quarter. What has no end must not empty the cache.
const SHARE: u64 = 4;

impl Ahead {
    /// For a content of this size, if it is known, of which some is there already.
    pub(crate) fn new(
        inner: &Arc<Inner>,
        path: &Path,
        size: Option<u64>,
        came: u64,
    ) -> Result<Self, CacheError> {
        let to_come = size.unwrap_or(came).saturating_sub(came);
        let ahead = Self {
            inner: Arc::clone(inner),
            size,
            bytes: Mutex::new(Bytes { came, to_come }),
        };
        let promised = {
            let mut shelf = inner.shelf();
            shelf.coming += came;
            shelf.promised += to_come;
            shelf.promised
        };
        // Nothing to come needs nothing, also on a disk that is full.
        if to_come > 0 {
            inner.need_disk(path, promised)?;
        }
        Ok(ahead)
    }

    /// Before bytes are written.
    pub(crate) fn need(&self, path: &Path, bytes: usize) -> Result<(), CacheError> {
        self.inner.need_disk(path, bytes as u64)
    }

    /// So many bytes come in all.
    pub(crate) fn foretell(&mut self, size: u64) {
        self.size = Some(size);
    }

    /// Before more bytes of a stream are written. Within its share of the cache, others let
    /// go for it. What it takes beyond that is what the disk has free anyway, and half of
    /// that at most: the other half is for what is known to end, such as its copy in the
    /// place where it goes.
    pub(crate) fn need_more(&self, path: &Path, bytes: usize) -> Result<(), CacheError> {
        let more = bytes as u64;
        let came = lock(&self.bytes).came;
        let taken = came.saturating_add(more);
        if self.size.is_some() || taken <= self.share() {
            return self.inner.need_disk(path, more);
        }
        if self.inner.spare_disk()? < taken {
            return Err(CacheError::Endless { came });
        }
        Ok(())
    }

    /// Bytes for which others let go.
    fn share(&self) -> u64 {
        match self.size {
            Some(_) => u64::MAX,
            None => self.inner.shelf().limits.max_size / SHARE,
        }
    }

    /// Bytes were written: makes room for them under the limit, if all of the content has
    /// a chance to fit.
    pub(crate) fn wrote(&self, written: usize) {
        let came = {
            let mut bytes = lock(&self.bytes);
            // Written anew, they are not more.
            let most = self.size.unwrap_or(u64::MAX).saturating_sub(bytes.came);
            let written = (written as u64).min(most);
            let kept = written.min(bytes.to_come);
            bytes.came += written;
            bytes.to_come -= kept;
            let mut shelf = self.inner.shelf();
            shelf.coming += written;
            shelf.promised -= kept;
            bytes.came
        };
        let size = self.size.unwrap_or(came);
        let share = self.share();
        let helps = came <= share && {
            let shelf = self.inner.shelf();
            shelf.excess() > 0 && shelf.can_make_room(size)
        };
        if helps {
            self.inner.evict_while(|shelf| shelf.excess() > 0, AT_ONCE);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let bytes = lock(&self.bytes);
        let mut shelf = self.inner.shelf();
        shelf.coming -= bytes.came;
        shelf.promised -= bytes.to_come;
    }
}
