//! Files and directories of the cache that somebody swapped for links.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{Dir, blob, read, spec, store};
use potluck_cache::{Cache, CacheError, Notice};
use potluck_content::ContentId;

/// Two contents, of which the first has its whole directory swapped for a link to
/// `outside`, where the very same files are.
fn swapped() -> (Dir, Cache, [ContentId; 2], PathBuf) {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let ids = [1, 2].map(|n| store(&cache, &blob(n, 5_000)).id());
    assert_ne!(ids[0].as_bytes()[0], ids[1].as_bytes()[0]);
    let shelf = dir.content(&ids[0]).parent().unwrap().to_owned();
    let outside = dir.temp.path().join("outside");
    fs::rename(&shelf, &outside).unwrap();
    symlink(&outside, &shelf).unwrap();
    (dir, cache, ids, outside)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_directory_that_became_a_link_is_not_followed() {
    let (dir, cache, [id, other], outside) = swapped();
    let before = names(&outside);
    assert_eq!(before.len(), 2);
    assert!(cache.lease(&id).is_none());
    let notices = cache.take_notices();
    let [
        Notice::Unreadable {
            id: named, reason, ..
        },
    ] = &notices[..]
    else {
        panic!("{notices:?}");
    };
    assert_eq!(*named, id);
    assert!(reason.contains("symbolic link"), "{reason}");
    assert!(matches!(
        cache.check(&id, |_| {}),
        Err(CacheError::Io { .. })
    ));
    // What is good goes on.
    assert_eq!(read(&cache.lease(&other).unwrap()), *blob(2, 5_000));
    // Nor is anything out there removed.
    assert!(cache.remove(&id).unwrap());
    cache.clear(true).unwrap();
    assert_eq!(names(&outside), before);
    drop(cache);
    for _ in 0..2 {
        let cache = dir.open();
        assert!(cache.lease(&id).is_none());
        drop(cache);
        fs::remove_dir_all(dir.path().join("index")).unwrap();
    }
    assert_eq!(names(&outside), before);
}

#[test]
fn a_content_that_belongs_where_a_link_is_gets_its_place() {
    let (dir, cache, [id, _], outside) = swapped();
    let before = names(&outside);
    cache.remove(&id).unwrap();
    let lease = store(&cache, &blob(1, 5_000));
    assert_eq!(read(&lease), *blob(1, 5_000));
    let shelf = dir.content(&id).parent().unwrap().to_owned();
    assert!(fs::symlink_metadata(shelf).unwrap().is_dir());
    assert_eq!(names(&outside), before);
    assert!(cache.verify(&id, |_| {}).unwrap());
}

#[test]
fn files_that_became_links_are_set_aside() {
    for swap_sidecar in [false, true] {
        let dir = Dir::new(10 << 20);
        let cache = dir.open();
        let id = store(&cache, &blob(1, 5_000)).id();
        let file = if swap_sidecar {
            dir.meta(&id)
        } else {
            dir.content(&id)
        };
        let outside = dir.temp.path().join("outside");
        fs::rename(&file, &outside).unwrap();
        symlink(&outside, &file).unwrap();
        assert!(!cache.verify(&id, |_| {}).unwrap());
        assert!(cache.lease(&id).is_none());
        let notices = cache.take_notices();
        let [Notice::Damaged(damage)] = &notices[..] else {
            panic!("{notices:?}");
        };
        assert!(damage.reason.contains("no plain file"), "{}", damage.reason);
        assert!(fs::symlink_metadata(&outside).unwrap().is_file());
        assert_eq!(cache.usage().contents, 0);
    }
}

#[test]
fn a_directory_in_the_place_of_a_file_is_no_content() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let id = store(&cache, &blob(1, 5_000)).id();
    fs::remove_file(dir.content(&id)).unwrap();
    fs::create_dir(dir.content(&id)).unwrap();
    assert!(cache.lease(&id).is_none());
    assert!(cache.held(&id).is_none());
    assert_eq!(cache.take_notices().len(), 1);
}

#[test]
fn the_directories_of_the_cache_may_not_be_links() {
    for name in ["contents", "partial", "scratch", "aside"] {
        let dir = Dir::new(10 << 20);
        drop(dir.open());
        let outside = dir.temp.path().join("outside");
        fs::rename(dir.path().join(name), &outside).unwrap();
        fs::write(outside.join("file"), "theirs").unwrap();
        symlink(&outside, dir.path().join(name)).unwrap();
        let Err(error) = Cache::open(dir.config()) else {
            panic!("{name} was followed");
        };
        let error = error.to_string();
        assert!(
            error.contains(name) && error.contains("symbolic link"),
            "{error}"
        );
        assert_eq!(names(&outside), ["file"]);
    }
}

#[test]
fn unfinished_contents_are_not_written_through_links() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let partial = cache.partial(spec("x", 300_000)).unwrap();
    partial.checkpoint().unwrap();
    drop(partial);
    let data = dir.partial_meta().with_extension("");
    let outside = dir.temp.path().join("outside");
    fs::write(&outside, vec![7; 300_000]).unwrap();
    fs::remove_file(&data).unwrap();
    symlink(&outside, &data).unwrap();
    let partial = cache.partial(spec("x", 300_000)).unwrap();
    for piece in common::pieces(&blob(3, 300_000)) {
        let _ = partial.put_hashed(piece).unwrap();
    }
    assert_eq!(read(&partial.finish(None).unwrap()), *blob(3, 300_000));
    assert_eq!(fs::read(&outside).unwrap(), vec![7; 300_000]);
}
