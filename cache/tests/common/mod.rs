//! What the tests of the cache share.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use potluck_cache::{Cache, Config, DiskWatcher, Lease, Partial, PartialKey, PartialSpec};
use potluck_content::{ContentId, Entity, HashedPiece, Layout, Manifest, PieceIndex, Validator};
use tempfile::TempDir;

/// A data directory that goes with the test.
pub(crate) struct Dir {
    pub(crate) temp: TempDir,
    pub(crate) max_size: u64,
}

impl Dir {
    pub(crate) fn new(max_size: u64) -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
            max_size,
        }
    }

    /// The same where syncing costs nothing, if there is such a place.
    pub(crate) fn in_memory(max_size: u64) -> Self {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self {
            temp: temp.unwrap(),
            max_size,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.path(), self.max_size)
    }

    pub(crate) fn open(&self) -> Cache {
        Cache::open(self.config()).unwrap()
    }

    pub(crate) fn open_watched<W: DiskWatcher + 'static>(&self, watcher: &Arc<W>) -> Cache {
        Cache::open_watched(self.config(), Arc::clone(watcher) as Arc<dyn DiskWatcher>).unwrap()
    }

    /// Where the bytes of a content lie; its sidecar has `.meta` added.
    pub(crate) fn content(&self, id: &ContentId) -> PathBuf {
        let hex = id.to_hex();
        self.path().join("contents").join(&hex[..2]).join(&hex[2..])
    }

    pub(crate) fn meta(&self, id: &ContentId) -> PathBuf {
        self.content(id).with_extension("meta")
    }

    /// The only sidecar of a partial.
    pub(crate) fn partial_meta(&self) -> PathBuf {
        let entries = fs::read_dir(self.path().join("partial")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths
            .find(|path| path.extension().is_some_and(|e| e == "meta"))
            .unwrap()
    }
}

/// Bytes that differ from seed to seed.
pub(crate) fn blob(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).flatten().take(len).collect();
    if let Some(first) = bytes.first_mut() {
        *first = seed as u8;
    }
    bytes.into()
}

pub(crate) fn pieces(bytes: &Bytes) -> Vec<HashedPiece> {
    let layout = Layout::for_size(bytes.len() as u64).unwrap();
    layout.indices().map(|index| piece(bytes, index)).collect()
}

pub(crate) fn piece(bytes: &Bytes, index: PieceIndex) -> HashedPiece {
    let layout = Layout::for_size(bytes.len() as u64).unwrap();
    let span = layout.span(index);
    let part = bytes.slice(span.start as usize..span.end as usize);
    HashedPiece::new(layout, index, part).unwrap()
}

pub(crate) fn manifest(bytes: &Bytes) -> Manifest {
    Manifest::of(bytes).unwrap()
}

pub(crate) fn spec(name: &str, size: usize) -> PartialSpec {
    PartialSpec {
        key: PartialKey::Private(name.to_owned()),
        size: Some(size as u64),
        manifest: None,
    }
}

/// A partial that holds all pieces of `bytes`.
pub(crate) fn filled(cache: &Cache, bytes: &Bytes) -> Partial {
    let name = ContentId::of(bytes).to_hex();
    let partial = cache.partial(spec(&name, bytes.len())).unwrap();
    for piece in pieces(bytes) {
        let _ = partial.put_hashed(piece).unwrap();
    }
    partial
}

pub(crate) fn store(cache: &Cache, bytes: &Bytes) -> Lease {
    let id = ContentId::of(bytes);
    filled(cache, bytes).finish(Some(id)).unwrap()
}

pub(crate) fn read(lease: &Lease) -> Vec<u8> {
    let mut bytes = vec![0; lease.size() as usize + 9];
    let len = lease.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(len);
    bytes
}

pub(crate) fn entity(url: &str, bytes: &Bytes) -> Entity {
    Entity {
        url: url.to_owned(),
        validator: Validator::ETag("\"1\"".into()),
        size: bytes.len() as u64,
    }
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Makes the sidecars of contents those of an earlier run of the kernel, as far as they say
/// of which one they are.
pub(crate) fn reboot_sidecars(contents: &Path) {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.trim_ascii();
    let shelves = fs::read_dir(contents).into_iter().flatten();
    let files = shelves.flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == "meta")) {
        let mut bytes = fs::read(&path).unwrap();
        let mut rest = &mut bytes[..];
        // Several may follow each other.
        while let Some(head) = rest.first_chunk::<28>() {
            let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
            let len = 28 + number(20) as usize + number(24) as usize;
            let Some((body, others)) = rest.split_at_mut_checked(len) else {
                break;
            };
            let Some((sum, others)) = others.split_first_chunk_mut::<32>() else {
                break;
            };
            let at = body.windows(boot.len()).position(|part| part == boot);
            // What is torn stays torn.
            if let Some(at) = at.filter(|_| ContentId::of(body).as_bytes() == sum) {
                body[at] = b'x';
                *sum = *ContentId::of(body).as_bytes();
            }
            rest = others;
        }
        fs::write(&path, bytes).unwrap();
        // Written before this run began.
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
}

/// Makes the journals those of an earlier run of the kernel, and the sidecars.
pub(crate) fn reboot(dir: &Dir) {
    reboot_sidecars(&dir.path().join("contents"));
    for journal in fs::read_dir(dir.path().join("changes")).unwrap() {
        let path = journal.unwrap().path();
        let number = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let words: Vec<_> = first.split(' ').collect();
        let line = format!("{} another-boot", words[..4].join(" "));
        let sum = ContentId::of(format!("{number} {line}").as_bytes()).to_hex();
        fs::write(&path, format!("{line} {}\n{rest}", &sum[..8])).unwrap();
    }
}
