//! Room under the limit.

use std::sync::Arc;

use crate::inner::Inner;

/// Where a content is to go.
pub(crate) enum Room {
    /// Into room that was made before.
    Kept(Reservation),
    /// Into the cache if room can be made or none is needed, else beside it.
    IfItFits,
}

/// Room that is kept free for one content until it is added or given up.
pub(crate) struct Reservation {
    inner: Arc<Inner>,
    size: u64,
}

impl Inner {
    /// Keeps room for a content, letting others go. `None` when it cannot fit; then nothing
    /// goes, because that would help nobody. The caller holds no edit.
    pub(crate) fn reserve(self: &Arc<Self>, size: u64) -> Option<Reservation> {
        loop {
            {
                let mut shelf = self.shelf();
                if size <= shelf.limits.max_size && shelf.lacking(size) == 0 {
                    shelf.reserved += size;
                    let inner = Arc::clone(self);
                    return Some(Reservation { inner, size });
                }
                if !shelf.can_make_room(size) {
                    return None;
                }
            }
            let evicted = self.evict_while(|shelf| shelf.lacking(size) > 0, usize::MAX);
            // Others may have taken the room already, or something was leased just now.
            if evicted.contents == 0 && self.shelf().lacking(size) > 0 {
                return None;
            }
        }
    }

    /// The limit may have been lowered, or something unpinned. The caller holds no edit.
    pub(crate) fn enforce_limit(&self) {
        self.evict_while(|shelf| shelf.surplus() > 0, usize::MAX);
    }
}

impl Reservation {
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The room is taken now: gives its bytes to be counted elsewhere.
    pub(crate) fn redeem(mut self) -> u64 {
        std::mem::take(&mut self.size)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.size > 0 {
            self.inner.shelf().reserved -= self.size;
        }
    }
}
