//! What becomes of the order of use when the clock is set back.

use std::fs;
use std::time::{Duration, SystemTime};

use potluck_content::ContentId;

use crate::index_row::Entry;
use crate::shelf::micros;
use crate::{Cache, Config, Rank};

fn open(temp: &tempfile::TempDir) -> Cache {
    Cache::open(Config::new(temp.path().join("data"), 100_000)).unwrap()
}

/// A content of which two fit.
fn add(cache: &Cache, temp: &tempfile::TempDir, n: u8) -> ContentId {
    let path = temp.path().join("file");
    fs::write(&path, vec![n; 40_000]).unwrap();
    cache.add_file(&path, |_| {}).unwrap().id
}

#[test]
fn uses_after_the_clock_was_set_back_come_later_all_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let cache = open(&temp);
    let [first, second] = [1, 2].map(|n| add(&cache, &temp, n));
    cache.flush();
    // As it was noted while the clock was a year ahead.
    let year = Duration::from_secs(365 * 86_400);
    for (n, id) in [&first, &second].into_iter().enumerate() {
        let time = SystemTime::now() + year + Duration::from_secs(n as u64);
        let entry = cache.inner.index.get(id).unwrap();
        let accessed = micros(time);
        let rank = Rank::main(accessed);
        cache.inner.index.rerank(
            id,
            Entry {
                accessed,
                rank,
                ..entry
            },
        );
    }
    drop(cache);

    let cache = open(&temp);
    let ahead = cache.show(&second).unwrap().accessed;
    assert!(ahead > SystemTime::now());
    // The one that was used first is used now, so the other is to go.
    drop(cache.lease(&first).unwrap());
    assert!(cache.show(&first).unwrap().accessed > ahead);
    let third = add(&cache, &temp, 3);
    assert!(cache.held(&first).is_some() && cache.held(&third).is_some());
    assert!(cache.held(&second).is_none());
    // Nothing of it is old, either by the clock that was or by the one that is.
    assert_eq!(cache.evict_expired(SystemTime::now()).contents, 0);
    assert_eq!(cache.evict_expired(SystemTime::now() + year).contents, 0);
}
