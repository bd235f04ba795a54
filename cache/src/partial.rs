//! Contents that are not complete yet.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use potluck_content::{
    Bitfield, ContentHasher, ContentId, EntityKey, HashedPiece, Layout, Manifest, PieceIndex,
    VerifiedPiece,
};
use serde::{Deserialize, Serialize};

use crate::admit::Room;
use crate::cache::Inner;
use crate::data_dir::{discard, meta_path, private_file, read, sync_dir};
use crate::partial_meta;
use crate::piece_map::{Begin, PieceMap};
use crate::{CacheError, Facts, FinishError, Lease, PutOutcome};

/// What an unfinished content is called until its content id is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialKey {
    /// The bytes of an entity: every job that wants it can go on with them.
    Entity(EntityKey),
    /// A content whose id is known.
    Content(ContentId),
    /// Bytes that nothing but this job and file vouch for.
    Private(String),
}

/// What unfinished content is wanted, and what is known of it.
#[derive(Debug, Clone)]
pub struct PartialSpec {
    /// Its name.
    pub key: PartialKey,
    /// Its size in bytes, when the origin said it.
    pub size: Option<u64>,
    /// The proof of its pieces, when somebody gave it.
    pub manifest: Option<Manifest>,
}

/// An unfinished content, open to be written. Several threads may put pieces at once.
///
/// Dropping it keeps what was checkpointed; later pieces are lost.
pub struct Partial {
    inner: Arc<Inner>,
    key: PartialKey,
    name: String,
    path: PathBuf,
    file: File,
    body: Mutex<Body>,
    /// Told when a piece ended to be written.
    written: Condvar,
    /// The pieces that the sidecar on disk claims. Locked before `body`, and while the
    /// sidecar is written.
    claimed: Mutex<Bitfield>,
}

/// How the bytes come.
enum Body {
    /// In pieces, in any order.
    Pieces(PieceMap),
    /// From the first to the last, however many there will be. Such a partial cannot
    /// be resumed: who does not say the size cannot go on in the middle either.
    Stream(Box<ContentHasher>),
}

impl PartialKey {
    /// The name of the partial's file.
    fn file_name(&self) -> String {
        match self {
            Self::Entity(key) => format!("e-{key}"),
            Self::Content(id) => format!("c-{}", id.to_hex()),
            Self::Private(text) => format!("p-{}", ContentId::of(text.as_bytes()).to_hex()),
        }
    }
}

impl fmt::Display for PartialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entity(key) => write!(f, "entity {key}"),
            Self::Content(id) => id.fmt(f),
            Self::Private(text) => f.write_str(text),
        }
    }
}

