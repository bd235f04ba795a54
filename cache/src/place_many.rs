//! Putting many small files where the user wants them.
//!
//! Each gets its name when its bytes are durable, as with one file. But the disk is given
//! the bytes of many before anybody waits for the first: what is on its way together gets
//! there in a tenth of the time. The names of many are made durable together, too: a
//! directory takes as long to sync for one name as for a hundred. To sync the whole
//! filesystem once instead would wait for what everybody else writes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::together::together;
use crate::{Lease, PlaceError, Placement};

/// So many files, at most, are on their way to the disk at once.
const MANY: usize = 128;
/// So many bytes are, at most, unless one file has more: until they have their names, the
/// files that they replace take room, too.
const MANY_BYTES: u64 = 64 << 20;

/// A content, where it is to go, and the time of its last change.
pub type Wanted = (Lease, PathBuf, Option<SystemTime>);

/// Puts copies where the user wants them; says of each how it went, in the same order.
/// As if each were [placed](Lease::place) by itself, with fewer syncs. Blocks.
#[must_use]
pub fn place_many(wanted: &[Wanted]) -> Vec<Result<(), PlaceError>> {
    let mut results = Vec::with_capacity(wanted.len());
    let mut rest = wanted;
    while !rest.is_empty() {
        let (part, others) = rest.split_at(first_part(rest));
        place_part(part, &mut results);
        rest = others;
    }
    results
}

/// How many to place together.
fn first_part(wanted: &[Wanted]) -> usize {
    let mut bytes = 0_u64;
    let fits = |(lease, ..): &&Wanted| {
        bytes = bytes.saturating_add(lease.size());
        bytes <= MANY_BYTES
    };
    wanted.iter().take(MANY).take_while(fits).count().max(1)
}

fn place_part(part: &[Wanted], results: &mut Vec<Result<(), PlaceError>>) {
    let filled = part.iter().map(|(lease, path, time)| {
        let placement = lease.fill(path)?;
        if part.len() > 1 {
            placement.begin_sync();
        }
        Ok((placement, *time))
    });
    let sealed = together(filled.collect(), |filled: Result<_, PlaceError>| {
        let (placement, time) = filled?;
        placement.seal(time)?;
        Ok(placement)
    });
    let mut directories = BTreeMap::new();
    for ((_, path, _), sealed) in part.iter().zip(sealed) {
        let named = sealed.and_then(Placement::name_it);
        results.push(named.map(|directory| {
            directories.insert(path.parent().map(PathBuf::from), directory);
        }));
    }
    for directory in directories.into_values() {
        directory.sync();
    }
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
    fn few_are_on_their_way_where_they_are_large() {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::open(Config::new(temp.path().join("data"), 1 << 30)).unwrap();
        let large = vec![7; (MANY_BYTES / 2) as usize + 1];
        let (large, small) = (
            lease(&cache, temp.path(), &large),
            lease(&cache, temp.path(), b"1"),
        );
        let wanted = |lease: &Lease| (lease.clone(), temp.path().join("out"), None);
        let mut all = vec![wanted(&small), wanted(&large), wanted(&large)];
        assert_eq!(first_part(&all), 2);
        assert_eq!(first_part(&all[1..]), 1);
        all.extend(std::iter::repeat_n(wanted(&small), 200));
        assert_eq!(first_part(&all[3..]), MANY);
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
