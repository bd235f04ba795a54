//! Putting many small files where the user wants them.
//!
//! Each gets its name when its bytes are durable, as with one file. The names of many are
//! made durable together: a directory takes as long to sync for one name as for a hundred.
//! To sync the whole filesystem once instead would wait for what everybody else writes, too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::place::place_unsynced;
use crate::{Lease, PlaceError};

/// After so many files their directories are synced.
const MANY: usize = 128;

/// A content, where it is to go, and the time of its last change.
pub type Wanted = (Lease, PathBuf, Option<SystemTime>);

/// Puts copies where the user wants them; says of each how it went, in the same order.
/// As if each were [placed](Lease::place) by itself, with fewer syncs. Blocks.
#[must_use]
pub fn place_many(wanted: &[Wanted]) -> Vec<Result<(), PlaceError>> {
    let mut results = Vec::with_capacity(wanted.len());
    for part in wanted.chunks(MANY) {
        let mut directories = BTreeMap::new();
        for (lease, path, time) in part {
            let placed = place_unsynced(lease.file(), lease.size(), path, *time);
            results.push(placed.map(|directory| {
                directories.insert(path.parent().map(PathBuf::from), directory);
            }));
        }
        for directory in directories.into_values() {
            directory.sync();
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::{Cache, Config};

    fn lease(cache: &Cache, dir: &Path, bytes: &[u8]) -> Lease {
        let path = dir.join("source");
        fs::write(&path, bytes).unwrap();
        let id = cache.add_file(&path, |_| {}).unwrap().id;
        fs::remove_file(path).unwrap();
        cache.lease(&id).unwrap()
    }

    #[test]
    fn all_get_their_places_but_those_that_cannot() {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::open(Config::new(temp.path().join("data"), 1 << 30)).unwrap();
        let out = temp.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("3"), "before").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let bytes = |number: usize| format!("content {number}").into_bytes();
        let mut wanted: Vec<Wanted> = (0..300)
            .map(|number| {
                let lease = lease(&cache, temp.path(), &bytes(number));
                (lease, out.join(number.to_string()), Some(time))
            })
            .collect();
        wanted[17].1 = temp.path().join("missing/17");
        let results = place_many(&wanted);
        assert_eq!(results.len(), 300);
        for (number, result) in results.iter().enumerate() {
            if number == 17 {
                assert!(matches!(result, Err(PlaceError::DirectoryMissing(_))));
                continue;
            }
            assert!(result.is_ok(), "{number}: {result:?}");
            let path = out.join(number.to_string());
            assert_eq!(fs::read(&path).unwrap(), bytes(number));
            assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), time);
        }
        assert_eq!(fs::read_dir(out).unwrap().count(), 299);
    }
}
