//! What a node holds, as the control connections ask for it.

use potluck_content::{Bitfield, ContentId, Digest, EntityKey, Manifest};

/// The most things one question may name.
pub const MAX_WANTED: usize = 64;

/// Something a node looks for. Names only those recognise who know the thing:
/// never a URL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wanted {
    /// One version of one URL.
    Entity(EntityKey),
    /// A content by its id.
    Content(ContentId),
    /// A content by a digest that somebody else gave.
    Digest(Digest),
}

/// What a node holds of something that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// The content that the wanted thing is.
    pub content: ContentId,
    /// Its size in bytes, as the holder believes; a manifest and the last piece
    /// prove it.
    pub size: u64,
    /// The pieces that are held; `None` for all of them.
    pub bitfield: Option<Bitfield>,
    /// How much the holder serves at most; `None` where it does not say.
    pub serves: Option<Serves>,
}

/// How much a node serves at most, so that nobody counts on more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Serves {
    /// Peers at once.
    pub clients: u32,
    /// Bits per second to all of them together; `None` when there is no such limit.
    pub bits_per_second: Option<u64>,
}

/// Answers the questions of peers. Called on the blocking pool, a few calls at once.
pub trait Holdings: Send + Sync + 'static {
    /// What is held of each wanted thing, in the order of the question. Only what
    /// may be given to any member of the domain belongs into the answer.
    fn have(&self, wanted: &[Wanted]) -> Vec<Option<Holding>>;

    /// The manifest of a content that may be given to any member of the domain.
    fn manifest(&self, content: &ContentId) -> Option<Manifest>;
}
