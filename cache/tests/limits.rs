//! What the cache keeps to: size, age, and what is outside of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::time::{Duration, SystemTime};

use common::{Dir, blob, filled, pieces, read, spec, store};
use potluck_cache::{Cache, CacheError, Eviction, Facts, Limits, PartialSpec};
use potluck_content::ContentId;

#[test]
fn limits_can_be_lowered_and_raised_while_it_is_open() {
    let dir = Dir::new(1000);
    let cache = dir.open();
    let ids: Vec<_> = (0..5)
        .map(|seed| store(&cache, &blob(seed, 200)).id())
        .collect();
    let lease = cache.lease(&ids[0]).unwrap();
    let limits = cache.limits();
    cache.set_limits(Limits {
        max_size: 500,
        ..limits
    });
    assert_eq!(cache.usage().bytes, 400);
    // What was used last stays, and what is read.
    assert!(cache.held(&ids[0]).is_some() && cache.held(&ids[4]).is_some());
    cache.set_limits(Limits {
        max_size: 0,
        ..limits
    });
    assert_eq!(cache.usage().bytes, 200);
    assert_eq!(read(&lease), blob(0, 200));
    drop(lease);
    assert_eq!(cache.usage().bytes, 0);

    cache.set_limits(limits);
    for seed in 5..9 {
        store(&cache, &blob(seed, 200));
    }
    assert_eq!(cache.usage().bytes, 800);
    cache.set_limits(Limits {
        max_age: Duration::ZERO,
        ..limits
    });
    assert_eq!(cache.usage().bytes, 0);
}

#[test]
fn pinned_contents_are_outside_the_limit() {
    let dir = Dir::new(1000);
    let cache = dir.open();
    let pinned = store(&cache, &blob(1, 900)).id();
    cache.set_pinned(&pinned, true).unwrap();
    let other = store(&cache, &blob(2, 900)).id();
    assert_eq!(
        (cache.usage().bytes, cache.usage().pinned_bytes),
        (900, 900)
    );
    drop(cache);
    let cache = dir.open();
    assert_eq!((cache.usage().contents, cache.usage().pinned), (1, 1));

    // Back under the limit, room is made by what was used longest ago: this one.
    cache.set_pinned(&pinned, false).unwrap();
    assert!(cache.held(&pinned).is_none() && cache.held(&other).is_some());
    assert_eq!((cache.usage().bytes, cache.usage().pinned_bytes), (900, 0));
}

#[test]
fn what_is_larger_than_the_cache_can_be_pinned() {
    let dir = Dir::new(1000);
    let cache = dir.open();
    let small = store(&cache, &blob(1, 900)).id();
    let large = store(&cache, &blob(2, 2000));
    assert!(!large.is_cached());
    cache.set_pinned(&large.id(), true).unwrap();
    assert!(large.is_cached());
    let id = large.id();
    drop(large);
    assert!(cache.held(&id).is_some() && cache.held(&small).is_some());
    assert_eq!(cache.usage().uncached_bytes, 0);

    let path = dir.temp.path().join("file");
    fs::write(&path, blob(3, 3000)).unwrap();
    let refused = cache.add_file(&path, |_| {});
    assert!(matches!(refused, Err(CacheError::LargerThanCache { .. })));
    let facts = Facts {
        pinned: true,
        ..Facts::default()
    };
    let record = cache.add_file_with(&path, &facts, |_| {}).unwrap();
    assert_eq!(record.id, ContentId::of(&blob(3, 3000)));
    assert!(record.facts.validated && record.facts.pinned);
    assert_eq!(cache.usage().pinned_bytes, 5000);
    drop(cache);
    assert_eq!(dir.open().usage().pinned_bytes, 5000);
}

/// A cache of ten contents of 100 bytes of which two are used again and again.
fn with_favourites(config: potluck_cache::Config) -> (Cache, [ContentId; 2]) {
    let cache = Cache::open(config).unwrap();
    let favourites = [0, 1].map(|seed| store(&cache, &blob(seed, 100)).id());
    (cache, favourites)
}

/// Brings contents that nobody wants again.
fn scan(cache: &Cache, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        drop(store(cache, &blob(seed, 100)));
    }
}

#[test]
fn a_scan_does_not_push_out_what_was_wanted_before() {
    let dir = Dir::new(1000);
    let config = || potluck_cache::Config {
        eviction: Eviction::S3Fifo,
        ..dir.config()
    };
    let (cache, favourites) = with_favourites(config());
    scan(&cache, 10..30);
    assert!(favourites.iter().all(|id| cache.held(id).is_none()));
    // They come again, and are known for having gone too early.
    let again = [0, 1].map(|seed| store(&cache, &blob(seed, 100)).id());
    assert_eq!(again, favourites);
    scan(&cache, 30..60);
    assert!(favourites.iter().all(|id| cache.held(id).is_some()));
    assert_eq!(cache.usage().bytes, 1000);
    // What the process knew is kept.
    drop(cache);
    let cache = Cache::open(config()).unwrap();
    scan(&cache, 60..90);
    assert!(favourites.iter().all(|id| cache.held(id).is_some()));
    assert_eq!(cache.usage().bytes, 1000);
}

