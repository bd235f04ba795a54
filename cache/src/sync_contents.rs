//! Making durable, together, the contents that are not yet.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use potluck_content::ContentId;

use crate::CacheError;
use crate::data_dir::meta_path;
use crate::disk::begin_sync;
use crate::inner::{Inner, lock};
use crate::plain::open_own;
use crate::together::together;

/// Contents that are synced together: each has two files open meanwhile, of which a
/// process may not have many.
const MANY: usize = 64;

/// A file that is to be synced, and whose it is.
struct Part {
    id: ContentId,
    path: PathBuf,
    file: File,
}

/// Contents that were taken out, because what was written of them does not get to the disk.
#[derive(Default)]
pub(crate) struct Losses {
    contents: BTreeSet<ContentId>,
    first: Option<(PathBuf, io::Error)>,
}

impl Losses {
    /// The error of whoever wanted them to be durable.
    pub(crate) fn into_result(self) -> Result<(), CacheError> {
        let Some((path, source)) = self.first else {
            return Ok(());
        };
        Err(CacheError::Lost {
            contents: self.contents.into_iter().collect(),
            path,
            source,
        })
    }
}

impl Inner {
    /// Makes durable what is not yet; says what was lost on the way. What cannot be opened
    /// just now is left to the next time. The caller holds the right to sync, and no other
    /// lock.
    ///
    /// # Errors
    /// When the disk fails otherwise, or a file cannot be opened. Then what is not durable
    /// is known still.
    pub(crate) fn sync_unsynced(&self) -> Result<Losses, CacheError> {
        let marks = lock(&self.unsynced).marks();
        let mut lost = Losses::default();
        if marks.is_empty() {
            return Ok(lost);
        }
        self.changes.sync_notes()?;
        let all: Vec<_> = marks.keys().copied().collect();
        let mut unopened = None;
        for part in all.chunks(MANY) {
            let opened = self.open_parts(part, &mut unopened);
            self.sync_parts(opened, &mut lost);
        }
        self.dir.sync_shelves()?;
        let shelves: BTreeSet<u8> = all.iter().map(|id| id.as_bytes()[0]).collect();
        let synced = together(shelves.into_iter().collect(), |first| {
            self.dir.sync_shelf(first)
        });
        synced.into_iter().collect::<Result<(), _>>()?;
        unopened.map_or(Ok(()), Err)?;
        lock(&self.unsynced).are_synced(&marks);
        Ok(lost)
    }

    /// Opens the files of contents, and has the disk begin with all of them. Those that went
    /// need no sync.
    fn open_parts(&self, ids: &[ContentId], unopened: &mut Option<CacheError>) -> Vec<Part> {
        let mut parts = Vec::with_capacity(2 * ids.len());
        for id in ids {
            let data = self.dir.content(id);
            for path in [meta_path(&data), data] {
                match open_own(&path) {
                    Ok(None) => {}
                    Ok(Some(file)) => {
                        begin_sync(&file);
                        let id = *id;
                        parts.push(Part { id, path, file });
                    }
                    Err(error) => {
                        unopened.get_or_insert_with(|| CacheError::io(&path, error));
                    }
                }
            }
        }
        parts
    }

    fn sync_parts(&self, parts: Vec<Part>, lost: &mut Losses) {
        let failed = together(parts, |Part { id, path, file }| {
            let synced = self.dir.disk.sync(&file);
            synced.err().map(|error| (id, path, error))
        });
        for (id, path, error) in failed.into_iter().flatten() {
            // Who syncs it again is not told that its bytes did not get to the disk.
            tracing::warn!(content = %id, %error, "content lost: it does not get to the disk");
            let _edit = self.edit(&id);
            self.lose(self.shelf(), &id);
            lost.contents.insert(id);
            lost.first.get_or_insert((path, error));
        }
    }
}
