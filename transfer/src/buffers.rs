//! Large buffers that are used again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Keeps buffers for reuse. The allocator gives large ones back to the system each
/// time, and the page faults of getting them again cost as much as moving the bytes.
#[derive(Clone, Debug)]
pub struct BufferPool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
    keep: usize,
}

/// A buffer of a pool, all of whose bytes may be written. Goes back when dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: BufferPool,
}

impl BufferPool {
    /// A pool that keeps at most `keep` idle buffers.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self {
            idle: Arc::new(Mutex::new(Vec::new())),
            keep,
        }
    }

    /// A buffer of `len` bytes; what is in them is anything.
    #[must_use]
    pub fn get(&self, len: usize) -> Buffer {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The largest are at the back: those fit most.
        let mut bytes = idle.pop().unwrap_or_default();
        drop(idle);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer {
            bytes,
            len,
            pool: self.clone(),
        }
    }
}

impl Buffer {
    /// The bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Cuts it to its first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes to be shared; the buffer goes back when the last share is dropped.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut idle = self
            .pool
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.pool.keep {
            let place = idle.partition_point(|other| other.len() <= bytes.len());
            idle.insert(place, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_share_goes() {
        let pool = BufferPool::new(1);
        let mut buffer = pool.get(1000);
        buffer.bytes_mut().fill(7);
        let place = buffer.as_ref().as_ptr();
        buffer.truncate(900);
        let bytes = buffer.freeze();
        let share = bytes.slice(10..20);
        drop(bytes);
        assert_ne!(pool.get(500).as_ref().as_ptr(), place);
        let _ = pool.get(0);
        drop(share);
        assert_eq!(pool.get(10).as_ref().len(), 10);
    }
}
