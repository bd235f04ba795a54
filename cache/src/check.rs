//! Reading contents again, piece by piece, because disks forget.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use potluck_content::{ContentId, HashedPiece, Manifest, PieceIndex};

use crate::inner::{Inner, Unusable};
use crate::meta::Meta;
use crate::plain::open_plain;
use crate::{CacheError, Damage, Lease};

/// What became of a content that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Every byte is what it was.
    Good,
    /// It was not, and is not held any more.
    Damaged(Damage),
}

impl Checked {
    /// Whether every byte is what it was.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Good)
    }
}

/// What became of a part of a content that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedPart {
    /// Whether its bytes are what they were.
    pub is_good: bool,
    /// Bytes that were read.
    pub bytes: u64,
    /// The piece to go on with; `None` at the end.
    pub next: Option<PieceIndex>,
}

/// A content that is about to be read.
struct Subject {
    meta: Meta,
    /// Opened anew: what a lease has open may not be what lies there now.
    file: File,
    /// Keeps it from being evicted meanwhile.
    _lease: Option<Lease>,
}

impl Inner {
    /// Reads a content whole and takes out what is not as it was. Not a use of it.
    pub(crate) fn check(
        self: &Arc<Self>,
        id: &ContentId,
        progress: impl FnMut(u64),
    ) -> Result<Checked, CacheError> {
        let subject = match self.open_to_check(id)? {
            Ok(subject) => subject,
            Err(damage) => return Ok(Checked::Damaged(damage)),
        };
        let all = 0..subject.meta.manifest.layout().pieces();
        let bad = subject.bad_pieces(all, progress);
        if bad.is_empty() && subject.has_its_size() {
            return Ok(Checked::Good);
        }
        let found = subject.file.metadata().map_or(0, |meta| meta.len());
        Ok(Checked::Damaged(self.salvage(&subject.meta, bad, found)))
    }

    /// Reads some pieces of a content; takes nothing out.
    pub(crate) fn check_part(
        self: &Arc<Self>,
        id: &ContentId,
        from: PieceIndex,
        max_bytes: u64,
    ) -> Result<CheckedPart, CacheError> {
        let Ok(subject) = self.open_to_check(id)? else {
            return Err(CacheError::NotHeld(*id));
        };
        let layout = subject.meta.manifest.layout();
        let pieces = u32::try_from(max_bytes / layout.piece_len()).unwrap_or(u32::MAX);
        let end = from.0.saturating_add(pieces.max(1)).min(layout.pieces());
        let wanted = from.0.min(end)..end;
        let mut bytes = 0;
        let bad = subject.bad_pieces(wanted, |read| bytes = read);
        Ok(CheckedPart {
            is_good: bad.is_empty() && subject.has_its_size(),
            bytes,
            next: (end < layout.pieces()).then_some(PieceIndex(end)),
        })
    }

    /// Opens a content, also where its bytes are fewer or more than they were. One that
    /// cannot be opened at all is taken out.
    fn open_to_check(
        self: &Arc<Self>,
        id: &ContentId,
    ) -> Result<Result<Subject, Damage>, CacheError> {
        if self.index.get(id).is_none() {
            return Err(CacheError::NotHeld(*id));
        }
        let data = self.dir.content(id);
        let meta = match Meta::read_sidecar(id, &data) {
            Ok(meta) if !meta.is_doubtful() => meta,
            // It may never have got to the disk, as a whole.
            _ => match self.meta_to_check(id)? {
                Ok(meta) => meta,
                Err(damage) => return Ok(Err(damage)),
            },
        };
        match open_plain(&data) {
            Ok(file) => {
                let whole = (file.metadata()).is_ok_and(|f| f.len() == meta.manifest.size());
                let lease = whole.then(|| self.open_unused(id)).flatten();
                Ok(Ok(Subject {
                    meta,
                    file,
                    _lease: lease.map(Lease::new),
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(CacheError::io(&data, error))
            }
            // It came right, or went, just now, where it is no damage.
            Err(_) => match self.meta_to_check(id)? {
                Ok(_) => Err(CacheError::NotHeld(*id)),
                Err(damage) => Ok(Err(damage)),
            },
        }
    }

    fn meta_to_check(&self, id: &ContentId) -> Result<Result<Meta, Damage>, CacheError> {
        match self.usable_meta(id, Meta::read) {
            Ok(meta) => Ok(Ok(meta)),
            Err(Unusable::TakenOut(damage)) => Ok(Err(damage)),
            Err(Unusable::Unreadable(error)) => Err(CacheError::io(&self.dir.content(id), error)),
            Err(Unusable::NotHeld) => Err(CacheError::NotHeld(*id)),
        }
    }
}

impl Subject {
    /// The pieces of a range that are not what the manifest says, or cannot be read.
    /// `progress` is told the bytes read so far.
    fn bad_pieces(&self, wanted: Range<u32>, mut progress: impl FnMut(u64)) -> Vec<PieceIndex> {
        let layout = self.meta.manifest.layout();
        let span = layout.span_of_run(wanted.clone());
        // From the disk, not from memory: it is the disk that is asked.
        forget_cached(&self.file, &span);
        let mut bad = Vec::new();
        let mut read = 0;
        for index in wanted.map(PieceIndex) {
            if !is_good(&self.file, &self.meta.manifest, index) {
                bad.push(index);
            }
            read += layout.len_of(index) as u64;
            progress(read);
        }
        bad
    }

    fn has_its_size(&self) -> bool {
        let size = self.meta.manifest.size();
        self.file.metadata().is_ok_and(|file| file.len() == size)
    }
}

fn is_good(file: &File, manifest: &Manifest, index: PieceIndex) -> bool {
    let layout = *manifest.layout();
    let mut bytes = vec![0; layout.len_of(index)];
    let read = file.read_exact_at(&mut bytes, layout.span(index).start);
    read.is_ok()
        && HashedPiece::new(layout, index, Bytes::from(bytes))
            .is_ok_and(|piece| manifest.values().get(index.0 as usize) == Some(&piece.value()))
}

fn forget_cached(file: &File, span: &Range<u64>) {
    if let Some(len) = std::num::NonZero::new(span.end - span.start) {
        // Where this cannot be done, what memory has is checked instead.
        let _ = rustix::fs::fadvise(file, span.start, Some(len), rustix::fs::Advice::DontNeed);
    }
}
