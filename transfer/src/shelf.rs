//! What there is to give to peers.

use std::io;
use std::sync::Arc;

use potluck_content::ContentId;

/// Where the peer server finds contents. Only what any member of the domain may have
/// is on it.
pub trait Shelf: Send + Sync + 'static {
    /// Takes a content for reading. Called on the blocking pool.
    fn take(&self, content: &ContentId) -> Option<Arc<dyn Readable>>;
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
