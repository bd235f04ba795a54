//! What has to be true when a cache is opened after a crash.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use potluck_cache::Cache;
use potluck_content::PieceIndex;

use crate::common::{Dir, entity, piece, read};
use crate::crash::Crash;
use crate::recorder::Moment;
use crate::reference::{Item, LIMIT, Model, PARTIALS, SIZES, Unfinished};
use crate::world::{World, bits, resume};

/// Opens what the crash left, and fails unless it is a state between the two models.
///
/// After a loss of power, what was evicted may be there again, because that is not synced;
/// but then it must be as good as it was.
pub(crate) fn check(world: &World, moment: &Moment, crash: Crash, models: [&Model; 2]) {
    let dir = Dir::in_memory(LIMIT);
    moment.leave(crash, &dir.path());
    let cache = dir.open();
    let may_be_lost = |item: &Item| may_be_lost(item.blob, crash, models);
    open_all(world, &cache, &may_be_lost);
    let found = items(world, &cache);
    let files = names_below(&dir.path(), &[]);
    drop(cache);
    let cache = dir.open();
    assert_eq!(
        items(world, &cache),
        found,
        "a second start changed something"
    );
    assert_eq!(names_below(&dir.path(), &[]), files);

    check_files(&dir, world, &found, crash);
    check_usage(&cache, &found);
    check_promises(&found, crash, models);
    check_entity(world, &cache, &found, crash, models);
    check_index(world, &cache, &found);
    check_bytes(world, &cache, &found);
    for k in 0..PARTIALS.len() {
        check_unfinished(
            world,
            &cache,
            k,
            crash,
            models.map(|model| model.unfinished[k]),
        );
    }
}

/// What did not get to the disk is noticed when it is opened.
fn open_all(world: &World, cache: &Cache, may_be_lost: &dyn Fn(&Item) -> bool) {
    // What did not fit stays when its lease goes.
    cache.begin_shutdown();
    for item in items(world, cache) {
        let lease = cache.lease(&world.id(item.blob));
        assert!(lease.is_some() || may_be_lost(&item), "{item:?} is lost");
    }
}

fn items(world: &World, cache: &Cache) -> Vec<Item> {
    let mut items: Vec<Item> = cache
        .list()
        .iter()
        .map(|record| world.item(record))
        .collect();
    items.sort_by_key(|item| item.blob);
    items
}

/// There is no file of nothing.
fn check_files(dir: &Dir, world: &World, found: &[Item], crash: Crash) {
    let contents = found.iter().flat_map(|item| {
        let id = world.id(item.blob);
        [dir.content(&id), dir.meta(&id)]
    });
    let expected: BTreeSet<_> = contents.collect();
    assert_eq!(names_below(&dir.path(), &["contents"]), expected);
    let partials = names_below(&dir.path(), &["partial"]);
    for path in &partials {
        let name = path.to_str().unwrap();
        let data = name.strip_suffix(".meta");
        let data = data.or_else(|| name.strip_suffix(".written"));
        let is_paired = match data {
            Some(data) => partials.contains(Path::new(data)),
            None => [".meta", ".written"]
                .iter()
                .any(|end| partials.contains(Path::new(&format!("{name}{end}")))),
        };
        assert!(is_paired, "{} is alone", path.display());
    }
    assert_eq!(names_below(&dir.path(), &["scratch"]), BTreeSet::new());
    if crash == Crash::Death {
        assert_eq!(names_below(&dir.path(), &["aside"]), BTreeSet::new());
    }
}

/// All files in some directories, or in all but those of the index.
fn names_below(root: &Path, dirs: &[&str]) -> BTreeSet<PathBuf> {
    let all = ["contents", "partial", "scratch", "aside"];
    let mut names = BTreeSet::new();
    let mut open: Vec<_> = if dirs.is_empty() { &all[..] } else { dirs }
        .iter()
        .map(|dir| root.join(dir))
        .collect();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                names.insert(path);
            }
        }
    }
    names
}

/// The index says what the sidecars say, and what is said again takes effect.
fn check_index(world: &World, cache: &Cache, found: &[Item]) {
    let is_said = |item: &Item| {
        let id = world.id(item.blob);
        let facts = cache.show(&id).unwrap().facts;
        assert_eq!(cache.held(&id).unwrap().validated, facts.validated);
        for entity in &facts.entities {
            let other = cache.find_entity(&entity.key()).unwrap();
            let known = cache.show(&other).unwrap().facts.entities;
            assert!(known.contains(entity), "{known:?}");
        }
    };
    found.iter().for_each(is_said);
    let link = entity("http://o/x", &world.blobs[0]);
    for item in found {
        let id = world.id(item.blob);
        cache.vouch(&id, Some(&link)).unwrap();
        assert!(cache.held(&id).unwrap().validated);
        assert_eq!(cache.find_entity(&link.key()), Some(id));
        is_said(item);
    }
}

fn check_bytes(world: &World, cache: &Cache, found: &[Item]) {
    // All at once: a lease that goes may take what did not fit with it.
    let lease = |item: &Item| cache.lease(&world.id(item.blob)).unwrap();
    let leases: Vec<_> = found.iter().map(lease).collect();
    for (item, lease) in found.iter().zip(&leases) {
        let blob = item.blob;
        assert!(read(lease) == world.blobs[blob], "blob {blob} is wrong");
    }
}

