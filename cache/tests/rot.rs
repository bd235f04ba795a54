//! What becomes of contents whose bytes the disk did not keep.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use common::{Dir, blob, entity, manifest, piece, read, store};
use potluck_cache::{
    Cache, CacheError, Checked, Damage, Notice, PartialKey, PartialSpec, PutOutcome,
};
use potluck_content::{ContentId, MIN_PIECE_LEN, PieceIndex};

const PIECE: usize = MIN_PIECE_LEN as usize;

/// A cache with a validated content of five pieces that has a URL.
fn five() -> (Dir, Cache, Bytes, ContentId) {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let bytes = blob(5, 4 * PIECE + 77);
    let id = store(&cache, &bytes).id();
    let entity = entity("http://o/five", &bytes);
    cache.link_entity(&entity, &id).unwrap();
    cache.set_validated(&id, true).unwrap();
    (dir, cache, bytes, id)
}

fn flip(dir: &Dir, id: &ContentId, at: usize) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(dir.content(id));
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at as u64).unwrap();
}

fn damage(cache: &Cache, id: &ContentId) -> Damage {
    let Checked::Damaged(damage) = cache.check(id, |_| {}).unwrap() else {
        panic!("nothing was found");
    };
    assert_eq!(cache.take_notices(), [Notice::Damaged(damage.clone())]);
    assert!(cache.lease(id).is_none() && cache.held(id).is_none());
    assert_eq!(cache.usage().bytes, 0);
    damage
}

/// Ends the unfinished content with the pieces that it lacks.
fn complete(cache: &Cache, bytes: &Bytes, lacking: &[PieceIndex]) {
    let key = PartialKey::Entity(entity("http://o/five", bytes).key());
    let size = Some(bytes.len() as u64);
    let manifest = None;
    let partial = cache
        .partial(PartialSpec {
            key,
            size,
            manifest,
        })
        .unwrap();
    let missing: Vec<_> = partial.bitfield().missing().collect();
    assert_eq!(missing, lacking);
    for index in missing {
        let _ = partial.put_hashed(piece(bytes, index)).unwrap();
    }
    let lease = partial.finish(Some(ContentId::of(bytes))).unwrap();
    assert_eq!(read(&lease), *bytes);
}

#[test]
fn good_bytes_are_found_good_and_that_is_no_use() {
    let (_dir, cache, bytes, id) = five();
    let before = cache.show(&id).unwrap();
    let mut seen = 0;
    let checked = cache.check(&id, |read| seen = read).unwrap();
    assert!(checked.is_good());
    assert_eq!(seen, bytes.len() as u64);
    assert_eq!(cache.show(&id).unwrap(), before);
    assert!(cache.take_notices().is_empty());
    let unknown = cache.check(&ContentId::of(b"?"), |_| {});
    assert!(matches!(unknown, Err(CacheError::NotHeld(_))));
}

#[test]
fn parts_are_checked_one_after_the_other() {
    let (dir, cache, bytes, id) = five();
    flip(&dir, &id, 3 * PIECE);
    let mut from = Some(PieceIndex(0));
    let mut parts = Vec::new();
    while let Some(first) = from {
        let part = cache.check_part(&id, first, 2 * PIECE as u64).unwrap();
        parts.push((part.is_good, part.bytes));
        from = part.next;
    }
    let (two, rest) = (2 * PIECE as u64, 77);
    assert_eq!(parts, [(true, two), (false, two), (true, rest)]);
    // However little is wanted, one piece is read.
    let part = cache.check_part(&id, PieceIndex(4), 1).unwrap();
    assert_eq!((part.bytes, part.next), (77, None));
    // Nothing was taken out yet.
    assert_eq!(cache.held(&id).unwrap().size, bytes.len() as u64);
}

#[test]
fn flipped_bits_cost_the_pieces_that_they_are_in() {
    let (dir, cache, bytes, id) = five();
    flip(&dir, &id, PIECE + 5);
    flip(&dir, &id, 4 * PIECE);
    let damage = damage(&cache, &id);
    assert_eq!(damage.bad_pieces, [PieceIndex(1), PieceIndex(4)]);
    assert_eq!(damage.kept, 3 * PIECE as u64);
    assert_eq!(damage.file, dir.content(&id));
    drop(cache);
    // Also over a restart.
    let cache = dir.open();
    complete(&cache, &bytes, &[PieceIndex(1), PieceIndex(4)]);
}

