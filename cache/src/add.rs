//! Files of this machine, read from their first byte to their last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use potluck_content::{ContentHasher, Manifest};

use crate::inner::Inner;
use crate::lease::OpenContent;
use crate::room::Room;
use crate::unsynced::When;
use crate::{CacheError, Facts};

/// Bytes that are read at once: enough for the hash to run at full speed.
const BLOCK: usize = 1 << 20;

impl Inner {
    pub(crate) fn add_file(
        self: &Arc<Self>,
        path: &Path,
        facts: &Facts,
        progress: impl FnMut(u64),
    ) -> Result<Arc<OpenContent>, CacheError> {
        let fail = |e| CacheError::io(path, e);
        let source = File::open(path).map_err(fail)?;
        let meta = source.metadata().map_err(fail)?;
        if !meta.is_file() {
            return Err(CacheError::NotAFile(path.to_owned()));
        }
        let size = meta.len();
        let room = if facts.pinned {
            Room::IfItFits
        } else {
            let limit = self.shelf().limits.max_size;
            if size > limit {
                return Err(CacheError::LargerThanCache { size, limit });
            }
            // Before a byte is written, so that the disk never holds more than it may.
            Room::Kept(self.reserve(size).ok_or(CacheError::NoRoom { size })?)
        };
        let (scratch, copy) = self.dir.scratch_file()?;
        let disk = &self.dir.disk;
        let added = self.take_in(&source, path, &copy, &scratch, progress);
        let added = added.and_then(|manifest| {
            if manifest.size() != size {
                return Err(CacheError::Changed(path.to_owned()));
            }
            disk.sync(&copy).map_err(|e| CacheError::io(&scratch, e))?;
            self.admit(&scratch, manifest, facts, room, When::Now)
        });
        added.inspect_err(|_| disk.discard(&scratch))
    }

    /// Clones or copies the file and hashes exactly the bytes that were taken, also when
    /// somebody writes to the original meanwhile.
    fn take_in(
        &self,
        source: &File,
        path: &Path,
        copy: &File,
        scratch: &Path,
        progress: impl FnMut(u64),
    ) -> Result<Manifest, CacheError> {
        let disk = &self.dir.disk;
        if disk.clone_from(copy, source).is_ok() {
            return hash(copy, scratch, progress, |_, _| Ok(()));
        }
        let size = source.metadata().map_err(|e| CacheError::io(path, e))?;
        let promised = self.shelf().promised;
        self.need_disk(scratch, promised.saturating_add(size.len()))?;
        hash(source, path, progress, |bytes, at| {
            self.need_disk(scratch, bytes.len() as u64)?;
            disk.write_at(copy, bytes, at)
                .map_err(|e| CacheError::io(scratch, e))
        })
    }
}

fn hash(
    file: &File,
    path: &Path,
    mut progress: impl FnMut(u64),
    mut take: impl FnMut(&[u8], u64) -> Result<(), CacheError>,
) -> Result<Manifest, CacheError> {
    let mut hasher = ContentHasher::new();
    let mut block = vec![0; BLOCK];
    loop {
        let at = hasher.size();
        let read = match file.read_at(&mut block, at) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CacheError::io(path, error)),
        };
        take(&block[..read], at)?;
        hasher.update(&block[..read])?;
        progress(hasher.size());
    }
}
