//! The copy for the user, made while the content comes.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use potluck_content::{ChainingValue, Layout, Manifest, PieceIndex};

use crate::PlaceError;
use crate::Placement;
use crate::inner::{Inner, lock};

/// Copies at once, at most: each holds a file open.
const MOST: usize = 16;
/// A smaller content is copied at once when it is complete.
const LEAST: u64 = 4 << 20;

/// A copy of a content that grows with it, in the directory where the user wants it.
///
/// Pieces are written to it from memory, when they are written to the unfinished content,
/// so that the disk has less to do when the content is complete. The copy remembers what
/// each piece hashed to: whatever is missing or differs in the end is copied again. It is a
/// help only. When it cannot be made, or its disk fails, it is given up, and the content is
/// copied when it is complete.
///
/// It is a file without a name: nothing of it is left when it is given up, and not when the
/// process is killed. Where the filesystem knows no such files, there is no early copy.
///
/// Cheap to clone; all clones are the same copy.
#[derive(Clone)]
pub(crate) struct EarlyCopy(Arc<Mutex<Option<Growing>>>);

struct Growing {
    destination: PathBuf,
    placement: Placement,
    layout: Layout,
    /// What the pieces that are in it hash to.
    values: Vec<Option<ChainingValue>>,
    /// Room on the disk of the cache that it will take; nothing where it is on another.
    promised: Promised,
    /// Counts against [`MOST`].
    _slot: Arc<()>,
}

/// Bytes that the disk of the cache has promised.
struct Promised {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Promised {
    /// Where no content has to go for them.
    fn new(inner: &Arc<Inner>, bytes: u64) -> Option<Self> {
        let spare = inner.spare_disk().ok()?;
        let mut shelf = inner.shelf();
        if shelf.promised.saturating_add(bytes) > spare {
            return None;
        }
        shelf.promised += bytes;
        drop(shelf);
        let inner = Arc::clone(inner);
        Some(Self { inner, bytes })
    }

    fn keep(&mut self, bytes: usize) {
        let kept = self.bytes.min(bytes as u64);
        self.bytes -= kept;
        self.inner.shelf().promised -= kept;
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        self.inner.shelf().promised -= self.bytes;
    }
}

impl EarlyCopy {
    /// Begins a copy of what comes into `source`, a file of its whole length. Nothing where
    /// it would not help, or cannot be made without anything going for it.
    pub(crate) fn begin(
        inner: &Arc<Inner>,
        destination: &Path,
        source: &File,
        layout: &Layout,
    ) -> Option<Self> {
        let slots = &inner.early_copies;
        if layout.size() < LEAST || Arc::strong_count(slots) > MOST {
            return None;
        }
        let slot = Arc::clone(slots);
        let placement = Placement::begin_nameless(destination)?;
        if rustix::fs::ioctl_ficlone(placement.file(), source).is_ok() {
            // A clone of the whole will cost nothing.
            return None;
        }
        let is_beside = device(placement.file())? == device(source)?;
        let promised = Promised::new(inner, if is_beside { layout.size() } else { 0 })?;
        // Pieces come in any order, and it says early that so much is too much.
        placement.file().set_len(layout.size()).ok()?;
        Some(Self(Arc::new(Mutex::new(Some(Growing {
            destination: destination.to_owned(),
            placement,
            layout: *layout,
            values: vec![None; layout.pieces() as usize],
            promised,
            _slot: slot,
        })))))
    }

    /// Gives it up: its room is needed. Says whether there was anything to give up.
    pub(crate) fn give_up(&self) -> bool {
        lock(&self.0).take().is_some()
    }

    /// Writes a piece of which the unfinished content holds the same bytes.
    pub(crate) fn put(&self, index: PieceIndex, value: ChainingValue, bytes: &[u8]) {
        let mut growing = lock(&self.0);
        let Some(copy) = growing.as_mut() else {
            return;
        };
        let at = u64::from(index.0) * copy.layout.piece_len();
        let written = copy.placement.file().write_all_at(bytes, at);
        match (written, copy.values.get_mut(index.0 as usize)) {
            (Ok(()), Some(known)) => {
                if known.replace(value).is_none() {
                    copy.promised.keep(bytes.len());
                }
            }
            (Ok(()), None) => *growing = None,
            (Err(error), _) => {
                tracing::debug!(path = %copy.destination.display(), %error, "no copy ahead");
                *growing = None;
            }
        }
    }

    /// Makes what is in it durable, so that less is to be done in the end.
    pub(crate) fn sync(&self) {
        let file = lock(&self.0).as_ref().map(|copy| copy.placement.shared());
        if let Some(file) = file
            && let Err(error) = file.sync_data()
        {
            // The system says so only once: what was lost is not known.
            tracing::debug!(%error, "no copy ahead");
            *lock(&self.0) = None;
        }
    }

    /// The file, with what it lacked copied from `source`, the whole content. Nothing when
    /// there is no copy for this destination any more, or it cannot be done: then it is to be
    /// placed from the beginning.
    pub(crate) fn finish(
        &self,
        source: &File,
        manifest: &Manifest,
        destination: &Path,
    ) -> Option<Placement> {
        let copy = lock(&self.0).take()?;
        if copy.destination != destination || copy.layout != *manifest.layout() {
            return None;
        }
        copy.complete(source, manifest)
            .inspect_err(|error| tracing::debug!(%error, "copied ahead in vain"))
            .ok()
    }
}

impl Growing {
    fn complete(self, source: &File, manifest: &Manifest) -> Result<Placement, PlaceError> {
        let pieces = self.values.iter().zip(manifest.values());
        let missing = manifest
            .layout()
            .indices()
            .zip(pieces)
            .filter(|(_, (copied, value))| copied.as_ref() != Some(value))
            .map(|(index, _)| manifest.layout().span(index));
        self.placement.fill_spans(source, missing)?;
        Ok(self.placement)
    }
}

fn device(file: &File) -> Option<u64> {
    file.metadata().ok().map(|about| about.dev())
}

#[cfg(test)]
mod tests;
