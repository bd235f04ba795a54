//! Contents in memory.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use potluck_content::ContentId;
use potluck_transfer::{Readable, Shelf};

#[derive(Default)]
pub struct MemoryShelf(HashMap<ContentId, Bytes>);

struct InMemory(Bytes);

impl MemoryShelf {
    pub fn with(contents: &[&[u8]]) -> Arc<Self> {
        let named = contents
            .iter()
            .map(|bytes| (ContentId::of(bytes), Bytes::copy_from_slice(bytes)));
        Arc::new(Self(named.collect()))
    }

    /// Gives `bytes` under the name of another content.
    pub fn lying(content: ContentId, bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self(HashMap::from([(
            content,
            Bytes::copy_from_slice(bytes),
        )])))
    }
}

impl Shelf for MemoryShelf {
    fn take(&self, content: &ContentId) -> Option<Arc<dyn Readable>> {
        Some(Arc::new(InMemory(self.0.get(content)?.clone())))
    }
}

impl Readable for InMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }
}
