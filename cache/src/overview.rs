//! What lies on the disk beside complete contents.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use potluck_content::ContentId;

use crate::data_dir::{list, meta_path, read};
use crate::{Cache, CacheError, partial_meta};

/// One unfinished content, as it is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialRecord {
    /// What its file is called.
    pub name: String,
    /// The content that it becomes, where that is known.
    pub content: Option<ContentId>,
    /// Its size when it is complete; `None` while nothing of it would survive a crash.
    pub size: Option<u64>,
    /// Bytes that would survive a crash.
    pub held: u64,
    /// Bytes that it takes on the disk.
    pub on_disk: u64,
    /// When it was last written to.
    pub modified: SystemTime,
    /// Whether a transfer works on it.
    pub in_use: bool,
}

/// Files and the bytes that they take on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// How many there are.
    pub files: u64,
    /// Bytes on the disk, of sparse files only what they have.
    pub bytes: u64,
}

impl Cache {
    /// The unfinished contents, in the order of their names.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn partials(&self) -> Result<Vec<PartialRecord>, CacheError> {
        let mut records: Vec<_> = list(&self.inner.dir.partials())?
            .into_iter()
            .filter(|(path, _)| {
                path.extension()
                    .is_none_or(|end| end != "meta" && end != "written")
            })
            // One that is gone by now was finished.
            .filter_map(|(path, name)| self.partial_record(&path, name))
            .collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    fn partial_record(&self, path: &Path, name: String) -> Option<PartialRecord> {
        let file = fs::symlink_metadata(path).ok()?;
        let sidecar = read(&meta_path(path)).ok();
        let map = sidecar.and_then(|bytes| partial_meta::describe(&bytes).ok());
        let in_use = self.inner.shelf().partials.contains(&name);
        Some(PartialRecord {
            name,
            content: map.as_ref().and_then(|map| Some(map.manifest()?.id())),
            size: map.as_ref().map(|map| map.layout().size()),
            held: map.as_ref().map_or(0, |map| map.held_bytes()),
            on_disk: on_disk(&file),
            modified: file.modified().ok()?,
            in_use,
        })
    }

    /// What was set aside because it cannot be trusted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn set_aside(&self) -> Result<DiskUse, CacheError> {
        let mut sum = DiskUse::default();
        for (path, _) in list(&self.inner.dir.aside())? {
            if let Ok(file) = fs::symlink_metadata(&path) {
                sum.files += 1;
                sum.bytes += on_disk(&file);
            }
        }
        Ok(sum)
    }
}

/// `st_blocks` counts units of 512 bytes whatever the filesystem's own blocks are.
fn on_disk(file: &fs::Metadata) -> u64 {
    file.blocks() * 512
}
