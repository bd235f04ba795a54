//! What this node has of one entity and may give.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use potluck_cache::Cache;
use potluck_content::{
    Bitfield, ChainingValue, ContentId, EntityKey, Layout, PieceIndex, Statement,
};

use potluck_discovery::PeerId;

use crate::holdings::Leased;
use crate::shelf::{Readable, TakenPieces};
use crate::swarm::preface::encode;
use crate::swarm::{SignedStatement, Vouching};

/// The pieces of an entity that this node offers, and what vouches for each.
pub struct SwarmPieces {
    entity: EntityKey,
    layout: Layout,
    vouching: Arc<Vouching>,
    state: Mutex<State>,
}

struct State {
    offered: Bitfield,
    vouched: BTreeMap<PieceIndex, Vouched>,
    source: Source,
}

/// Why a piece may be believed.
#[derive(Clone)]
enum Vouched {
    /// This node fetched it from the origin. Signed when it is first given.
    Own(ChainingValue, Option<Arc<SignedStatement>>),
    /// Another one did, and said so.
    Other(Arc<SignedStatement>),
    /// It is in a manifest.
    Proven,
}

/// Where the bytes are.
enum Source {
    Unfinished(Arc<dyn Readable>),
    Content(ContentId),
}

impl SwarmPieces {
    /// Nothing of an entity yet; its bytes will be read there.
    #[must_use]
    pub fn new(
        entity: EntityKey,
        layout: Layout,
        reader: Arc<dyn Readable>,
        vouching: Arc<Vouching>,
    ) -> Self {
        Self {
            entity,
            layout,
            vouching,
            state: Mutex::new(State {
                offered: Bitfield::empty(layout.pieces()),
                vouched: BTreeMap::new(),
                source: Source::Unfinished(reader),
            }),
        }
    }

    /// Of what they are.
    #[must_use]
    pub const fn entity(&self) -> &EntityKey {
        &self.entity
    }

    /// How it is cut.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Offers a piece that this node fetched from the origin, with this hash.
    pub fn offer_own(&self, index: PieceIndex, value: ChainingValue) {
        self.offer_as(index, Vouched::Own(value, None));
    }

    /// Offers a piece that somebody else vouches for. Its bytes were checked.
    pub fn offer(&self, signed: SignedStatement) {
        let statement = &signed.statement;
        if statement.entity == self.entity && statement.size == self.layout.size() {
            self.offer_as(statement.index, Vouched::Other(Arc::new(signed)));
        }
    }

    /// Offers a piece that a manifest proves.
    pub fn offer_proven(&self, index: PieceIndex) {
        self.offer_as(index, Vouched::Proven);
    }

    /// Offers a piece no more: it turned out to be wrong.
    pub fn withdraw(&self, index: PieceIndex) {
        let mut state = self.lock();
        if state.vouched.remove(&index).is_some() {
            state.offered.clear(index);
        }
    }

    /// The pieces that are offered.
    #[must_use]
    pub fn offered(&self) -> Bitfield {
        self.lock().offered.clone()
    }

    /// What vouches for a piece; nothing for one that only a manifest proves. May sign:
    /// not for tasks that others wait for.
    #[must_use]
    pub fn statement(&self, index: PieceIndex) -> Option<Arc<SignedStatement>> {
        let vouched = self.lock().vouched.get(&index).cloned()?;
        match self.signed(index, vouched, SystemTime::now()) {
            Word::Signed(signed) => Some(signed),
            Word::NotNeeded | Word::Over => None,
        }
    }

    /// The other member that vouches for a piece; nobody for one of this node's own, and for
    /// one that a manifest proves.
    #[must_use]
    pub fn vouched_by(&self, index: PieceIndex) -> Option<PeerId> {
        match self.lock().vouched.get(&index)? {
            Vouched::Other(signed) => Some(signed.signer.id),
            Vouched::Own(..) | Vouched::Proven => None,
        }
    }

