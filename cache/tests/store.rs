//! What the cache promises of complete contents.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::time::{Duration, SystemTime};

use common::{Dir, blob, entity, filled, pieces, read, spec, store};
use potluck_cache::{CacheError, FinishError, Usage};
use potluck_content::{ContentId, Digest, PieceIndex};

const MIB: u64 = 1 << 20;

#[test]
fn a_finished_content_is_found_by_all_its_names_after_reopening() {
    let dir = Dir::new(10 * MIB);
    let bytes = blob(1, 600_000);
    let id = ContentId::of(&bytes);
    let entity = entity("http://o/a", &bytes);
    let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
    let cache = dir.open();
    assert!(cache.lease(&id).is_none());
    let lease = store(&cache, &bytes);
    assert!(lease.is_cached() && !lease.validated());
    cache.link_entity(&entity, &id).unwrap();
    cache.link_digest(&digest, &id).unwrap();
    cache.set_validated(&id, true).unwrap();
    assert!(lease.validated());
    drop((lease, cache));

    let cache = dir.open();
    assert_eq!(cache.find_entity(&entity.key()), Some(id));
    assert_eq!(cache.find_digest(&digest), Some(id));
    assert_eq!(cache.find_digest(&Digest::B3(id)), Some(id));
    assert!(cache.held(&id).unwrap().validated);
    let lease = cache.lease_entity(&entity.key()).unwrap();
    assert_eq!(read(&lease), bytes);
    assert_eq!(lease.manifest().as_ref(), &common::manifest(&bytes));
    assert_eq!(cache.list().len(), 1);
    assert_eq!(cache.list()[0].facts.entities, [entity]);
}

#[test]
fn an_entity_that_gets_other_bytes_leads_to_them_only() {
    let dir = Dir::new(10 * MIB);
    let (old, new) = (blob(1, 10), blob(2, 10));
    let entity = entity("http://o/a", &old);
    let cache = dir.open();
    for bytes in [&old, &new] {
        let lease = store(&cache, bytes);
        cache.link_entity(&entity, &lease.id()).unwrap();
    }
    cache.rebuild_index().unwrap();
    assert_eq!(cache.find_entity(&entity.key()), Some(ContentId::of(&new)));
    cache.remove(&ContentId::of(&old)).unwrap();
    assert_eq!(cache.find_entity(&entity.key()), Some(ContentId::of(&new)));
    cache.remove(&ContentId::of(&new)).unwrap();
    assert_eq!(cache.find_entity(&entity.key()), None);
}

#[test]
fn a_second_open_is_refused_until_the_first_is_over() {
    let dir = Dir::new(MIB);
    let cache = dir.open();
    let lease = store(&cache, &blob(1, 9));
    drop(cache);
    // The lease still reads in it.
    let Err(CacheError::InUse { pid, .. }) = potluck_cache::Cache::open(dir.config()) else {
        panic!("opened twice");
    };
    assert_eq!(pid, Some(std::process::id()));
    drop(lease);
    dir.open();
}

#[test]
fn the_least_recently_used_goes_and_the_leased_stays() {
    let dir = Dir::new(1000);
    let cache = dir.open();
    let blobs: Vec<_> = (0..3).map(|seed| blob(seed, 400)).collect();
    let ids: Vec<_> = blobs.iter().map(|bytes| ContentId::of(bytes)).collect();
    drop(store(&cache, &blobs[0]));
    drop(store(&cache, &blobs[1]));
    drop(cache.lease(&ids[0]));
    drop(store(&cache, &blobs[2]));
    assert!(cache.held(&ids[0]).is_some());
    assert!(cache.held(&ids[1]).is_none());
    assert_eq!(cache.usage().bytes, 800);

    let lease = cache.lease(&ids[0]).unwrap();
    drop(store(&cache, &blobs[1]));
    assert!(cache.held(&ids[0]).is_some());
    assert!(cache.held(&ids[2]).is_none());
    assert_eq!(read(&lease), blobs[0]);
}

