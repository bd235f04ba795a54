//! Reading contents.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use potluck_content::{ContentId, Manifest};

use crate::early_copy::EarlyCopy;
use crate::inner::Inner;
use crate::meta::Meta;
use crate::place::fill;
use crate::plain::open_plain;
use crate::{CacheError, Facts, PlaceError, Placement};

/// The right to read a complete content. While one lives, the content is not evicted;
/// and even if it is removed, the bytes can still be read.
///
/// Cheap to clone. Dropping the last lease of a content that is not cached deletes it,
/// which takes as long as the filesystem needs.
#[derive(Clone)]
pub struct Lease(Arc<OpenContent>, Option<EarlyCopy>);

impl Lease {
    pub(crate) const fn new(open: Arc<OpenContent>) -> Self {
        Self(open, None)
    }

    /// With the copy for the user that grew with the content, if there is one.
    pub(crate) fn with_copy(self, copy: Option<EarlyCopy>) -> Self {
        Self(self.0, copy)
    }

    /// The content.
    #[must_use]
    pub fn id(&self) -> ContentId {
        self.0.manifest.id()
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.manifest.size()
    }

    /// The proof of its pieces.
    #[must_use]
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.0.manifest
    }

    /// Whether peers may have it, as of now: see [`Facts::validated`].
    #[must_use]
    pub fn validated(&self) -> bool {
        self.0.news.facts().validated
    }

    /// What is known of it, as of now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.0.news.facts().clone()
    }

    /// Whether it stays when this lease goes; otherwise it did not fit.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.0.news.is_cached()
    }

    /// Whether its bytes are known not to have got to the disk, or not to be what they were:
    /// then it is not in the cache any more, and what can be read may be wrong.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.news.lost.load(Ordering::Relaxed)
    }

    /// The file with its bytes. Read at offsets only: all leases share its cursor.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// The same file, to be kept by a reader on another thread. It does not protect
    /// the content: keep a lease beside it.
    #[must_use]
    pub fn reader(&self) -> Arc<File> {
        Arc::clone(&self.0.file)
    }

    /// Reads bytes at an offset; fewer than asked for only at the end.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self
                .0
                .file
                .read_at(&mut buffer[read..], offset + read as u64)
            {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Puts a copy where the user wants it: see [`place_file`](crate::place_file).
    ///
    /// # Errors
    /// When it cannot be put there; then nothing is.
    pub fn place(&self, destination: &Path, mtime: Option<SystemTime>) -> Result<(), PlaceError> {
        let placement = self.fill(destination)?;
        placement.seal(mtime)?;
        placement.finish()
    }

    /// A copy beside the destination that is not durable and has no name yet.
    pub(crate) fn fill(&self, destination: &Path) -> Result<Placement, PlaceError> {
        let early = self.1.as_ref();
        let early = early.and_then(|it| it.finish(&self.0.file, &self.0.manifest, destination));
        early.map_or_else(|| self.fill_anew(destination), Ok)
    }

    /// What has one piece may never have got to the disk, and is hashed as it is copied.
    fn fill_anew(&self, destination: &Path) -> Result<Placement, PlaceError> {
        if self.0.manifest.layout().pieces() > 1 {
            return fill(&self.0.file, self.size(), destination);
        }
        let placement = Placement::begin(destination)?;
        let filled = placement.fill_checked(&self.0.file, self.size(), &self.id());
        if matches!(filled, Err(PlaceError::Damaged(_))) {
            self.0.news.set_lost();
            // It is looked at as a whole, and taken out.
            if let Err(error) = self.0.inner.check(&self.id(), |_| {}) {
                tracing::debug!(content = %self.id(), %error, "not checked");
            }
        }
        filled.map(|()| placement)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.id()).finish()
    }
}

/// A content that somebody reads: one for all leases on it.
pub(crate) struct OpenContent {
    inner: Arc<Inner>,
    manifest: Arc<Manifest>,
    file: Arc<File>,
    news: Arc<News>,
}

/// What may change while a content is read.
pub(crate) struct News {
    facts: Mutex<Facts>,
    cached: AtomicBool,
    lost: AtomicBool,
}

/// How the shelf knows an open content. It can tell the leases news without owning
/// one: the last owner must never go while a lock is held.
pub(crate) struct OpenEntry {
    content: Weak<OpenContent>,
    pub(crate) size: u64,
    pub(crate) news: Arc<News>,
}

impl OpenContent {
    pub(crate) fn open(
        inner: &Arc<Inner>,
        meta: Meta,
        data: &Path,
    ) -> Result<Arc<Self>, CacheError> {
        let file = open_plain(data).map_err(|e| CacheError::io(data, e))?;
        Ok(Arc::new(Self {
            inner: Arc::clone(inner),
            manifest: Arc::new(meta.manifest),
            file: Arc::new(file),
            news: Arc::new(News {
                facts: Mutex::new(meta.facts),
                cached: AtomicBool::new(meta.cached),
                lost: AtomicBool::new(false),
            }),
        }))
    }

    pub(crate) fn entry(self: &Arc<Self>) -> OpenEntry {
        OpenEntry {
            content: Arc::downgrade(self),
            size: self.manifest.size(),
            news: Arc::clone(&self.news),
        }
    }
}

impl OpenEntry {
    pub(crate) fn is_leased(&self) -> bool {
        self.content.strong_count() > 0
    }

    /// Whether it could go if nobody leased it.
    pub(crate) fn is_kept_by_lease(&self) -> bool {
        self.is_leased() && self.news.is_cached() && !self.news.facts().pinned
    }

    /// One more owner. It must outlive the lock under which it was got.
    pub(crate) fn content(&self) -> Option<Arc<OpenContent>> {
        self.content.upgrade()
    }
}

impl News {
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.cached.load(Ordering::Relaxed)
    }

    pub(crate) fn set_cached(&self) {
        self.cached.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

impl Drop for OpenContent {
    fn drop(&mut self) {
        let id = self.manifest.id();
        let surplus = {
            let mut shelf = self.inner.shelf();
            // Another may have been opened since the last lease went, or the content
            // was removed and added again.
            let own = shelf
                .open
                .get(&id)
                .is_some_and(|open| std::ptr::eq(open.content.as_ptr(), self));
            if !own {
                return;
            }
            shelf.open.remove(&id);
            shelf.surplus()
        };
        if !self.news.is_cached() {
            self.inner.settle(&id);
        }
        if surplus > 0 {
            // The limit was lowered while this was read.
            self.inner.enforce_limit();
        }
    }
}