#[test]
fn what_is_left_does_not_bind_the_next_transfer() {
    let (dir, cache, bytes, id) = five();
    flip(&dir, &id, PIECE + 5);
    damage(&cache, &id);
    let spec = PartialSpec {
        key: PartialKey::Entity(entity("http://o/five", &bytes).key()),
        size: Some(bytes.len() as u64),
        manifest: None,
    };
    let partial = cache.partial(spec).unwrap();
    assert_eq!(partial.manifest(), None);
    let other = blob(6, bytes.len());
    // What is held is known, and what is not may become what the origin has.
    let held = partial.put_hashed(piece(&other, PieceIndex(0))).unwrap();
    assert!(matches!(held, PutOutcome::Mismatch(_)), "{held:?}");
    let put = partial.put_hashed(piece(&other, PieceIndex(1))).unwrap();
    assert!(matches!(put, PutOutcome::Stored), "{put:?}");
    let differing = partial.differing(&manifest(&other));
    assert_eq!(differing, [0, 2, 3, 4].map(PieceIndex));
}

#[test]
fn a_file_cut_short_keeps_what_is_left_of_it() {
    let (dir, cache, bytes, id) = five();
    let file = OpenOptions::new()
        .write(true)
        .open(dir.content(&id))
        .unwrap();
    file.set_len(2 * PIECE as u64 + 9).unwrap();
    let damage = damage(&cache, &id);
    let lacking = [2, 3, 4].map(PieceIndex);
    assert_eq!(damage.bad_pieces, lacking);
    assert!(damage.reason.contains("524297 bytes"), "{}", damage.reason);
    complete(&cache, &bytes, &lacking);
}

#[test]
fn a_file_that_grew_is_cut_back() {
    let (dir, cache, bytes, id) = five();
    let file = OpenOptions::new()
        .write(true)
        .open(dir.content(&id))
        .unwrap();
    file.set_len(bytes.len() as u64 + 1).unwrap();
    assert_eq!(damage(&cache, &id).bad_pieces, []);
    complete(&cache, &bytes, &[]);
}

#[test]
fn what_nobody_would_go_on_with_is_set_aside() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    // Of one piece, and with no URL.
    for len in [77, 3 * PIECE] {
        let id = store(&cache, &blob(1, len)).id();
        flip(&dir, &id, len - 1);
        assert_eq!(damage(&cache, &id).kept, 0);
        assert!(!dir.content(&id).exists());
    }
    let aside = fs::read_dir(dir.path().join("aside")).unwrap();
    assert_eq!(aside.count(), 4);
    assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
}

#[test]
fn a_transfer_under_way_is_left_alone() {
    let (dir, cache, bytes, id) = five();
    let key = PartialKey::Entity(entity("http://o/five", &bytes).key());
    let (size, manifest) = (Some(bytes.len() as u64), None);
    let partial = cache
        .partial(PartialSpec {
            key,
            size,
            manifest,
        })
        .unwrap();
    let _ = partial.put_hashed(piece(&bytes, PieceIndex(3))).unwrap();
    flip(&dir, &id, 0);
    assert_eq!(damage(&cache, &id).kept, 0);
    assert_eq!(partial.bitfield().count(), 1);
}

#[test]
fn readers_go_on_while_their_content_is_checked() {
    let (dir, cache, bytes, id) = five();
    let lease = cache.lease(&id).unwrap();
    flip(&dir, &id, 0);
    damage(&cache, &id);
    let mut rest = vec![0; bytes.len() - PIECE];
    lease.read_at(&mut rest, PIECE as u64).unwrap();
    assert_eq!(rest, bytes[PIECE..]);
    drop(lease);
    complete(&cache, &bytes, &[PieceIndex(0)]);
}

#[test]
fn damage_that_is_met_in_use_is_told() {
    let (dir, cache, _, id) = five();
    fs::write(dir.meta(&id), "no sidecar").unwrap();
    assert!(cache.lease(&id).is_none());
    let notices = cache.take_notices();
    let [Notice::Damaged(damage)] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert_eq!((damage.id, damage.kept), (id, 0));
    assert!(damage.reason.contains("sidecar"), "{}", damage.reason);
}
