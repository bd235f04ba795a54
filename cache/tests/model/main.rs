//! The cache beside a simple model of it: whatever happens in whatever order, both hold
//! the same contents, and every lease reads the right bytes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;

use bytes::Bytes;
use common::{Dir, blob, copy_dir, entity, filled, read};
use potluck_cache::{Cache, CacheError, Lease, Usage};
use potluck_content::ContentId;
use proptest::prelude::*;

const LIMIT: u64 = 1_000_000;
const SIZES: [usize; 7] = [0, 1, 200_000, 262_145, 400_000, 700_000, 1_200_000];

#[derive(Debug, Clone)]
enum Op {
    Finish(usize),
    AddFile(usize),
    Lease(usize),
    Release(usize),
    Validate(usize, bool),
    Pin(usize, bool),
    /// Makes the one entity there is lead here.
    Link(usize),
    Remove(usize),
    DropUnclaimed,
    Rebuild,
    Reopen,
    /// Opens a copy of the files as a crash would leave them.
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let which = 0..SIZES.len();
    prop_oneof![
        4 => which.clone().prop_map(Op::Finish),
        2 => which.clone().prop_map(Op::AddFile),
        4 => which.clone().prop_map(Op::Lease),
        4 => which.clone().prop_map(Op::Release),
        1 => (which.clone(), any::<bool>()).prop_map(|(i, on)| Op::Validate(i, on)),
        1 => (which.clone(), any::<bool>()).prop_map(|(i, on)| Op::Pin(i, on)),
        1 => which.clone().prop_map(Op::Link),
        1 => which.prop_map(Op::Remove),
        1 => Just(Op::DropUnclaimed),
        1 => Just(Op::Rebuild),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Item {
    blob: usize,
    cached: bool,
    validated: bool,
    pinned: bool,
}

/// What the cache should hold, the least recently used first.
#[derive(Default)]
struct Model {
    items: Vec<Item>,
    leases: [usize; SIZES.len()],
    linked: Option<usize>,
}

impl Model {
    fn find(&mut self, blob: usize) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.blob == blob)
    }

    fn remove(&mut self, blob: usize) {
        self.items.retain(|item| item.blob != blob);
        self.linked = self.linked.filter(|linked| *linked != blob);
    }

    fn touch(&mut self, blob: usize) -> bool {
        let Some(at) = self.items.iter().position(|item| item.blob == blob) else {
            return false;
        };
        let item = self.items.remove(at);
        self.items.push(item);
        true
    }

    /// How many there are of a kind, and their bytes.
    fn count(&self, kind: impl Fn(&Item) -> bool) -> (u64, u64) {
        let items = self.items.iter().filter(|item| kind(item));
        let sizes = items.map(|item| SIZES[item.blob] as u64);
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }

    fn usage(&self) -> Usage {
        let (contents, bytes) = self.count(|item| item.cached && !item.pinned);
        let (pinned, pinned_bytes) = self.count(|item| item.pinned);
        Usage {
            bytes,
            contents,
            pinned_bytes,
            pinned,
            uncached_bytes: self.count(|item| !item.cached).1,
        }
    }

    fn make_room(&mut self, blob: usize) -> bool {
        let size = SIZES[blob] as u64;
        let mut lacking = (self.usage().bytes + size).saturating_sub(LIMIT);
        let mut victims = Vec::new();
        for item in &self.items {
            if lacking > 0 && item.cached && !item.pinned && self.leases[item.blob] == 0 {
                lacking = lacking.saturating_sub(SIZES[item.blob] as u64);
                victims.push(item.blob);
            }
        }
        if size > LIMIT || lacking > 0 {
            return false;
        }
        for victim in victims {
            self.remove(victim);
        }
        true
    }

    /// What exceeds the limit goes, as far as it may.
    fn enforce(&mut self) {
        for item in self.items.clone() {
            let may_go = item.cached && !item.pinned && self.leases[item.blob] == 0;
            if self.usage().bytes > LIMIT && may_go {
                self.remove(item.blob);
            }
        }
    }

    fn push(&mut self, blob: usize, cached: bool, validated: bool) {
        self.items.push(Item {
            blob,
            cached,
            validated,
            pinned: false,
        });
    }

    /// The last lease went.
    fn settle(&mut self, blob: usize) {
        if self.find(blob).is_some_and(|item| !item.cached) {
            if self.make_room(blob) {
                self.find(blob).unwrap().cached = true;
            } else {
                self.remove(blob);
            }
        }
    }

    fn drop_unclaimed(&mut self) {
        for blob in 0..SIZES.len() {
            if self.leases[blob] == 0 && self.find(blob).is_some_and(|item| !item.cached) {
                self.remove(blob);
            }
        }
    }
}

struct World {
    dir: Dir,
    blobs: Vec<Bytes>,
    cache: Option<Cache>,
    leases: Vec<Vec<Lease>>,
    model: Model,
}

impl World {
    fn new() -> Self {
        let dir = Dir::new(LIMIT);
        let cache = Some(dir.open());
        let sizes = SIZES.iter().enumerate();
        Self {
            blobs: sizes.map(|(seed, len)| blob(seed as u64, *len)).collect(),
            leases: vec![Vec::new(); SIZES.len()],
            model: Model::default(),
            dir,
            cache,
        }
    }

