//! Contents that are not complete yet.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use potluck_content::{
    Bitfield, ContentHasher, ContentId, HashedPiece, Layout, Manifest, PieceIndex, VerifiedPiece,
};

use crate::ahead::Ahead;
use crate::data_dir::meta_path;
use crate::disk::Disk;
use crate::early_copy::EarlyCopy;
use crate::inner::{Inner, lock};
use crate::partial_meta;
use crate::piece_map::{Begin, PieceMap};
use crate::written_log::{WrittenLog, written_path};
use crate::{CacheError, PartialKey, PutOutcome};

/// An unfinished content, open to be written. Several threads may put pieces at once.
///
/// Dropping it keeps what was checkpointed, and while the machine stays up everything
/// that was written; of a stream, and of a content of one piece, nothing.
pub struct Partial {
    pub(crate) inner: Arc<Inner>,
    pub(crate) key: PartialKey,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Of one piece: when that is there, it is complete. Nothing is ever resumed.
    pub(crate) is_brief: bool,
    pub(crate) file: File,
    pub(crate) body: Mutex<Body>,
    pub(crate) ahead: Ahead,
    /// What was written since the machine started. Locked last.
    pub(crate) log: Mutex<WrittenLog>,
    /// Held while bytes are written: the filesystem lets one writer into a file at a time,
    /// and threads that wait here sleep, while those that wait there burn processor time.
    pub(crate) writing: Mutex<()>,
    /// Told when a piece ended to be written.
    pub(crate) written: Condvar,
    /// The pieces that the sidecar on disk claims. Locked before `body`, and while the
    /// sidecar is written.
    pub(crate) claimed: Mutex<Bitfield>,
    /// Where the user wants it.
    pub(crate) early_copy: Option<EarlyCopy>,
}

/// How the bytes come.
pub(crate) enum Body {
    /// In pieces, in any order.
    Pieces(PieceMap),
    /// From the first to the last, however many there will be. Such a partial cannot
    /// be resumed: who does not say the size cannot go on in the middle either.
    Stream(Box<ContentHasher>),
}

impl Partial {
    /// What it is called.
    #[must_use]
    pub const fn key(&self) -> &PartialKey {
        &self.key
    }

