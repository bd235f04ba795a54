//! Bringing the index in line with the files, as far as they may differ.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use potluck_content::ContentId;

use crate::data_dir::{DataDir, list, meta_path};
use crate::index::Index;
use crate::index_row::Entry;
use crate::inner::Inner;
use crate::meta::{Meta, MetaError};
use crate::plain::is_gone;
use crate::rank::Rank;
use crate::shelf::micros;
use crate::written_log::{is_of_this_boot, written_path};
use crate::{CacheError, Damage, Notice};

/// Makes the index say of one content what its files say. Says whether it may not be
/// durable.
pub(crate) fn settle(dir: &DataDir, index: &Index, id: &ContentId) -> bool {
    let known = index.get(id);
    match usable(dir, id, known.as_ref(), Meta::read) {
        Some(meta) => {
            index.put(id, entry(&meta, known.as_ref()), &meta.facts);
            meta.unsynced.is_some()
        }
        None => {
            index.remove(id);
            false
        }
    }
}

/// Settles the contents that only the index or only the disk has. Reads names only.
pub(crate) fn compare_names(dir: &DataDir, index: &Index) -> Result<(), CacheError> {
    for first in 0..=u8::MAX {
        let there: BTreeSet<_> = list_shelf(dir, first)?.into_iter().collect();
        let mut start = [0; 32];
        start[0] = first;
        let known: BTreeSet<_> = (index.from(&ContentId::from_bytes(start)))
            .map(|(id, _)| id)
            .take_while(|id| id.as_bytes()[0] == first)
            .collect();
        for id in there.symmetric_difference(&known) {
            settle(dir, index, id);
        }
    }
    Ok(())
}

/// The sidecar of a content that can be served. The files of one that cannot are set
/// aside, and a sidecar without bytes is removed.
pub(crate) fn usable(
    dir: &DataDir,
    id: &ContentId,
    known: Option<&Entry>,
    read: impl Fn(&ContentId, &Path) -> Result<Meta, MetaError>,
) -> Option<Meta> {
    let data = dir.content(id);
    let error = match read(id, &data) {
        Ok(meta) => return Some(meta),
        Err(error) => error,
    };
    if is_gone(&data) {
        dir.disk.discard(&meta_path(&data));
        return None;
    }
    let is_damage = error.is_damage_of(known);
    if matches!(error, MetaError::Lost) && !is_damage {
        tracing::info!(content = %id, "content lost with the power");
        // The bytes first: a sidecar alone is a leftover.
        dir.disk.discard(&data);
        dir.disk.discard(&meta_path(&data));
        return None;
    }
    tracing::warn!(content = %id, %error, "content cannot be served");
    if is_damage || matches!(error, MetaError::Missing) {
        dir.set_aside(&data);
        dir.set_aside(&meta_path(&data));
        dir.notices.add(Notice::Damaged(Damage {
            id: *id,
            file: data,
            reason: error.to_string(),
            bad_pieces: Vec::new(),
            kept: 0,
        }));
    }
    None
}

impl Inner {
    /// Removes unfinished contents that cannot be resumed or that nobody wrote to for
    /// the age limit, and likewise what was set aside. Says how many unfinished
    /// contents went.
    pub(crate) fn expire_files(&self, now: SystemTime) -> Result<u64, CacheError> {
        let max_age = self.shelf().limits.max_age;
        let old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|meta| meta.modified());
            let age = modified.map(|time| now.duration_since(time).unwrap_or_default());
            age.is_ok_and(|age| age > max_age)
        };
        let mut names: Vec<_> = list(&self.dir.partials())?
            .into_iter()
            .map(|(_, name)| {
                let name = name.trim_end_matches(".meta");
                name.trim_end_matches(".written").to_owned()
            })
            .collect();
        names.sort();
        names.dedup();
        let mut gone = 0;
        for name in names {
            let data = self.dir.partials().join(&name);
            let (meta, written) = (meta_path(&data), written_path(&data));
            let mut trash = Vec::new();
            {
                // Under the lock, nobody can open it meanwhile.
                let shelf = self.shelf();
                // Without a sidecar and without a log nobody can go on with it.
                let known = meta.exists() || is_of_this_boot(&written);
                let half = !data.exists() || !known;
                let newest = if meta.exists() { &meta } else { &written };
                if !shelf.partials.contains(&name) && (half || old(newest)) {
                    gone += u64::from(data.exists());
                    // The sidecar first: it must not claim bytes that are gone.
                    trash.extend(self.dir.withdraw(&meta));
                    if written.exists() {
                        trash.extend(self.dir.withdraw(&written));
                    }
                    trash.extend(self.dir.withdraw(&data));
                }
            }
            self.dir.throw_out(trash);
        }
        for (path, _) in list(&self.dir.aside())? {
            if old(&path) {
                self.dir.disk.discard(&path);
            }
        }
        Ok(gone)
    }
}

/// What the index says of a content: what the files say, and what it knew of its use.
pub(crate) fn entry(meta: &Meta, known: Option<&Entry>) -> Entry {
    let added = micros(meta.added);
    Entry {
        size: meta.manifest.size(),
        accessed: known.map_or(added, |known| known.accessed),
        rank: known.map_or(Rank::main(added), |known| known.rank),
        validated: meta.facts.validated,
        pinned: meta.facts.pinned,
        cached: meta.cached,
    }
}

/// The contents whose ids begin with a byte and whose bytes are there. Sidecars without
/// bytes are removed.
pub(crate) fn list_shelf(dir: &DataDir, first: u8) -> Result<Vec<ContentId>, CacheError> {
    let start = format!("{first:02x}");
    let path = dir.contents().join(&start);
    let mut files = match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => list(&path)?,
        Ok(_) => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(CacheError::io(&path, error)),
    };
    files.sort_unstable();
    let mut found = Vec::new();
    for (path, name) in &files {
        if let Some(stem) = name.strip_suffix(".meta") {
            let data = path.with_file_name(stem);
            if files.binary_search_by(|(path, _)| path.cmp(&data)).is_err() {
                dir.disk.discard(path);
            }
        } else if let Ok(id) = format!("{start}{name}").parse::<ContentId>()
            && dir.content(&id) == *path
        {
            found.push(id);
        }
    }
    Ok(found)
}
