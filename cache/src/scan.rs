//! Bringing the index in line with the files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use potluck_content::ContentId;

use crate::CacheError;
use crate::data_dir::{DataDir, list, meta_path};
use crate::index::{Index, Trust};
use crate::index_row::Entry;
use crate::inner::Inner;
use crate::meta::{Meta, MetaError};
use crate::shelf::micros;

/// Makes the index say what the files say. A doubtful index is made again, of which
/// only the access times are kept, because no file has them.
///
/// Names are always compared, because they cost little; sidecars are read where the
/// index is doubtful or does not know them.
pub(crate) fn scan(dir: &DataDir, index: &Index, trust: Trust) -> Result<(), CacheError> {
    let mut accessed = HashMap::new();
    if trust == Trust::Doubtful {
        accessed.extend(index.iter().map(|(id, entry)| (id, entry.accessed)));
        index.clear();
    }
    let mut present = HashSet::new();
    for (id, data) in contents(dir)? {
        if index.get(&id).is_some() {
            present.insert(id);
            continue;
        }
        match Meta::read(&id, &data) {
            Ok(meta) => {
                let known = accessed.get(&id).copied();
                index.put(&id, entry(&meta, known), &meta.facts);
                present.insert(id);
            }
            Err(error) => {
                tracing::warn!(content = %id, %error, "content cannot be served");
                if error.is_damage() || matches!(error, MetaError::Missing) {
                    dir.set_aside(&data);
                    dir.set_aside(&meta_path(&data));
                }
            }
        }
    }
    let stale: Vec<_> = index.iter().map(|(id, _)| id).collect();
    for id in stale.iter().filter(|id| !present.contains(id)) {
        index.remove(id);
    }
    index.sync();
    Ok(())
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
            .map(|(_, name)| name.trim_end_matches(".meta").to_owned())
            .collect();
        names.sort();
        names.dedup();
        let mut gone = 0;
        for name in names {
            let data = self.dir.partials().join(&name);
            let meta = meta_path(&data);
            let mut trash = Vec::new();
            {
                // Under the lock, nobody can open it meanwhile.
                let shelf = self.shelf();
                // With one file only, it was never checkpointed.
                let half = data.exists() != meta.exists();
                if !shelf.partials.contains(&name) && (half || old(&meta)) {
                    gone += u64::from(data.exists());
                    // The sidecar first: it must not claim bytes that are gone.
                    trash.extend(self.dir.withdraw(&meta));
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

pub(crate) fn entry(meta: &Meta, accessed: Option<u64>) -> Entry {
    Entry {
        size: meta.manifest.size(),
        accessed: accessed.unwrap_or_else(|| micros(meta.added)),
        validated: meta.facts.validated,
        pinned: meta.facts.pinned,
        cached: meta.cached,
    }
}

/// Every content whose bytes are there; sidecars without bytes are removed.
fn contents(dir: &DataDir) -> Result<Vec<(ContentId, PathBuf)>, CacheError> {
    let mut found = Vec::new();
    let top = dir.contents();
    let fail = |e| CacheError::io(&top, e);
    for shelf in fs::read_dir(&top).map_err(fail)? {
        let shelf = shelf.map_err(fail)?;
        let Ok(start) = shelf.file_name().into_string() else {
            continue;
        };
        if !shelf.path().is_dir() {
            continue;
        }
        let files = list(&shelf.path())?;
        let names: HashSet<&str> = files.iter().map(|(_, name)| name.as_str()).collect();
        for (path, name) in &files {
            if let Some(stem) = name.strip_suffix(".meta") {
                if !names.contains(stem) {
                    dir.disk.discard(path);
                }
            } else if let Ok(id) = format!("{start}{name}").parse::<ContentId>()
                && dir.content(&id) == *path
            {
                found.push((id, path.clone()));
            }
        }
    }
    Ok(found)
}
