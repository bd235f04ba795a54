//! What becomes of the cache when its index is lost, old, another's, or full.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;

use common::{Dir, blob, copy_dir, entity, read, reboot, store};
use potluck_cache::{Cache, CacheError};
use potluck_content::ContentId;

const URL: &str = "http://o/x";

/// Adds a content that can be found by an entity and that peers may have.
fn add(cache: &Cache, seed: u64) -> ContentId {
    let bytes = blob(seed, 500);
    let id = store(cache, &bytes).id();
    cache.link_entity(&entity(URL, &bytes), &id).unwrap();
    cache.set_validated(&id, true).unwrap();
    id
}

fn check(cache: &Cache, ids: &[ContentId]) {
    for id in ids {
        let lease = cache.lease(id).unwrap();
        assert_eq!(ContentId::of(&read(&lease)), *id);
        assert!(lease.validated());
    }
    assert_eq!(cache.list().len(), ids.len());
    assert_eq!(cache.usage().contents, ids.len() as u64);
    assert_eq!(cache.usage().bytes, 500 * ids.len() as u64);
}

/// The files as they are now, as if the process died.
fn crashed(dir: &Dir) -> Dir {
    let copy = Dir::new(dir.max_size);
    copy_dir(&dir.path(), &copy.path());
    copy
}

fn replace_dir(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    copy_dir(from, to);
}

/// Where to find what is only looked at when it must be.
fn hide(dir: &Dir, id: &ContentId) {
    fs::remove_file(dir.content(id)).unwrap();
    fs::remove_file(dir.meta(id)).unwrap();
}

#[test]
fn a_clean_start_looks_at_no_file() {
    let dir = Dir::new(10 << 20);
    let ids = [1, 2].map(|seed| add(&dir.open(), seed));
    hide(&dir, &ids[0]);
    let cache = dir.open();
    assert_eq!(cache.usage().contents, 2);
    assert!(cache.held(&ids[0]).is_some());
    // But when it is wanted, it is a miss, and gone.
    assert!(cache.lease(&ids[0]).is_none());
    check(&cache, &ids[1..]);
}

#[test]
fn after_a_crash_only_what_changed_is_looked_at() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let old = [1, 2].map(|seed| add(&cache, seed));
    cache.flush();
    let new = add(&cache, 3);
    cache.remove(&old[1]).unwrap();
    let crash = crashed(&dir);
    // Not looked at, so not missed.
    hide(&crash, &old[0]);
    let found = crash.open();
    assert!(found.held(&old[0]).is_some());
    assert!(found.held(&old[1]).is_none());
    assert!(found.held(&new).is_some_and(|held| held.validated));
    assert_eq!(found.usage().contents, 2);
}

#[test]
fn an_index_that_fell_behind_is_made_again() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let first = add(&cache, 1);
    cache.flush();
    let before = crashed(&dir);
    let second = add(&cache, 2);
    cache.flush();
    let crash = crashed(&dir);
    drop(cache);
    for lost in [&crash, &dir] {
        // What it had said was durable: no journal tells of it any more.
        replace_dir(&before.path().join("index"), &lost.path().join("index"));
        check(&lost.open(), &[first, second]);
        check(&lost.open(), &[first, second]);
    }
}

#[test]
fn the_index_of_another_cache_is_not_believed() {
    let (mine, other) = (Dir::new(10 << 20), Dir::new(10 << 20));
    let id = add(&mine.open(), 1);
    let foreign = add(&other.open(), 2);
    replace_dir(&other.path().join("index"), &mine.path().join("index"));
    let cache = mine.open();
    assert!(cache.held(&foreign).is_none());
    check(&cache, &[id]);
}

#[test]
fn lost_or_damaged_journals_cost_a_reading_of_the_files() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let first = add(&cache, 1);
    cache.flush();
    let second = add(&cache, 2);
    for damage in 0..4 {
        let crash = crashed(&dir);
        let journals = crash.path().join("changes");
        for journal in fs::read_dir(&journals).unwrap() {
            let path = journal.unwrap().path();
            let whole = fs::read(&path).unwrap();
            match damage {
                0 => fs::remove_file(&path).unwrap(),
                1 => fs::write(&path, &whole[..20]).unwrap(),
                2 => fs::write(&path, blob(3, whole.len())).unwrap(),
                _ => fs::write(path.with_file_name("no number"), "").unwrap(),
            }
        }
        check(&crash.open(), &[first, second]);
        check(&crash.open(), &[first, second]);
    }
}

#[test]
fn an_older_index_is_made_again_and_a_newer_one_refused() {
    let dir = Dir::new(10 << 20);
    let ids = [add(&dir.open(), 1)];
    let index = dir.path().join("index");
    set_format(&index, "1");
    check(&dir.open(), &ids);
    set_format(&index, "99");
    let Err(CacheError::Index { reason, .. }) = Cache::open(dir.config()) else {
        panic!("a newer index was opened");
    };
    assert!(reason.contains("format 99"), "{reason}");
    // As it says.
    fs::remove_dir_all(&index).unwrap();
    check(&dir.open(), &ids);
}

fn set_format(index: &Path, format: &str) {
    let db = sled::open(index).unwrap();
    db.insert("potluck cache index", format).unwrap();
    db.flush().unwrap();
    drop(db);
    // Its threads let go of the file a little later.
    while sled::open(index).is_err() {}
}

#[test]
fn a_newer_sidecar_is_left_alone() {
    let dir = Dir::new(10 << 20);
    let ids = [1, 2].map(|seed| add(&dir.open(), seed));
    let meta = dir.meta(&ids[0]);
    let mut bytes = fs::read(&meta).unwrap();
    // After its magic and its kind, and before its sum.
    bytes[16] = 9;
    let end = bytes.len() - 32;
    let sum = ContentId::of(&bytes[..end]);
    bytes[end..].copy_from_slice(sum.as_bytes());
    fs::write(&meta, &bytes).unwrap();
    dir.open().rebuild_index().unwrap();
    check(&dir.open(), &ids[1..]);
    assert_eq!(fs::read(&meta).unwrap(), bytes);
    assert!(dir.content(&ids[0]).exists());
}

#[test]
fn names_that_came_back_are_found_after_the_machine_went_down() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let ids = [1, 2, 3].map(|seed| add(&cache, seed));
    cache.flush();
    let before = crashed(&dir);
    cache.remove(&ids[0]).unwrap();
    // The index got to the disk, the removal did not, and its note neither.
    cache.flush();
    let crash = crashed(&dir);
    for path in [before.content(&ids[0]), before.meta(&ids[0])] {
        let name = path.strip_prefix(before.path()).unwrap();
        fs::copy(&path, crash.path().join(name)).unwrap();
    }
    // And one is gone without a trace.
    hide(&crash, &ids[1]);
    reboot(&crash);
    check(&crash.open(), &[ids[0], ids[2]]);
}