    /// Takes a run of pieces with what vouches for them. Nothing unless all of them are
    /// offered and can be read. Reads the disk and may sign.
    #[must_use]
    pub fn take(&self, run: Range<u32>, cache: &Cache) -> Option<TakenPieces> {
        let (vouched, content) = {
            let state = self.lock();
            if run.is_empty() || !state.offered.has_run(run.clone()) {
                return None;
            }
            let vouched = state
                .vouched
                .range(PieceIndex(run.start)..PieceIndex(run.end));
            let vouched: Vec<_> = vouched.map(|(index, it)| (*index, it.clone())).collect();
            let content = match &state.source {
                Source::Unfinished(reader) => Ok(Arc::clone(reader)),
                Source::Content(id) => Err(*id),
            };
            (vouched, content)
        };
        let content = match content {
            Ok(reader) => reader,
            Err(id) => Leased::of(cache, &id)?,
        };
        if content.size() != self.layout.size() {
            return None;
        }
        Some(TakenPieces {
            preface: self.preface(vouched)?,
            bytes: self.layout.span_of_run(run),
            content,
        })
    }

    /// From now on the bytes are those of this content, of which the cache knows. Who reads
    /// already goes on as it began.
    pub fn finish(&self, content: ContentId) {
        self.lock().source = Source::Content(content);
    }

    /// The content that it became.
    #[must_use]
    pub fn content(&self) -> Option<ContentId> {
        match self.lock().source {
            Source::Unfinished(_) => None,
            Source::Content(id) => Some(id),
        }
    }

    fn offer_as(&self, index: PieceIndex, vouched: Vouched) {
        if self.layout.contains(index) {
            let mut state = self.lock();
            state.offered.set(index);
            state.vouched.insert(index, vouched);
        }
    }

    /// The statements for a run, written down; nothing when somebody's word is over.
    fn preface(&self, run: Vec<(PieceIndex, Vouched)>) -> Option<Bytes> {
        let now = SystemTime::now();
        if run.iter().any(|(_, it)| matches!(it, Vouched::Proven)) {
            // Who has no manifest cannot use all of it anyway.
            return Some(Bytes::new());
        }
        let mut statements = Vec::with_capacity(run.len());
        for (index, vouched) in run {
            match self.signed(index, vouched, now) {
                Word::Signed(signed) => statements.push(signed),
                Word::NotNeeded | Word::Over => return None,
            }
        }
        let preface = encode(&statements);
        if preface.is_none() {
            tracing::debug!(entity = ?self.entity, "too much to vouch for at once");
        }
        preface.map(Bytes::from)
    }

    /// The statement for a piece, signed now if it is this node's.
    fn signed(&self, index: PieceIndex, vouched: Vouched, now: SystemTime) -> Word {
        let value = match vouched {
            Vouched::Proven => return Word::NotNeeded,
            Vouched::Other(signed) | Vouched::Own(_, Some(signed)) if signed.signer.holds(now) => {
                return Word::Signed(signed);
            }
            Vouched::Own(value, _) => value,
            Vouched::Other(signed) => {
                tracing::debug!(entity = ?self.entity, %index, "{} has ended", signed.signer.id);
                self.withdraw(index);
                return Word::Over;
            }
        };
        let statement = Statement {
            entity: self.entity,
            size: self.layout.size(),
            index,
            value,
        };
        match self.vouching.sign(statement) {
            Ok(signed) => {
                let signed = Arc::new(signed);
                let mut state = self.lock();
                // It may have been withdrawn and offered anew meanwhile.
                if let Some(Vouched::Own(same, known)) = state.vouched.get_mut(&index)
                    && *same == value
                {
                    *known = Some(Arc::clone(&signed));
                }
                Word::Signed(signed)
            }
            Err(error) => {
                tracing::warn!(%error, "pieces from the origin cannot be given to peers");
                Word::Over
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Word {
    Signed(Arc<SignedStatement>),
    /// A manifest proves the piece.
    NotNeeded,
    /// Nobody's word holds any more.
    Over,
}

impl fmt::Debug for SwarmPieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        write!(f, "SwarmPieces({:?}, {:?})", self.entity, state.offered)
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
