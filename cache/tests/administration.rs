//! What an administrator does to the cache as a whole.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Dir, blob, entity, manifest, piece, read, spec, store};
use potluck_cache::{DiskUse, PartialKey, PartialSpec};
use potluck_content::{ContentId, MIN_PIECE_LEN, PieceIndex};

const PIECE: usize = MIN_PIECE_LEN as usize;

/// As `du` has it.
fn du(path: &Path) -> u64 {
    let meta = fs::symlink_metadata(path).unwrap();
    let below = if meta.is_dir() {
        fs::read_dir(path)
            .unwrap()
            .map(|e| du(&e.unwrap().path()))
            .sum()
    } else {
        0
    };
    meta.blocks() * 512 + below
}

#[test]
fn clearing_frees_the_disk_but_for_what_is_pinned_or_in_use() {
    let dir = Dir::new(100 << 20);
    let cache = dir.open();
    let ids: Vec<_> = (0..4)
        .map(|n| store(&cache, &blob(n, 3 << 20)).id())
        .collect();
    cache.set_pinned(&ids[1], true).unwrap();
    let lease = cache.lease(&ids[2]).unwrap();
    let partial = cache.partial(spec("going on", 3 * PIECE)).unwrap();
    let _ = partial
        .put_hashed(piece(&blob(9, 3 * PIECE), PieceIndex(0)))
        .unwrap();
    partial.checkpoint().unwrap();
    fs::write(dir.path().join("aside/old"), vec![7; 100_000]).unwrap();
    let before = du(&dir.path());

    let cleared = cache.clear(false).unwrap();
    assert_eq!((cleared.contents, cleared.bytes), (2, 6 << 20));
    let freed = before - du(&dir.path());
    assert!(freed >= (6 << 20) + 100_000, "{freed}");
    for (id, stays) in ids.iter().zip([false, true, true, false]) {
        assert_eq!(cache.held(id).is_some(), stays);
    }
    assert_eq!(partial.bitfield().count(), 1);
    assert_eq!(cache.set_aside().unwrap(), DiskUse::default());

    drop(lease);
    let cleared = cache.clear(true).unwrap();
    assert_eq!((cleared.contents, cleared.bytes), (2, 6 << 20));
    assert_eq!((cache.usage().bytes, cache.usage().pinned_bytes), (0, 0));
    assert!(cache.list().is_empty());
    assert_eq!(cache.clear(true).unwrap().contents, 0);
    // And nothing of it comes back.
    drop((partial, cache));
    assert!(dir.open().list().is_empty());
}

#[test]
fn many_are_cleared_in_batches() {
    let dir = Dir::new(100 << 20);
    let cache = dir.open();
    for n in 0..300 {
        store(&cache, &blob(n, 100 + n as usize));
    }
    assert_eq!(cache.clear(false).unwrap().contents, 300);
    assert_eq!(cache.usage().contents, 0);
}

#[test]
fn unfinished_contents_are_shown() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let bytes = blob(1, 3 * PIECE);
    let key = PartialKey::Entity(entity("http://o/x", &bytes).key());
    let manifest = Some(manifest(&bytes));
    let size = Some(bytes.len() as u64);
    let known = cache
        .partial(PartialSpec {
            key,
            size,
            manifest,
        })
        .unwrap();
    let _ = known.put_hashed(piece(&bytes, PieceIndex(1))).unwrap();
    known.checkpoint().unwrap();
    let stream = cache
        .partial(PartialSpec {
            size: None,
            ..spec("stream", 0)
        })
        .unwrap();
    stream.append(&blob(2, 5_000)).unwrap();
    let shown = cache.partials().unwrap();
    let [first, second] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert!(first.name.starts_with("e-") && second.name.starts_with("p-"));
    assert_eq!(first.content, Some(ContentId::of(&bytes)));
    assert_eq!((first.size, first.held), (size, PIECE as u64));
    assert!(first.on_disk >= first.held && first.on_disk < bytes.len() as u64);
    assert_eq!((second.content, second.size, second.held), (None, None, 0));
    assert!(first.in_use && second.in_use);
    drop((known, stream));
    assert!(
        cache
            .partials()
            .unwrap()
            .iter()
            .all(|partial| !partial.in_use)
    );
    let lease = store(&cache, &bytes);
    assert_eq!(read(&lease), *bytes);
}
