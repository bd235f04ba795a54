//! Contents in memory.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use potluck_content::{ContentId, EntityKey, Layout};
use potluck_transfer::{Readable, Shelf, TakenPieces};

#[derive(Default)]
pub struct MemoryShelf {
    contents: HashMap<ContentId, Bytes>,
    swarms: HashMap<EntityKey, Pieces>,
}

/// The first pieces of an entity, and what goes before any run of them.
struct Pieces {
    bytes: Bytes,
    held: u32,
    preface: Bytes,
}

struct InMemory(Bytes);

impl MemoryShelf {
    pub fn with(contents: &[&[u8]]) -> Arc<Self> {
        let named = contents
            .iter()
            .map(|bytes| (ContentId::of(bytes), Bytes::copy_from_slice(bytes)));
        Arc::new(Self {
            contents: named.collect(),
            ..Self::default()
        })
    }

    /// Gives `bytes` under the name of another content.
    pub fn lying(content: ContentId, bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            contents: HashMap::from([(content, Bytes::copy_from_slice(bytes))]),
            ..Self::default()
        })
    }

    /// Has the first `held` pieces of an entity.
    pub fn with_pieces(entity: EntityKey, bytes: &[u8], held: u32, preface: &[u8]) -> Arc<Self> {
        let pieces = Pieces {
            bytes: Bytes::copy_from_slice(bytes),
            held,
            preface: Bytes::copy_from_slice(preface),
        };
        Arc::new(Self {
            swarms: HashMap::from([(entity, pieces)]),
            ..Self::default()
        })
    }
}

impl Shelf for MemoryShelf {
    fn take(&self, content: &ContentId) -> Option<Arc<dyn Readable>> {
        Some(Arc::new(InMemory(self.contents.get(content)?.clone())))
    }

    fn take_pieces(&self, entity: &EntityKey, run: Range<u32>) -> Option<TakenPieces> {
        let pieces = self.swarms.get(entity).filter(|it| run.end <= it.held)?;
        let layout = Layout::for_size(pieces.bytes.len() as u64).unwrap();
        Some(TakenPieces {
            preface: pieces.preface.clone(),
            bytes: layout.span_of_run(run),
            content: Arc::new(InMemory(pieces.bytes.clone())),
        })
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