    /// Its pieces; `None` while the size is not known.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        match &*self.body() {
            Body::Pieces(map) => Some(*map.layout()),
            Body::Stream(_) => None,
        }
    }

    /// The proof of its pieces, if somebody gave it.
    #[must_use]
    pub fn manifest(&self) -> Option<Manifest> {
        match &*self.body() {
            Body::Pieces(map) => map.manifest().cloned(),
            Body::Stream(_) => None,
        }
    }

    /// The pieces that are written; none while the size is not known.
    #[must_use]
    pub fn bitfield(&self) -> Bitfield {
        match &*self.body() {
            Body::Pieces(map) => map.held().clone(),
            Body::Stream(_) => Bitfield::empty(0),
        }
    }

    /// Bytes that are written.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        match &*self.body() {
            Body::Pieces(map) => map.held_bytes(),
            Body::Stream(hasher) => hasher.size(),
        }
    }

    /// Lets a copy for the user grow with it from now on, which [`Lease::place`] finishes.
    /// A help only: where it cannot be made, everything is copied in the end.
    ///
    /// [`Lease::place`]: crate::Lease::place
    pub fn copy_early(&mut self, destination: &Path) {
        let Some(layout) = self.layout() else {
            return;
        };
        self.early_copy = EarlyCopy::begin(&self.inner, destination, &self.file, &layout);
    }

    /// Makes durable what the copy for the user has.
    pub fn sync_early_copy(&self) {
        if let Some(copy) = &self.early_copy {
            copy.sync();
        }
    }

    /// Writes a piece that was checked against the manifest.
    ///
    /// # Errors
    /// [`CacheError::Foreign`] when the piece was checked against another manifest;
    /// others when the disk fails.
    pub fn put(&self, piece: VerifiedPiece) -> Result<(), CacheError> {
        let manifest = match &*self.body() {
            Body::Pieces(map) => map.manifest().map(Manifest::id),
            Body::Stream(_) => None,
        };
        if manifest != Some(piece.content()) {
            return Err(CacheError::Foreign("the piece"));
        }
        match self.put_hashed(piece.into_hashed())? {
            PutOutcome::Stored | PutOutcome::AlreadyHeld => Ok(()),
            PutOutcome::Mismatch(_) => Err(CacheError::Foreign("the piece")),
        }
    }

    /// Writes a piece that nothing vouches for yet. With a manifest, it must match.
    ///
    /// # Errors
    /// [`CacheError::Foreign`] when the piece is of another layout,
    /// [`CacheError::NotNow`] while the size is not known; others when the disk fails.
    pub fn put_hashed(&self, piece: HashedPiece) -> Result<PutOutcome, CacheError> {
        let (index, value) = (piece.index(), piece.value());
        let mut body = self.body();
        let offset = loop {
            let map = pieces(&mut body)?;
            if map.layout() != piece.layout() {
                return Err(CacheError::Foreign("the piece"));
            }
            match map.begin(index, value) {
                Begin::Write => break map.layout().span(index).start,
                Begin::AlreadyHeld => return Ok(PutOutcome::AlreadyHeld),
                Begin::Mismatch => return Ok(PutOutcome::Mismatch(piece)),
                Begin::Wait => {
                    body = self
                        .written
                        .wait(body)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(body);
        let result = self.write_piece(piece.bytes(), offset);
        let held = pieces(&mut self.body())?.end(index, value, result.is_ok());
        self.written.notify_all();
        result?;
        if held {
            lock(&self.log).wrote(self.disk(), index, value);
            if let Some(copy) = &self.early_copy {
                copy.put(index, value, piece.bytes());
            }
        }
        self.ahead.wrote(piece.bytes().len());
        Ok(if held {
            PutOutcome::Stored
        } else {
            PutOutcome::Mismatch(piece)
        })
    }

    /// Tells how many bytes will be appended, where that is known after all: then room is
    /// made for it as for any other content.
    #[must_use]
    pub fn foretold(mut self, size: u64) -> Self {
        self.ahead.foretell(size);
        self
    }

    /// Writes the next bytes of a content whose size is not known.
    ///
    /// # Errors
    /// [`CacheError::NotNow`] when the size is known, [`CacheError::Endless`] when it takes
    /// more than is left to it; others when the disk fails.
    pub fn append(&self, bytes: &[u8]) -> Result<(), CacheError> {
        match &mut *self.body() {
            Body::Pieces(_) => Err(CacheError::NotNow(
                "a content of known size comes in pieces",
            )),
            Body::Stream(hasher) => {
                self.ahead.need_more(&self.path, bytes.len())?;
                self.disk()
                    .write_at(&self.file, bytes, hasher.size())
                    .map_err(|e| CacheError::io(&self.path, e))?;
                hasher.update(bytes)?;
                self.ahead.wrote(bytes.len());
                Ok(())
            }
        }
    }

    /// Reads bytes of pieces that are held. Says `false`, and reads nothing, when the range
    /// is not held whole.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<bool, CacheError> {
        let held = match &*self.body() {
            Body::Pieces(map) => {
                let end = offset.saturating_add(buffer.len() as u64);
                let (layout, len) = (map.layout(), map.layout().piece_len());
                end <= layout.size()
                    && (offset / len..end.div_ceil(len)).all(|index| {
                        u32::try_from(index).is_ok_and(|index| map.held().has(PieceIndex(index)))
                    })
            }
            Body::Stream(_) => false,
        };
        if !held {
            return Ok(false);
        }
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|e| CacheError::io(&self.path, e))?;
        Ok(true)
    }

    /// Takes the proof of the pieces. Pieces that differ are dropped: says how many bytes
    /// they had. So is everything that came in order while the size was not known.
    ///
    /// # Errors
    /// [`CacheError::Foreign`] when the manifest is for another size; others when the
    /// disk fails, and then it is not taken.
    pub fn set_manifest(&self, manifest: Manifest) -> Result<u64, CacheError> {
        let mut claimed = lock(&self.claimed);
        let differing = match &mut *self.body() {
            Body::Pieces(map) => {
                if map.layout() != manifest.layout() {
                    return Err(CacheError::Foreign("the manifest"));
                }
                map.differing(&manifest)
            }
            body @ Body::Stream(_) => return self.begin_pieces(body, &mut claimed, manifest),
        };
        lock(&self.log).take_back(self.disk(), &differing);
        self.unclaim(&mut claimed, &differing)?;
        Ok(pieces(&mut self.body())?.set_manifest(manifest))
    }

    /// The pieces that are held and that a manifest would not have. None where it is for
    /// another size, or while the size is not known.
    #[must_use]
    pub fn differing(&self, manifest: &Manifest) -> Vec<PieceIndex> {
        match &*self.body() {
            Body::Pieces(map) if map.layout() == manifest.layout() => map.differing(manifest),
            _ => Vec::new(),
        }
    }

    /// The content that the pieces make, once all of them are held.
    #[must_use]
    pub fn merged(&self) -> Option<ContentId> {
        match &*self.body() {
            Body::Pieces(map) if map.held().is_full() => {
                map.merged().ok().map(|manifest| manifest.id())
            }
            _ => None,
        }
    }

    /// Drops pieces that turned out to be wrong, so that they can be put again.
    ///
    /// # Errors
    /// When the disk fails; then they are still held.
    pub fn discard_pieces(&self, unwanted: &[PieceIndex]) -> Result<(), CacheError> {
        let mut claimed = lock(&self.claimed);
        lock(&self.log).take_back(self.disk(), unwanted);
        self.unclaim(&mut claimed, unwanted)?;
        pieces(&mut self.body())?.discard(unwanted);
        Ok(())
    }

    /// Makes the pieces that are held now survive a crash. Does nothing while the size is
    /// not known, or where there is only one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn checkpoint(&self) -> Result<(), CacheError> {
        if self.is_brief {
            return Ok(());
        }
        let mut claimed = lock(&self.claimed);
        // What is held before the sync is on disk after it; what comes later may not be.
        let map = match &*self.body() {
            Body::Pieces(map) => map.clone(),
            Body::Stream(_) => return Ok(()),
        };
        self.sync(&claimed)?;
        self.write_sidecar(&mut claimed, &map, map.held().clone())
    }

    /// Makes the bytes durable. When that fails, the system may have given up what it could
    /// not write, and it says so only once: pieces that are not claimed are not held any
    /// more, also where they can still be read.
    pub(crate) fn sync(&self, claimed: &Bitfield) -> Result<(), CacheError> {
        let Err(error) = self.disk().sync(&self.file) else {
            return Ok(());
        };
        let unsure: Vec<_> = match &*self.body() {
            Body::Pieces(map) => map.held().held().filter(|it| !claimed.has(*it)).collect(),
            Body::Stream(_) => Vec::new(),
        };
        lock(&self.log).take_back(self.disk(), &unsure);
        if let Body::Pieces(map) = &mut *self.body() {
            map.discard(&unsure);
        }
        Err(CacheError::io(&self.path, error))
    }

    /// Deletes it.
    pub fn abandon(self) {
        if self.is_brief {
            return;
        }
        // The sidecar first: it must not claim bytes that are gone.
        self.disk().discard(&meta_path(&self.path));
        self.disk().discard(&written_path(&self.path));
        self.disk().discard(&self.path);
    }

    fn write_piece(&self, bytes: &[u8], offset: u64) -> Result<(), CacheError> {
        if let Err(error) = self.ahead.need(&self.path, bytes.len()) {
            // A help must not be what the content fails for.
            if !self.early_copy.as_ref().is_some_and(EarlyCopy::give_up) {
                return Err(error);
            }
            self.ahead.need(&self.path, bytes.len())?;
        }
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk()
            .write_at(&self.file, bytes, offset)
            .map_err(|e| CacheError::io(&self.path, e))
    }

    /// Ends a stream because its manifest came. Nothing of it is kept.
    fn begin_pieces(
        &self,
        body: &mut Body,
        claimed: &mut Bitfield,
        manifest: Manifest,
    ) -> Result<u64, CacheError> {
        let dropped = match body {
            Body::Pieces(map) => map.held_bytes(),
            Body::Stream(hasher) => hasher.size(),
        };
        self.disk()
            .set_len(&self.file, 0)
            .and_then(|()| self.disk().set_len(&self.file, manifest.size()))
            .map_err(|e| CacheError::io(&self.path, e))?;
        *claimed = Bitfield::empty(manifest.layout().pieces());
        *lock(&self.log) = WrittenLog::open(self.disk(), &self.path, manifest.size());
        *body = Body::Pieces(PieceMap::new(*manifest.layout(), Some(manifest)));
        Ok(dropped)
    }

    /// Sees to it that the sidecar does not claim pieces whose place may be written anew.
    fn unclaim(&self, claimed: &mut Bitfield, unwanted: &[PieceIndex]) -> Result<(), CacheError> {
        if !unwanted.iter().any(|index| claimed.has(*index)) {
            return Ok(());
        }
        let map = match &*self.body() {
            Body::Pieces(map) => map.clone(),
            Body::Stream(_) => return Ok(()),
        };
        let mut left = claimed.clone();
        for index in unwanted {
            if left.has(*index) {
                left.clear(*index);
            }
        }
        self.write_sidecar(claimed, &map, left)
    }

    fn write_sidecar(
        &self,
        claimed: &mut Bitfield,
        map: &PieceMap,
        held: Bitfield,
    ) -> Result<(), CacheError> {
        let bytes = partial_meta::encode(&self.key, map, &held);
        self.inner.dir.replace(&meta_path(&self.path), &bytes)?;
        self.inner.dir.sync_dir(&self.inner.dir.partials())?;
        *claimed = held;
        Ok(())
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.inner.dir.disk
    }

    pub(crate) fn body(&self) -> MutexGuard<'_, Body> {
        lock(&self.body)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Nobody can go on with a stream, nor with one piece. When it is complete, it is not
        // there any more.
        if self.is_brief || matches!(&*self.body(), Body::Stream(_)) {
            self.disk().discard(&self.path);
        }
        self.inner.shelf().partials.remove(&self.name);
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial")
            .field("key", &self.key)
            .field("held", &self.bitfield())
            .finish_non_exhaustive()
    }
}

pub(crate) fn pieces(body: &mut Body) -> Result<&mut PieceMap, CacheError> {
    match body {
        Body::Pieces(map) => Ok(map),
        Body::Stream(_) => Err(CacheError::NotNow("the size of the content is not known")),
    }
}