#[test]
fn the_policy_may_change_from_one_start_to_the_next() {
    let dir = Dir::new(1000);
    let scanning = || potluck_cache::Config {
        eviction: Eviction::S3Fifo,
        ..dir.config()
    };
    let (cache, favourites) = with_favourites(scanning());
    scan(&cache, 10..18);
    drop(cache);
    let cache = dir.open();
    drop(cache.lease(&favourites[0]));
    scan(&cache, 20..28);
    // Least recently used: what was used just now stays, what only stood in line goes.
    assert!(cache.held(&favourites[0]).is_some() && cache.held(&favourites[1]).is_none());
    assert_eq!(cache.usage().bytes, 1000);
    drop(cache);
    let cache = Cache::open(scanning()).unwrap();
    scan(&cache, 30..60);
    assert_eq!(cache.usage().bytes, 1000);
    let old = Duration::from_secs(91 * 24 * 3600);
    let evicted = cache.evict_expired(SystemTime::now() + old);
    assert_eq!((evicted.contents, cache.usage().bytes), (10, 0));
}

#[test]
fn the_disk_keeps_its_minimum_free() {
    let dir = Dir::new(10_000);
    let cache = dir.open();
    let pinned = store(&cache, &blob(1, 100)).id();
    cache.set_pinned(&pinned, true).unwrap();
    let idle = store(&cache, &blob(2, 100)).id();
    let leased = store(&cache, &blob(3, 100));
    // More than there is: what may go does, and nothing comes.
    cache.set_limits(Limits {
        min_free: u64::MAX / 2,
        ..cache.limits()
    });
    assert!(cache.held(&idle).is_none());
    assert!(cache.held(&pinned).is_some() && cache.held(&leased.id()).is_some());
    let path = dir.temp.path().join("file");
    fs::write(&path, blob(4, 100)).unwrap();
    for refused in [
        cache.partial(spec("known", 100)).map(drop),
        cache.add_file(&path, |_| {}).map(drop),
        cache
            .partial(PartialSpec {
                size: None,
                ..spec("stream", 0)
            })
            .and_then(|stream| stream.append(b"bytes")),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, CacheError::NoSpace { .. }), "{error}");
        assert!(error.to_string().contains("cache.min_free"), "{error}");
    }
    // What is there can still be used and changed.
    cache.set_validated(&leased.id(), true).unwrap();
    assert_eq!(read(&leased), blob(3, 100));
    cache.set_limits(Limits {
        min_free: 0,
        ..cache.limits()
    });
    assert!(store(&cache, &blob(4, 100)).is_cached());
}

#[test]
fn what_comes_at_once_is_promised_its_room_at_once() {
    let dir = Dir::new(10_000);
    let cache = dir.open();
    cache.set_limits(Limits {
        max_size: u64::MAX,
        ..cache.limits()
    });
    let disk = rustix::fs::statvfs(dir.path()).unwrap();
    let most = usize::try_from(disk.f_bavail * disk.f_frsize / 10 * 6).unwrap();
    // One has room for all its bytes, both have not, though none of them was written yet.
    let one = cache.partial(spec("one", most)).unwrap();
    let refused = cache.partial(spec("two", most));
    assert!(matches!(refused, Err(CacheError::NoSpace { .. })));
    drop(one);
    drop(cache.partial(spec("two", most)).unwrap());
    // What was refused is promised nothing.
    drop(cache.partial(spec("three", 1000)).unwrap());
}

#[test]
fn room_is_made_while_a_content_comes() {
    let dir = Dir::new(1_000_000);
    let cache = dir.open();
    for seed in 0..10 {
        store(&cache, &blob(seed, 100_000));
    }
    let bytes = blob(20, 800_000);
    let partial = cache.partial(spec("large", bytes.len())).unwrap();
    let mut came = 0;
    for piece in pieces(&bytes) {
        came += piece.bytes().len() as u64;
        let _ = partial.put_hashed(piece).unwrap();
        assert!(cache.usage().bytes + came <= 1_000_000);
    }
    assert!(partial.finish(None).unwrap().is_cached());
    assert_eq!(cache.usage().bytes, 1_000_000);

    // One that cannot fit pushes nothing out.
    let bytes = blob(21, 1_100_000);
    let partial = filled(&cache, &bytes);
    assert_eq!(cache.usage().bytes, 1_000_000);
    assert!(!partial.finish(None).unwrap().is_cached());
    assert_eq!(cache.usage().bytes, 1_000_000);
}