#[test]
fn what_is_larger_than_the_cache_stays_for_its_leases() {
    let dir = Dir::new(1000);
    let bytes = blob(1, 1001);
    let id = ContentId::of(&bytes);
    let cache = dir.open();
    let kept = store(&cache, &blob(2, 900));
    let lease = store(&cache, &bytes);
    assert!(!lease.is_cached());
    let out = dir.temp.path().join("out");
    lease.place(&out, None).unwrap();
    assert_eq!(fs::read(out).unwrap(), bytes);
    assert_eq!(
        cache.usage(),
        Usage {
            bytes: 900,
            contents: 1,
            uncached_bytes: 1001,
            ..Usage::default()
        }
    );
    let second = cache.lease(&id).unwrap();
    drop(lease);
    assert!(cache.held(&id).is_some());
    drop(second);
    assert!(cache.held(&id).is_none());
    assert!(!dir.content(&id).exists() && !dir.meta(&id).exists());
    assert_eq!(cache.usage().uncached_bytes, 0);
    drop(kept);
}

#[test]
fn what_did_not_fit_is_kept_when_room_came_meanwhile() {
    let dir = Dir::new(1000);
    let cache = dir.open();
    let first = store(&cache, &blob(1, 900));
    let second = store(&cache, &blob(2, 900));
    assert!(first.is_cached() && !second.is_cached());
    let (first_id, second_id) = (first.id(), second.id());
    drop(first);
    drop(second);
    assert!(cache.held(&first_id).is_none());
    assert!(cache.lease(&second_id).unwrap().is_cached());
    drop(cache);
    assert!(dir.open().lease(&second_id).unwrap().is_cached());
}

#[test]
fn uncached_contents_survive_a_restart_until_nobody_claims_them() {
    let dir = Dir::new(1000);
    let cache = dir.open();
    let (wanted, unwanted) = (blob(1, 2000), blob(2, 2000));
    let leases = [store(&cache, &wanted), store(&cache, &unwanted)];
    cache.begin_shutdown();
    drop((leases, cache));

    let cache = dir.open();
    let lease = cache.lease(&ContentId::of(&wanted)).unwrap();
    cache.drop_unclaimed();
    assert!(cache.held(&ContentId::of(&unwanted)).is_none());
    assert_eq!(read(&lease), wanted);
    assert_eq!(cache.usage().uncached_bytes, 2000);
}

#[test]
fn a_lowered_limit_is_kept_at_the_next_open() {
    let mut dir = Dir::new(1000);
    let cache = dir.open();
    for seed in 0..5 {
        store(&cache, &blob(seed, 200));
    }
    cache
        .set_pinned(&ContentId::of(&blob(0, 200)), true)
        .unwrap();
    drop(cache);
    dir.max_size = 500;
    let cache = dir.open();
    assert_eq!(
        (cache.usage().bytes, cache.usage().pinned_bytes),
        (400, 200)
    );
    assert!(cache.held(&ContentId::of(&blob(0, 200))).is_some());
    assert!(cache.held(&ContentId::of(&blob(4, 200))).is_some());
}

#[test]
fn age_takes_what_nobody_uses() {
    let dir = Dir::new(MIB);
    let cache = dir.open();
    let leased = store(&cache, &blob(1, 10));
    let pinned = store(&cache, &blob(2, 10)).id();
    cache.set_pinned(&pinned, true).unwrap();
    let idle = store(&cache, &blob(3, 10)).id();
    let partial = filled(&cache, &blob(4, 300_000));
    partial.checkpoint().unwrap();
    drop(partial);

    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(cache.evict_expired(now + 89 * day), Default::default());
    let evicted = cache.evict_expired(now + 91 * day);
    assert_eq!(
        (evicted.contents, evicted.bytes, evicted.partials),
        (1, 10, 1)
    );
    assert!(cache.held(&idle).is_none());
    assert!(cache.held(&pinned).is_some() && cache.held(&leased.id()).is_some());
}

