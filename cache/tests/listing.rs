//! Looking through the cache.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::{Duration, SystemTime};

use common::{Dir, blob, entity, store};
use potluck_cache::{Cache, Filter};
use potluck_content::ContentId;

/// Ten contents of 1,000 to 1,009 bytes, each with a URL; the even ones validated, the
/// third pinned. In the order of their ids.
fn filled() -> (Dir, Cache, Vec<(ContentId, u64)>) {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let mut made = Vec::new();
    for n in 0..10_u64 {
        let bytes = blob(n, 1_000 + usize::try_from(n).unwrap());
        let id = store(&cache, &bytes).id();
        let entity = entity(&format!("http://o/files/{n}.deb"), &bytes);
        cache.link_entity(&entity, &id).unwrap();
        cache.set_validated(&id, n % 2 == 0).unwrap();
        cache.set_pinned(&id, n == 3).unwrap();
        made.push((id, n));
    }
    made.sort();
    (dir, cache, made)
}

fn ids(cache: &Cache, filter: &Filter) -> Vec<ContentId> {
    let page = cache.page(filter, None, 100);
    page.into_iter().map(|record| record.id).collect()
}

#[test]
fn pages_follow_each_other_without_gaps() {
    let (_dir, cache, made) = filled();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = cache.page(&Filter::default(), after.as_ref(), 3);
        assert!(page.len() == 3 || seen.len() + page.len() == made.len());
        seen.extend(page.iter().map(|record| record.id));
        match page.last() {
            Some(last) => after = Some(last.id),
            None => break,
        }
    }
    let made: Vec<_> = made.iter().map(|(id, _)| *id).collect();
    assert_eq!(seen, made);
    // Also when the content that a page ended with has gone meanwhile.
    cache.remove(&made[4]).unwrap();
    let next = cache.page(&Filter::default(), Some(&made[4]), 1);
    assert_eq!(next[0].id, made[5]);
}

#[test]
fn filters_are_all_kept_to() {
    let (_dir, cache, made) = filled();
    let expect = |filter: Filter, fits: &dyn Fn(u64) -> bool| {
        let wanted: Vec<_> = made.iter().filter(|(_, n)| fits(*n)).map(|m| m.0).collect();
        assert_eq!(ids(&cache, &filter), wanted, "{filter:?}");
    };
    let all = Filter::default;
    let url = Some("http://o/files/4.deb".to_owned());
    expect(Filter { url, ..all() }, &|n| n == 4);
    let url_part = Some("files/7".to_owned());
    expect(Filter { url_part, ..all() }, &|n| n == 7);
    let (min_size, max_size) = (Some(1_002), Some(1_005));
    expect(
        Filter {
            min_size,
            max_size,
            ..all()
        },
        &|n| (2..=5).contains(&n),
    );
    let validated = Some(false);
    expect(
        Filter {
            validated,
            max_size,
            ..all()
        },
        &|n| n % 2 == 1 && n <= 5,
    );
    let pinned = Some(true);
    expect(Filter { pinned, ..all() }, &|n| n == 3);
    let lease = cache.lease(&made[0].0).unwrap();
    let in_use = Some(true);
    expect(Filter { in_use, ..all() }, &|n| n == made[0].1);
    drop(lease);
    expect(Filter { in_use, ..all() }, &|_| false);
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    for (time, old) in [(now - hour, false), (now + hour, true)] {
        let time = Some(time);
        expect(
            Filter {
                accessed_before: time,
                ..all()
            },
            &|_| old,
        );
        expect(
            Filter {
                added_before: time,
                ..all()
            },
            &|_| old,
        );
    }
}

#[test]
fn a_prefix_finds_what_begins_so() {
    let (_dir, cache, made) = filled();
    for (id, _) in &made {
        assert_eq!(cache.with_prefix(&id.to_hex()[..12], 2), [*id]);
        assert_eq!(cache.with_prefix(&id.to_hex().to_uppercase(), 2), [*id]);
    }
    assert_eq!(cache.with_prefix("", 100).len(), 10);
    assert_eq!(cache.with_prefix("", 2).len(), 2);
    assert!(cache.with_prefix("xyz", 2).is_empty());
    let gone = made[0].0;
    cache.remove(&gone).unwrap();
    assert!(cache.with_prefix(&gone.to_hex(), 2).is_empty());
}

#[test]
fn a_url_leads_to_all_its_versions() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let url = "http://o/latest.iso";
    let mut versions: Vec<_> = (0..4)
        .map(|n| {
            let bytes = blob(n, 2_000 + n as usize);
            let id = store(&cache, &bytes).id();
            cache.link_entity(&entity(url, &bytes), &id).unwrap();
            id
        })
        .collect();
    let other = store(&cache, &blob(9, 50)).id();
    cache
        .link_entity(&entity("http://o/latest.iso.sum", &blob(9, 50)), &other)
        .unwrap();
    versions.sort();
    let of_url = Filter {
        url: Some(url.to_owned()),
        ..Filter::default()
    };
    assert_eq!(ids(&cache, &of_url), versions);
    let next = cache.page(&of_url, Some(&versions[1]), 1);
    assert_eq!(next[0].id, versions[2]);
    // As the index is kept, as it is made again, and as things change.
    drop(cache);
    let cache = dir.open();
    assert_eq!(ids(&cache, &of_url), versions);
    cache.rebuild_index().unwrap();
    assert_eq!(ids(&cache, &of_url), versions);
    cache.set_pinned(&versions[0], true).unwrap();
    cache.remove(&versions[3]).unwrap();
    cache
        .update(&versions[2], |facts| facts.entities.clear())
        .unwrap();
    assert_eq!(ids(&cache, &of_url), versions[..2]);
}