    fn cache(&self) -> &Cache {
        self.cache.as_ref().unwrap()
    }

    fn id(&self, blob: usize) -> ContentId {
        ContentId::of(&self.blobs[blob])
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Finish(i) => {
                let partial = filled(self.cache(), &self.blobs[i]);
                let lease = partial.finish(Some(self.id(i))).unwrap();
                // Room is made as the pieces come, also of what turns out to be held.
                if SIZES[i] > 0 {
                    self.model.make_room(i);
                }
                if !self.model.touch(i) {
                    let cached = self.model.make_room(i);
                    self.model.push(i, cached, false);
                }
                self.model.leases[i] += 1;
                self.leases[i].push(lease);
            }
            Op::AddFile(i) => self.add_file(i),
            Op::Lease(i) => {
                let lease = self.cache().lease(&self.id(i));
                assert_eq!(lease.is_some(), self.model.touch(i));
                if let Some(lease) = lease {
                    self.model.leases[i] += 1;
                    self.leases[i].push(lease);
                }
            }
            Op::Release(i) => {
                if let Some(lease) = self.leases[i].pop() {
                    self.model.leases[i] -= 1;
                    drop(lease);
                    if self.model.leases[i] == 0 {
                        self.model.settle(i);
                        self.model.enforce();
                    }
                }
            }
            Op::Validate(i, on) => {
                let done = self.cache().set_validated(&self.id(i), on);
                let item = self.model.find(i).map(|item| item.validated = on);
                assert_eq!(done.is_ok(), item.is_some());
            }
            Op::Pin(i, on) => {
                let done = self.cache().set_pinned(&self.id(i), on);
                let item = self.model.find(i).map(|item| {
                    item.pinned = on;
                    item.cached |= on;
                });
                assert_eq!(done.is_ok(), item.is_some());
                self.model.enforce();
            }
            Op::Link(i) => {
                let link = entity("http://o/x", &self.blobs[0]);
                let done = self.cache().link_entity(&link, &self.id(i));
                if done.is_ok() {
                    self.model.linked = Some(i);
                }
                assert_eq!(done.is_ok(), self.model.find(i).is_some());
            }
            Op::Remove(i) => {
                let removed = self.cache().remove(&self.id(i)).unwrap();
                assert_eq!(removed, self.model.find(i).is_some());
                self.model.remove(i);
                // Old leases read on, but protect nothing that comes later.
                for lease in self.leases[i].drain(..) {
                    assert_eq!(read(&lease), self.blobs[i]);
                }
                self.model.leases[i] = 0;
            }
            Op::DropUnclaimed => {
                self.cache().drop_unclaimed();
                self.model.drop_unclaimed();
            }
            Op::Rebuild => self.cache().rebuild_index().unwrap(),
            Op::Reopen => {
                self.cache().begin_shutdown();
                self.leases.iter_mut().for_each(Vec::clear);
                self.cache = None;
                self.cache = Some(self.dir.open());
                self.model.leases = [0; SIZES.len()];
            }
            Op::Crash => {
                let copy = Dir::new(LIMIT);
                copy_dir(&self.dir.path(), &copy.path());
                self.compare(&copy.open());
            }
        }
    }

    fn add_file(&mut self, i: usize) {
        let path = self.dir.temp.path().join("file");
        fs::write(&path, &self.blobs[i]).unwrap();
        let added = self.cache().add_file(&path, |_| {});
        let size = SIZES[i] as u64;
        if size > LIMIT {
            assert!(matches!(added, Err(CacheError::LargerThanCache { .. })));
        } else if !self.model.make_room(i) {
            assert!(matches!(added, Err(CacheError::NoRoom { .. })));
        } else {
            assert_eq!(added.unwrap().id, self.id(i));
            if self.model.touch(i) {
                self.model.find(i).unwrap().validated = true;
                if self.model.leases[i] == 0 {
                    self.model.settle(i);
                }
            } else {
                self.model.push(i, true, true);
            }
        }
    }

    fn compare(&self, cache: &Cache) {
        let mut expected = self.model.items.clone();
        expected.sort_by_key(|item| item.blob);
        let mut found: Vec<Item> = cache
            .list()
            .iter()
            .map(|record| Item {
                blob: (0..SIZES.len()).find(|i| self.id(*i) == record.id).unwrap(),
                cached: record.cached,
                validated: record.facts.validated,
                pinned: record.facts.pinned,
            })
            .collect();
        found.sort_by_key(|item| item.blob);
        assert_eq!(found, expected);
        assert_eq!(cache.usage(), self.model.usage());
        let key = entity("http://o/x", &self.blobs[0]).key();
        assert_eq!(
            cache.find_entity(&key),
            self.model.linked.map(|i| self.id(i))
        );
    }

    fn check(&self) {
        self.compare(self.cache());
        for (leases, blob) in self.leases.iter().zip(&self.blobs) {
            if let Some(lease) = leases.last() {
                assert_eq!(read(lease), *blob);
            }
        }
        let scratch = fs::read_dir(self.dir.path().join("scratch")).unwrap();
        assert_eq!(scratch.count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_does_what_its_model_does(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            world.check();
        }
    }
}