fn check_usage(cache: &Cache, found: &[Item]) {
    let model = Model {
        items: found.to_vec(),
        ..Model::default()
    };
    assert_eq!(cache.usage(), model.usage());
    assert!(cache.usage().bytes <= LIMIT);
}

fn check_promises(found: &[Item], crash: Crash, [before, after]: [&Model; 2]) {
    let old = |blob: usize| before.items.iter().find(|item| item.blob == blob);
    let new = |blob: usize| after.items.iter().find(|item| item.blob == blob);
    let may_be_lost = |blob: usize| may_be_lost(blob, crash, [before, after]);
    for blob in 0..SIZES.len() {
        let found = found.iter().find(|item| item.blob == blob);
        let went_and_came = before.lives[blob] != after.lives[blob];
        match (old(blob), new(blob), found) {
            (Some(old), Some(new), Some(found)) => {
                let is_kept = [old.cached, new.cached].contains(&found.cached);
                // Without its sidecar nobody knows.
                assert!(is_kept || may_be_lost(blob), "{old:?} {new:?} {found:?}");
                for part in [|item: &Item| item.validated, |item: &Item| item.pinned] {
                    let known = [part(old), part(new)].contains(&part(found));
                    let forgotten = may_be_vague(blob, crash, [before, after]) && !part(found);
                    assert!(known || forgotten, "{old:?} {new:?} {found:?}");
                }
                assert!(found.pinned || !(old.pinned && new.pinned), "{found:?}");
            }
            (Some(_), Some(_), None) if may_be_lost(blob) => {}
            (Some(old), Some(new), None) if !went_and_came => {
                assert!(may_be_evicted(old, new, crash, after), "{old:?} is lost");
            }
            (None, None, Some(found)) => {
                assert!(crash == Crash::PowerLoss, "{found:?} rose again");
                let is_gone = before.gone[blob] && after.gone[blob];
                assert!(!is_gone, "{found:?}, which was removed, rose again");
            }
            _ => {}
        }
    }
}

/// Whether a content was on its way to the disk when the power went.
fn may_be_lost(blob: usize, crash: Crash, models: [&Model; 2]) -> bool {
    crash == Crash::PowerLoss && models.iter().any(|model| model.unsynced[blob])
}

/// Whether some of what is known of it was.
fn may_be_vague(blob: usize, crash: Crash, models: [&Model; 2]) -> bool {
    let vague = models.iter().any(|model| model.vague[blob]);
    may_be_lost(blob, crash, models) || (crash == Crash::PowerLoss && vague)
}

/// When all comes back that was ever removed, there may be more than the cache may hold.
fn may_be_evicted(old: &Item, new: &Item, crash: Crash, after: &Model) -> bool {
    let ghosts = (0..SIZES.len()).filter(|blob| after.items.iter().all(|item| item.blob != *blob));
    let bytes: u64 = ghosts.map(|blob| SIZES[blob] as u64).sum();
    crash == Crash::PowerLoss && !(old.pinned && new.pinned) && after.usage().bytes + bytes > LIMIT
}

fn check_entity(world: &World, cache: &Cache, found: &[Item], crash: Crash, models: [&Model; 2]) {
    let key = entity("http://o/x", &world.blobs[0]).key();
    let linked = cache.find_entity(&key);
    let is_held = |blob: usize| found.iter().any(|item| item.blob == blob);
    match linked.map(|id| world.number(&id)) {
        Some(blob) => {
            assert!(is_held(blob));
            let known = models.iter().any(|model| model.linked == Some(blob));
            assert!(known || crash == Crash::PowerLoss, "{blob} is linked");
        }
        None => {
            let must_be = |blob| is_held(blob) && !may_be_vague(blob, crash, models);
            let missed = models.iter().all(|model| model.linked.is_some_and(must_be));
            assert!(!missed, "{models:?}");
        }
    }
}

/// Pieces that are held have the right bytes, and those that were checkpointed are held; when
/// only the process was killed, all that were written.
fn check_unfinished(
    world: &World,
    cache: &Cache,
    k: usize,
    crash: Crash,
    [old, new]: [Unfinished; 2],
) {
    let bytes = &world.blobs[PARTIALS[k]];
    let partial = resume(cache, k, bytes);
    let held = bits(&partial.bitfield());
    for index in (0..8)
        .filter(|index| held & 1 << index != 0)
        .map(PieceIndex)
    {
        let expected = piece(bytes, index);
        let mut found = vec![0; expected.bytes().len()];
        let offset = expected.layout().span(index).start;
        assert!(partial.read_at(&mut found, offset).unwrap());
        assert!(
            found == *expected.bytes(),
            "piece {} of {k} is wrong",
            index.0
        );
    }
    if crash == Crash::PowerLoss {
        let known = [old.checkpointed, new.checkpointed];
        // One that was given up may come back, because removing is not synced. And what
        // was written may be there or not.
        let kept = known.iter().any(|known| held & known == *known);
        assert!(kept, "{held:b} of {known:?}");
        return;
    }
    let known = [old.written, new.written];
    assert!(known.contains(&held), "{held:b} of {known:?}");
}
