//! What becomes of the cache when its files are damaged.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;

use common::{Dir, blob, copy_dir, entity, read, store};
use potluck_cache::Cache;
use potluck_content::ContentId;

/// A cache with two contents, one of several pieces, as its files are when it is closed.
fn closed() -> (Dir, [ContentId; 2]) {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let ids = [600_000, 5].map(|len| {
        let bytes = blob(len as u64, len);
        let id = store(&cache, &bytes).id();
        cache
            .link_entity(&entity("http://o/x", &bytes), &id)
            .unwrap();
        cache.set_validated(&id, true).unwrap();
        id
    });
    (dir, ids)
}

fn check_all(cache: &Cache, ids: &[ContentId; 2]) {
    for (id, len) in ids.iter().zip([600_000, 5]) {
        let bytes = blob(len as u64, len);
        let lease = cache.lease(id).unwrap();
        assert_eq!(read(&lease), bytes);
        assert!(lease.validated());
        let key = entity("http://o/x", &bytes).key();
        assert_eq!(cache.find_entity(&key), Some(*id));
    }
    assert_eq!(cache.usage().bytes, 600_005);
    assert_eq!(cache.list().len(), 2);
}

#[test]
fn a_lost_index_is_made_again() {
    let (dir, ids) = closed();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    check_all(&dir.open(), &ids);
    // And the new one is as good.
    check_all(&dir.open(), &ids);
}

#[test]
fn an_index_of_garbage_is_made_again() {
    let (dir, ids) = closed();
    for file in ["db", "conf"] {
        let path = dir.path().join("index").join(file);
        let len = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, blob(9, len)).unwrap();
        check_all(&dir.open(), &ids);
    }
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    fs::write(dir.path().join("index"), "no directory").unwrap();
    check_all(&dir.open(), &ids);
}

#[test]
fn a_truncated_index_is_made_again() {
    let (dir, ids) = closed();
    let path = dir.path().join("index/db");
    let whole = fs::read(&path).unwrap();
    for part in [0, 1, 2, 3] {
        let cut = whole.iter().rposition(|b| *b != 0).unwrap_or(0) * part / 4;
        fs::write(&path, &whole[..cut]).unwrap();
        check_all(&dir.open(), &ids);
    }
}

#[test]
fn an_index_that_failed_in_use_is_made_again() {
    let (dir, ids) = closed();
    fs::write(dir.path().join("index.broken"), "").unwrap();
    check_all(&dir.open(), &ids);
    assert!(!dir.path().join("index.broken").exists());
}

#[test]
fn files_of_a_running_cache_are_enough_to_go_on() {
    let (dir, ids) = closed();
    let cache = dir.open();
    let added = store(&cache, &blob(3, 300)).id();
    let copy = Dir::new(10 << 20);
    copy_dir(&dir.path(), &copy.path());
    let crashed = copy.open();
    for id in ids.iter().chain([&added]) {
        assert!(crashed.lease(id).is_some());
    }
}

#[test]
fn damaged_sidecars_are_never_believed() {
    let (dir, [id, small]) = closed();
    let meta = dir.meta(&id);
    let good = fs::read(&meta).unwrap();
    let cut = good[..good.len() - 1].to_vec();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    for (bad, rebuilt) in [(&cut, false), (&flipped, false), (&flipped, true)] {
        fs::write(&meta, bad).unwrap();
        if rebuilt {
            fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
        let cache = dir.open();
        assert!(cache.lease(&id).is_none());
        assert!(cache.held(&id).is_none());
        assert_eq!(cache.usage().contents, 1);
        assert!(cache.lease(&small).is_some());
        assert!(!dir.content(&id).exists());
        // It can come again.
        assert_eq!(read(&store(&cache, &blob(600_000, 600_000))).len(), 600_000);
    }
}

#[test]
fn bytes_of_the_wrong_number_are_set_aside() {
    let (dir, [id, _]) = closed();
    fs::write(dir.content(&id), "short").unwrap();
    let cache = dir.open();
    assert!(cache.lease(&id).is_none());
    assert!(cache.held(&id).is_none());
}

#[test]
fn files_that_were_taken_away_are_a_miss() {
    let (dir, [id, small]) = closed();
    let cache = dir.open();
    fs::remove_file(dir.content(&id)).unwrap();
    assert!(cache.lease(&id).is_none());
    assert_eq!(cache.usage().contents, 1);
    drop(cache);
    fs::remove_file(dir.meta(&small)).unwrap();
    let cache = dir.open();
    assert!(cache.lease(&small).is_none());
    drop(cache);
    assert_eq!(dir.open().usage().contents, 0);
}

#[test]
fn leftovers_of_a_crash_are_swept_away() {
    let (dir, _) = closed();
    let cold = ContentId::of(b"never finished");
    let parent = dir.content(&cold);
    fs::create_dir_all(parent.parent().unwrap()).unwrap();
    fs::write(dir.meta(&cold), "sidecar first").unwrap();
    // Nothing tells what changed, so everything is looked at.
    fs::remove_dir_all(dir.path().join("changes")).unwrap();
    fs::write(dir.path().join("scratch/7"), "half").unwrap();
    fs::write(dir.path().join("partial/e-00"), "never checkpointed").unwrap();
    dir.open();
    assert!(!dir.meta(&cold).exists());
    assert!(!dir.path().join("scratch/7").exists());
    assert!(!dir.path().join("partial/e-00").exists());
}
