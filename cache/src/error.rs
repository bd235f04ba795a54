//! What can go wrong, told apart where callers act differently.

use std::io;
use std::path::{Path, PathBuf};

use potluck_content::{ContentId, PieceIndex, TooLarge};

use crate::{Partial, PartialKey, Shortage};

/// The cache could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Another process has the data directory open.
    #[error("{} is in use by another node{}", dir.display(), pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, if it said so.
        pid: Option<u32>,
    },
    /// The unfinished content is open already.
    #[error("{0} is being transferred already")]
    Busy(PartialKey),
    /// The disk or the quota is full.
    #[error("no space left for {}{}", path.display(), shortage.map(|s| format!(": {s}")).unwrap_or_default())]
    NoSpace {
        /// The file that was to be written.
        path: PathBuf,
        /// What the cache found before the system refused anything.
        shortage: Option<Shortage>,
    },
    /// A content of which nobody knows where it ends took all the room that it may.
    #[error(
        "nobody says where it ends, and it did not after {came} bytes: without its size, no file \
         takes more than a quarter of cache.max_size or half of what the disk has free"
    )]
    Endless {
        /// Bytes that came.
        came: u64,
    },
    /// The content is larger than the whole cache may be.
    #[error("{size} bytes are more than the {limit} that the cache may hold")]
    LargerThanCache {
        /// Bytes of the content.
        size: u64,
        /// Bytes that the cache may hold.
        limit: u64,
    },
    /// What is pinned or in use leaves too little room.
    #[error("no room for {size} bytes: what the cache holds is pinned or in use")]
    NoRoom {
        /// Bytes of the content.
        size: u64,
    },
    /// The size is beyond what a content may have.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The cache does not hold the content.
    #[error("{0} is not in the cache")]
    NotHeld(ContentId),
    /// A piece or a manifest belongs to another content than the partial.
    #[error("{0} belongs to another content")]
    Foreign(&'static str),
    /// The call does not fit a partial in this state.
    #[error("{0}")]
    NotNow(&'static str),
    /// The file to be added is no plain file.
    #[error("{} is no plain file", .0.display())]
    NotAFile(PathBuf),
    /// The file changed while it was read.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The system did not get to the disk what was written of these contents. They are not
    /// held any more.
    #[error(
        "{} of what came did not get to the disk and must come again, {} first: {source}",
        contents.len(),
        path.display()
    )]
    Lost {
        /// Those that were lost.
        contents: Vec<ContentId>,
        /// A file of the first.
        path: PathBuf,
        /// What the system said of it.
        source: io::Error,
    },
    /// The index could not be opened or made.
    #[error("the index in {} cannot be used: {reason}", path.display())]
    Index {
        /// The directory of the index.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// Anything else the operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file it was about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CacheError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            Self::NoSpace {
                path,
                shortage: None,
            }
        } else {
            Self::Io { path, source }
        }
    }
}

/// A partial could not become a content. It is given back, to fetch the rest, other
/// bytes, or to try again later.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Pieces are missing.
    #[error("{} pieces are missing", missing.len())]
    Incomplete {
        /// The partial, as it was.
        partial: Box<Partial>,
        /// What it lacks, in order.
        missing: Vec<PieceIndex>,
    },
    /// The pieces make another content.
    #[error("the pieces make {found}, not {expected}")]
    WrongContent {
        /// The partial, as it was.
        partial: Box<Partial>,
        /// The content that was asked for.
        expected: ContentId,
        /// The content that the pieces make.
        found: ContentId,
    },
    /// The disk or the index failed.
    #[error("{source}")]
    Cache {
        /// The partial, as it was.
        partial: Box<Partial>,
        /// What failed.
        source: CacheError,
    },
}

impl FinishError {
    /// The partial that could not be finished.
    #[must_use]
    pub fn into_partial(self) -> Partial {
        match self {
            Self::Incomplete { partial, .. }
            | Self::WrongContent { partial, .. }
            | Self::Cache { partial, .. } => *partial,
        }
    }
}

/// A file could not be put where the user wants it.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The directory does not exist.
    #[error("the directory {} does not exist", .0.display())]
    DirectoryMissing(PathBuf),
    /// A part of the path that should be a directory is none.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The destination itself is a directory, or names no file.
    #[error("{} is a directory", .0.display())]
    IsADirectory(PathBuf),
    /// This user may not write there, or the filesystem is read-only.
    #[error("{} cannot be written to", .0.display())]
    NotWritable(PathBuf),
    /// The disk or the quota is full.
    #[error("no space left for {}", .0.display())]
    NoSpace(PathBuf),
    /// What the cache has of the content is not what it was, or not there any more.
    #[error("{0} is not what it was, and must come again")]
    Damaged(ContentId),
    /// Anything else the operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file it was about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether the system says that disk or quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
