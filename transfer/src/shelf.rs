//! What there is to give to peers.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use potluck_content::{ContentId, EntityKey};

/// Where the peer server finds contents. Only what any member of the domain may have
/// is on it.
pub trait Shelf: Send + Sync + 'static {
    /// Takes a content for reading. Called on the blocking pool.
    fn take(&self, content: &ContentId) -> Option<Arc<dyn Readable>>;

    /// Takes a run of pieces of an entity that is not whole yet, or was not a moment ago.
    /// Nothing unless all of them are held. Called on the blocking pool, where it may sign.
    fn take_pieces(&self, entity: &EntityKey, pieces: Range<u32>) -> Option<TakenPieces>;
}

/// A run of pieces of an entity, with what vouches for them.
#[derive(Clone)]
pub struct TakenPieces {
    /// The statements that go before the bytes; at most a MiB.
    pub preface: Bytes,
    /// The bytes of the entity that the run covers.
    pub bytes: Range<u64>,
    /// Where they are read.
    pub content: Arc<dyn Readable>,
}

/// A content that stays readable while it is held.
pub trait Readable: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Fills the buffer from this offset on. Called on the blocking pool.
    ///
    /// # Errors
    /// When not all of the bytes can be read.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}
