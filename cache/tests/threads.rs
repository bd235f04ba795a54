//! Many threads on one cache: no lock is waited for in a circle, no lease reads wrong
//! bytes, and the sums come out right.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::thread;
use std::time::SystemTime;

use common::{Dir, blob, entity, pieces, read, spec};
use potluck_cache::Cache;
use potluck_content::ContentId;

const LIMIT: u64 = 1_000_000;
const LARGEST: u64 = 1_100_000;

/// One thread's turn: it finishes, leases, changes and removes contents by turns, of
/// which some never fit.
fn turn(cache: &Cache, thread: u64, round: u64) {
    let mut random = (thread << 32 | round).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    random ^= random >> 29;
    let seed = random % 8;
    let bytes = blob(
        seed,
        [1, 90_000, 300_000, 500_000, LARGEST as usize][seed as usize % 5],
    );
    let id = ContentId::of(&bytes);
    match random / 8 % 8 {
        0..=2 => {
            let name = format!("{thread}");
            let partial = cache.partial(spec(&name, bytes.len())).unwrap();
            for piece in pieces(&bytes) {
                let _ = partial.put_hashed(piece).unwrap();
            }
            let lease = partial.finish(Some(id)).unwrap();
            assert!(read(&lease) == bytes);
        }
        3..=4 => {
            let lease = cache.lease(&id);
            assert!(lease.is_none_or(|lease| read(&lease) == bytes));
        }
        // Whether it is held, others decide.
        5 => drop(cache.link_entity(&entity("http://o/x", &blob(0, 1)), &id)),
        6 => drop(cache.set_pinned(&id, random & 64 == 0)),
        _ => {
            cache.remove(&id).unwrap();
            cache.evict_expired(SystemTime::now());
            cache.flush();
        }
    }
}

#[test]
fn threads_do_not_get_into_each_others_way() {
    let dir = Dir::new(LIMIT);
    let cache = dir.open();
    let threads: Vec<_> = (0..6)
        .map(|thread| {
            let cache = cache.clone();
            thread::spawn(move || {
                for round in 0..150 {
                    turn(&cache, thread, round);
                    // What is unpinned comes back under the limit, and then it goes.
                    assert!(cache.usage().bytes <= LIMIT + 6 * LARGEST);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());

    let before = cache.usage();
    assert_eq!(before.uncached_bytes, 0);
    assert!(before.bytes <= LIMIT);
    let sum: u64 = cache.list().iter().map(|record| record.size).sum();
    assert_eq!(before.bytes + before.pinned_bytes, sum);
    cache.rebuild_index().unwrap();
    assert_eq!(cache.usage(), before);
    for record in cache.list() {
        assert!(!record.leased);
        assert!(cache.verify(&record.id, |_| {}).unwrap());
    }
}