impl Partial {
    pub(crate) fn open(inner: &Arc<Inner>, spec: PartialSpec) -> Result<Self, CacheError> {
        let name = spec.key.file_name();
        if !inner.shelf().partials.insert(name.clone()) {
            return Err(CacheError::Busy(spec.key));
        }
        // From here on, the name is given back when this goes.
        let claim = NameClaim { inner, name: &name };
        let path = inner.dir.partials().join(&name);
        let size = match (&spec.manifest, spec.size) {
            (Some(manifest), Some(size)) if manifest.size() != size => {
                return Err(CacheError::Foreign("the manifest"));
            }
            (Some(manifest), _) => Some(manifest.size()),
            (None, size) => size,
        };
        let wanted = size.map(Layout::for_size).transpose()?;
        let (file, body) = match resume(&spec.key, &path, wanted) {
            Some((file, map)) => (file, Body::Pieces(map)),
            None => (
                begin(&path, size)?,
                match wanted {
                    Some(layout) => Body::Pieces(PieceMap::new(layout, None)),
                    None => Body::Stream(Box::default()),
                },
            ),
        };
        let claimed = match &body {
            Body::Pieces(map) => map.held().clone(),
            Body::Stream(_) => Bitfield::empty(0),
        };
        std::mem::forget(claim);
        let partial = Self {
            inner: Arc::clone(inner),
            key: spec.key,
            name,
            path,
            file,
            body: Mutex::new(body),
            written: Condvar::new(),
            claimed: Mutex::new(claimed),
        };
        if let Some(manifest) = spec.manifest {
            partial.set_manifest(manifest)?;
        }
        Ok(partial)
    }

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
        let result = self.file.write_all_at(piece.bytes(), offset);
        let held = pieces(&mut self.body())?.end(index, value, result.is_ok());
        self.written.notify_all();
        result.map_err(|e| CacheError::io(&self.path, e))?;
        Ok(if held {
            PutOutcome::Stored
        } else {
            PutOutcome::Mismatch(piece)
        })
    }

    /// Writes the next bytes of a content whose size is not known.
    ///
    /// # Errors
    /// [`CacheError::NotNow`] when the size is known; others when the disk fails.
    pub fn append(&self, bytes: &[u8]) -> Result<(), CacheError> {
        match &mut *self.body() {
            Body::Pieces(_) => Err(CacheError::NotNow(
                "a content of known size comes in pieces",
            )),
            Body::Stream(hasher) => {
                self.file
                    .write_all_at(bytes, hasher.size())
                    .map_err(|e| CacheError::io(&self.path, e))?;
                Ok(hasher.update(bytes)?)
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
        self.unclaim(&mut claimed, &differing)?;
        Ok(pieces(&mut self.body())?.set_manifest(manifest))
    }

    /// Drops pieces that turned out to be wrong, so that they can be put again.
    ///
    /// # Errors
    /// When the disk fails; then they are still held.
    pub fn discard_pieces(&self, unwanted: &[PieceIndex]) -> Result<(), CacheError> {
        let mut claimed = lock(&self.claimed);
        self.unclaim(&mut claimed, unwanted)?;
        pieces(&mut self.body())?.discard(unwanted);
        Ok(())
    }

    /// Makes the pieces that are held now survive a crash. Does nothing while the size is
    /// not known.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn checkpoint(&self) -> Result<(), CacheError> {
        let mut claimed = lock(&self.claimed);
        // What is held before the sync is on disk after it; what comes later may not be.
        let map = match &*self.body() {
            Body::Pieces(map) => map.clone(),
            Body::Stream(_) => return Ok(()),
        };
        self.file
            .sync_data()
            .map_err(|e| CacheError::io(&self.path, e))?;
        self.write_sidecar(&mut claimed, &map, map.held().clone())
    }

    /// Makes it a complete content, not validated yet. See [`Partial::finish_with`].
    ///
    /// # Errors
    /// As [`Partial::finish_with`].
    pub fn finish(self, expected: Option<ContentId>) -> Result<Lease, FinishError> {
        self.finish_with(expected, &Facts::default())
    }

    /// Makes it a complete content of which `facts` are known, and leases it. When it
    /// does not fit under the limit, it stays only until the last lease is dropped.
    ///
    /// # Errors
    /// When pieces are missing, when they make another content than `expected`, or when
    /// the disk fails. The error gives the partial back.
    pub fn finish_with(
        mut self,
        expected: Option<ContentId>,
        facts: &Facts,
    ) -> Result<Lease, FinishError> {
        let manifest = match self.complete() {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(missing)) => {
                let partial = Box::new(self);
                return Err(FinishError::Incomplete { partial, missing });
            }
            Err(source) => {
                let partial = Box::new(self);
                return Err(FinishError::Cache { partial, source });
            }
        };
        let found = manifest.id();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(FinishError::WrongContent {
                partial: Box::new(self),
                expected,
                found,
            });
        }
        let admitted = self
            .file
            .sync_all()
            .map_err(|e| CacheError::io(&self.path, e))
            .and_then(|()| {
                self.inner
                    .admit(&self.path, manifest, facts, Room::IfItFits)
            });
        match admitted {
            Ok(open) => {
                discard(&meta_path(&self.path));
                Ok(Lease::new(open))
            }
            Err(source) => Err(FinishError::Cache {
                partial: Box::new(self),
                source,
            }),
        }
    }

    /// Deletes it.
    pub fn abandon(self) {
        // The sidecar first: it must not claim bytes that are gone.
        discard(&meta_path(&self.path));
        discard(&self.path);
    }

    /// The manifest when everything is there, or else what is missing. A stream ends
    /// here: from now on it is a content of known size.
    fn complete(&mut self) -> Result<Result<Manifest, Vec<PieceIndex>>, CacheError> {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Body::Stream(hasher) = body {
            let manifest = std::mem::take(hasher).finish();
            let (layout, values) = (*manifest.layout(), manifest.values().to_vec());
            let held = Bitfield::full(layout.pieces());
            *body = Body::Pieces(PieceMap::restore(layout, None, held, values));
            let claimed = self.claimed.get_mut();
            *claimed.unwrap_or_else(PoisonError::into_inner) = Bitfield::empty(layout.pieces());
        }
        let map = pieces(body)?;
        if !map.held().is_full() {
            return Ok(Err(map.missing()));
        }
        map.merged()
            .map(Ok)
            .map_err(|_| CacheError::Foreign("a piece"))
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
        self.file
            .set_len(0)
            .and_then(|()| self.file.set_len(manifest.size()))
            .map_err(|e| CacheError::io(&self.path, e))?;
        *claimed = Bitfield::empty(manifest.layout().pieces());
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
        sync_dir(&self.inner.dir.partials())?;
        *claimed = held;
        Ok(())
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        lock(&self.body)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
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

/// Gives the name back when opening fails.
struct NameClaim<'a> {
    inner: &'a Inner,
    name: &'a str,
}

impl Drop for NameClaim<'_> {
    fn drop(&mut self) {
        self.inner.shelf().partials.remove(self.name);
    }
}

/// Opens what is there, if it can be believed and is what is wanted.
fn resume(key: &PartialKey, path: &PathBuf, wanted: Option<Layout>) -> Option<(File, PieceMap)> {
    let map = match read(&meta_path(path)) {
        Ok(bytes) => partial_meta::decode(key, &bytes)
            .inspect_err(|error| tracing::warn!(partial = %key, %error, "begun again"))
            .ok()?,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(partial = %key, %error, "begun again");
            }
            return None;
        }
    };
    if wanted.is_some_and(|wanted| wanted != *map.layout()) {
        return None;
    }
    let file = private_file().open(path).ok()?;
    let whole = file.metadata().ok()?.len() == map.layout().size();
    whole.then_some((file, map))
}

/// Makes an empty file, sparse if its size is known.
fn begin(path: &PathBuf, size: Option<u64>) -> Result<File, CacheError> {
    let meta = meta_path(path);
    if meta.exists() {
        // On disk too, before the bytes that it claims go.
        discard(&meta);
        meta.parent().map_or(Ok(()), sync_dir)?;
    }
    let file = private_file()
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(|e| CacheError::io(path, e))?;
    file.set_len(size.unwrap_or(0))
        .map_err(|e| CacheError::io(path, e))?;
    Ok(file)
}

fn pieces(body: &mut Body) -> Result<&mut PieceMap, CacheError> {
    match body {
        Body::Pieces(map) => Ok(map),
        Body::Stream(_) => Err(CacheError::NotNow("the size of the content is not known")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