#[test]
fn removed_contents_can_be_read_to_the_end_and_added_again() {
    let dir = Dir::new(MIB);
    let cache = dir.open();
    let bytes = blob(1, 300_000);
    let old = store(&cache, &bytes);
    assert!(cache.remove(&old.id()).unwrap());
    assert!(!cache.remove(&old.id()).unwrap());
    assert!(cache.lease(&old.id()).is_none());
    assert_eq!(read(&old), bytes);
    let new = store(&cache, &bytes);
    drop(old);
    assert_eq!(cache.usage().contents, 1);
    assert_eq!(read(&new), bytes);
}

#[test]
fn added_files_are_validated_and_copies() {
    let dir = Dir::new(MIB);
    let cache = dir.open();
    let bytes = blob(1, 700_000);
    let path = dir.temp.path().join("file");
    fs::write(&path, &bytes).unwrap();
    let mut seen = 0;
    let record = cache.add_file(&path, |read| seen = read).unwrap();
    assert_eq!(seen, 700_000);
    assert_eq!(record.id, ContentId::of(&bytes));
    assert!(record.facts.validated && record.cached);
    fs::write(&path, "other").unwrap();
    assert_eq!(read(&cache.lease(&record.id).unwrap()), bytes);
    assert!(cache.verify(&record.id, |_| {}).unwrap());

    fs::write(&path, vec![0; MIB as usize + 1]).unwrap();
    let refused = cache.add_file(&path, |_| {});
    assert!(matches!(refused, Err(CacheError::LargerThanCache { .. })));
    let refused = cache.add_file(dir.temp.path(), |_| {});
    assert!(matches!(refused, Err(CacheError::NotAFile(_))));
    let _held = cache.lease(&record.id);
    fs::write(&path, vec![0; 600_000]).unwrap();
    let refused = cache.add_file(&path, |_| {});
    assert!(matches!(refused, Err(CacheError::NoRoom { .. })));
}

#[test]
fn the_same_bytes_twice_are_one_content() {
    let dir = Dir::new(MIB);
    let cache = dir.open();
    let bytes = blob(1, 300_000);
    let first = store(&cache, &bytes);
    let partial = cache.partial(spec("other", bytes.len())).unwrap();
    for piece in pieces(&bytes) {
        let _ = partial.put_hashed(piece).unwrap();
    }
    let second = partial.finish(None).unwrap();
    assert_eq!(first.id(), second.id());
    assert_eq!(cache.usage().contents, 1);
    let left = fs::read_dir(dir.path().join("partial")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn finishing_too_early_or_as_something_else_gives_the_partial_back() {
    let dir = Dir::new(MIB);
    let cache = dir.open();
    let bytes = blob(1, 600_000);
    let partial = cache.partial(spec("job", bytes.len())).unwrap();
    let all = pieces(&bytes);
    let _ = partial.put_hashed(all[1].clone()).unwrap();
    let Err(FinishError::Incomplete { partial, missing }) = partial.finish(None) else {
        panic!("finished without all pieces");
    };
    assert_eq!(missing, [PieceIndex(0), PieceIndex(2)]);

    let mut wrong = bytes.to_vec();
    wrong[0] ^= 1;
    let wrong = pieces(&wrong.into());
    let _ = partial.put_hashed(wrong[0].clone()).unwrap();
    let _ = partial.put_hashed(all[2].clone()).unwrap();
    let Err(error) = partial.finish(Some(ContentId::of(&bytes))) else {
        panic!("finished as another content");
    };
    assert!(matches!(error, FinishError::WrongContent { .. }));
    let partial = error.into_partial();
    partial.discard_pieces(&[PieceIndex(0)]).unwrap();
    let _ = partial.put_hashed(all[0].clone()).unwrap();
    let lease = partial.finish(Some(ContentId::of(&bytes))).unwrap();
    assert_eq!(read(&lease), bytes);
}
