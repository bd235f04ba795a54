//! What a loss of power left of small contents, and what is said of it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs::{self, File};
use std::time::SystemTime;

use bytes::Bytes;
use common::{Dir, blob, entity, read, reboot, store};
use potluck_cache::{Cache, CacheError, Checked, Filter, Notice};
use potluck_content::{ContentId, PieceIndex};

const SIZE: usize = 10_000;

/// A cache with one content, in the run of the kernel after the one in which that came.
fn dir_with(bytes: &Bytes) -> (Dir, ContentId) {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let id = store(&cache, bytes).id();
    cache.vouch(&id, None).unwrap();
    drop(cache);
    reboot(&dir);
    (dir, id)
}

fn is_aside_empty(dir: &Dir) -> bool {
    fs::read_dir(dir.path().join("aside")).unwrap().count() == 0
}

/// A way to find that a content is lost.
type Way = fn(&Cache, &ContentId) -> Result<(), CacheError>;

#[test]
fn what_was_lost_with_the_power_is_no_damage() {
    let is_lost = |checked| matches!(checked, Err(CacheError::NotHeld(_)));
    let ways: [Way; 3] = [
        |cache, id| cache.lease(id).map(drop).ok_or(CacheError::NotHeld(*id)),
        |cache, id| cache.check(id, |_| {}).map(drop),
        |cache, id| cache.check_part(id, PieceIndex(0), 1).map(drop),
    ];
    for way in ways {
        for (has_sidecar, lost) in [(true, SIZE), (true, 0), (false, SIZE), (false, 0)] {
            let (dir, id) = dir_with(&blob(1, SIZE));
            fs::write(dir.content(&id), vec![0; lost]).unwrap();
            if !has_sidecar {
                empty_sidecar(&dir, &id, SystemTime::UNIX_EPOCH);
            }
            let cache = dir.open();
            assert!(is_lost(way(&cache, &id)), "{has_sidecar} {lost}");
            assert!(cache.held(&id).is_none() && !dir.content(&id).exists());
            assert_eq!(cache.take_notices(), []);
            assert!(is_aside_empty(&dir));
        }
    }
}

#[test]
fn to_look_at_contents_reads_no_bytes() {
    let (dir, id) = dir_with(&blob(1, SIZE));
    fs::write(dir.content(&id), vec![0; SIZE]).unwrap();
    let cache = dir.open();
    assert!(cache.show(&id).unwrap().facts.validated);
    assert_eq!(cache.list().len(), 1);
    assert_eq!(cache.page(&Filter::default(), None, 9).len(), 1);
    cache.rebuild_index().unwrap();
    assert!(cache.held(&id).is_some());
    // But nobody gets it.
    assert!(cache.lease(&id).is_none());
    assert!(cache.held(&id).is_none());
}

fn empty_sidecar(dir: &Dir, id: &ContentId, time: SystemTime) {
    let file = File::create(dir.meta(id)).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn good_bytes_stay_without_their_sidecar() {
    let bytes = blob(1, SIZE);
    let (dir, id) = dir_with(&bytes);
    empty_sidecar(&dir, &id, SystemTime::UNIX_EPOCH);
    let cache = dir.open();
    let lease = cache.lease(&id).unwrap();
    assert_eq!(read(&lease), bytes);
    assert!(!lease.validated() && !cache.held(&id).unwrap().validated);
    assert_eq!(cache.check(&id, |_| {}).unwrap(), Checked::Good);
    cache.rebuild_index().unwrap();
    assert!(cache.show(&id).is_some());
    let link = entity("http://o/x", &bytes);
    cache.vouch(&id, Some(&link)).unwrap();
    drop((lease, cache));
    reboot(&dir);
    let cache = dir.open();
    assert!(cache.held(&id).unwrap().validated);
    assert_eq!(cache.find_entity(&link.key()), Some(id));
    assert_eq!(cache.take_notices(), []);
}

#[test]
fn a_sidecar_that_was_emptied_since_is_damage() {
    let (dir, id) = dir_with(&blob(1, SIZE));
    empty_sidecar(&dir, &id, SystemTime::now());
    let cache = dir.open();
    assert!(cache.lease(&id).is_none());
    let notices = cache.take_notices();
    assert!(matches!(&notices[..], [Notice::Damaged(damage)] if damage.id == id));
    assert!(!is_aside_empty(&dir));
}

#[test]
fn a_pinned_content_does_not_go_without_a_word() {
    let (dir, id) = dir_with(&blob(1, SIZE));
    dir.open().set_pinned(&id, true).unwrap();
    fs::write(dir.content(&id), vec![0; SIZE]).unwrap();
    empty_sidecar(&dir, &id, SystemTime::UNIX_EPOCH);
    let cache = dir.open();
    assert!(cache.lease(&id).is_none());
    assert_eq!(cache.take_notices().len(), 1);
    assert!(!is_aside_empty(&dir));
}
