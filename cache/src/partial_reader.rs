//! Reading what an unfinished content has, also after it is finished.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::Partial;
use crate::partial::Body;

/// The bytes of an unfinished content. Good for as long as it lives: also when the partial
/// has become a content, was given up, or that content was removed.
///
/// What is held the [partial](Partial::bitfield) knows: other places read as zeros, and a
/// piece that is discarded and put again changes here too.
#[derive(Debug)]
pub struct PartialReader {
    file: File,
    size: u64,
}

impl PartialReader {
    /// Bytes of the whole; of a stream, what had come when this was made.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Fills the buffer from this offset on.
    ///
    /// # Errors
    /// When not all of the bytes can be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Partial {
    /// A reader of its own for the bytes that are written and will be.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn reader(&self) -> io::Result<PartialReader> {
        let size = match &*self.body() {
            Body::Pieces(map) => map.layout().size(),
            Body::Stream(hasher) => hasher.size(),
        };
        Ok(PartialReader {
            file: self.file.try_clone()?,
            size,
        })
    }
}
