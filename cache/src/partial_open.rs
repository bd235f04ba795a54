//! Beginning and resuming unfinished contents.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use potluck_content::{Bitfield, Layout, Manifest};

use crate::ahead::Ahead;
use crate::data_dir::{DataDir, meta_path, read};
use crate::disk::private_file;
use crate::inner::Inner;
use crate::partial::Body;
use crate::partial_meta;
use crate::piece_map::PieceMap;
use crate::plain::is_link;
use crate::written_log::{WrittenLog, recover, written_path};
use crate::{CacheError, Partial, PartialKey, PartialSpec};

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
        if let Some(layout) = wanted.filter(|layout| is_brief(layout, &path)) {
            let partial = Self::begin_brief(claim, spec.key, layout)?;
            return partial.with_manifest(spec.manifest);
        }
        let resumed = resume(&inner.dir, &spec.key, &path, wanted);
        let came = resumed
            .as_ref()
            .map_or(0, |resumed| resumed.map.held_bytes());
        let size = resumed
            .as_ref()
            .map_or(size, |resumed| Some(resumed.map.layout().size()));
        let claimed = match &resumed {
            Some(resumed) => resumed.claimed.clone(),
            None => Bitfield::empty(wanted.map_or(0, |layout| layout.pieces())),
        };
        let ahead = Ahead::new(inner, &path, size, came)?;
        let (file, body) = match resumed {
            Some(resumed) => (resumed.file, Body::Pieces(resumed.map)),
            None => (
                begin(&inner.dir, &path, size)?,
                match wanted {
                    Some(layout) => Body::Pieces(PieceMap::new(layout, None)),
                    None => Body::Stream(Box::default()),
                },
            ),
        };
        let log = match &body {
            Body::Pieces(map) => WrittenLog::open(&inner.dir.disk, &path, map.layout().size()),
            Body::Stream(_) => WrittenLog::none(&path),
        };
        std::mem::forget(claim);
        let partial = Self {
            inner: Arc::clone(inner),
            key: spec.key,
            name,
            path,
            is_brief: false,
            file,
            body: Mutex::new(body),
            ahead,
            log: Mutex::new(log),
            writing: Mutex::new(()),
            written: Condvar::new(),
            claimed: Mutex::new(claimed),
            early_copy: None,
        };
        partial.with_manifest(spec.manifest)
    }

    /// Begins a content of one piece: a file in `scratch`, without sidecar and log.
    fn begin_brief(
        claim: NameClaim<'_>,
        key: PartialKey,
        layout: Layout,
    ) -> Result<Self, CacheError> {
        let (inner, name) = (claim.inner, claim.name.to_owned());
        let (path, file) = inner.dir.scratch_file()?;
        let ahead = Ahead::new(inner, &path, Some(layout.size()), 0)
            .inspect_err(|_| inner.dir.disk.discard(&path))?;
        std::mem::forget(claim);
        Ok(Self {
            inner: Arc::clone(inner),
            key,
            name,
            log: Mutex::new(WrittenLog::none(&path)),
            path,
            is_brief: true,
            file,
            body: Mutex::new(Body::Pieces(PieceMap::new(layout, None))),
            ahead,
            writing: Mutex::new(()),
            written: Condvar::new(),
            claimed: Mutex::new(Bitfield::empty(layout.pieces())),
            early_copy: None,
        })
    }

    fn with_manifest(self, manifest: Option<Manifest>) -> Result<Self, CacheError> {
        if let Some(manifest) = manifest {
            self.set_manifest(manifest)?;
        }
        Ok(self)
    }
}

/// Whether there is nothing to resume and never will be: of one piece all is there or
/// nothing.
fn is_brief(layout: &Layout, path: &Path) -> bool {
    layout.pieces() <= 1 && !path.exists() && !meta_path(path).exists()
}

/// Gives the name of a partial back when it goes.
pub(crate) struct NameClaim<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) name: &'a str,
}

impl Drop for NameClaim<'_> {
    fn drop(&mut self) {
        self.inner.shelf().partials.remove(self.name);
    }
}

/// What is there of an unfinished content.
struct Resumed {
    file: File,
    map: PieceMap,
    /// The pieces that the sidecar claims: those that are durable.
    claimed: Bitfield,
}

/// Opens what is there, if it can be believed and is what is wanted.
fn resume(dir: &DataDir, key: &PartialKey, path: &Path, wanted: Option<Layout>) -> Option<Resumed> {
    let mut map = claimed(key, path, wanted)?;
    if is_link(path) {
        return None;
    }
    let file = private_file().open(path).ok()?;
    if file.metadata().ok()?.len() != map.layout().size() {
        return None;
    }
    let claimed = map.held().clone();
    recover(path, &file, &mut map);
    if claimed.count() == 0 {
        // A sidecar that was there some time ago must not come back after a loss of power
        // and claim what is written from now on.
        if map.held().count() == 0 || dir.sync_dir(&dir.partials()).is_err() {
            return None;
        }
    }
    Some(Resumed { file, map, claimed })
}

/// What the sidecar claims; nothing where there is none.
fn claimed(key: &PartialKey, path: &Path, wanted: Option<Layout>) -> Option<PieceMap> {
    let map = match read(&meta_path(path)) {
        Ok(bytes) => partial_meta::decode(key, &bytes)
            .inspect_err(|error| tracing::warn!(partial = %key, %error, "begun again"))
            .ok()?,
        Err(error) => {
            if error.kind() == io::ErrorKind::NotFound {
                return wanted.map(|layout| PieceMap::new(layout, None));
            }
            tracing::warn!(partial = %key, %error, "begun again");
            return None;
        }
    };
    if wanted.is_some_and(|wanted| wanted != *map.layout()) {
        return None;
    }
    Some(map)
}

/// Makes an empty file, sparse if its size is known.
fn begin(dir: &DataDir, path: &Path, size: Option<u64>) -> Result<File, CacheError> {
    let meta = meta_path(path);
    if meta.exists() {
        dir.disk.discard(&meta);
    }
    dir.disk.discard(&written_path(path));
    // A sidecar that was there, now or some time ago, must not come back after a loss of
    // power and claim the bytes of the new file.
    dir.sync_dir(&dir.partials())?;
    if is_link(path) {
        // What it leads to is not ours to write to.
        dir.disk.discard(path);
    }
    let begun = dir.disk.create(path).and_then(|file| {
        dir.disk.set_len(&file, size.unwrap_or(0))?;
        Ok(file)
    });
    begun.map_err(|e| CacheError::io(path, e))
}
