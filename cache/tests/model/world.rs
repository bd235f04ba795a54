//! A cache and its model, to which the same is done.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use potluck_cache::{Cache, CacheError, ContentRecord, FinishError, Lease, Partial, PutOutcome};
use potluck_content::{Bitfield, ContentId, Layout, PieceIndex};

use crate::Op;
use crate::common::{Dir, blob, copy_dir, entity, filled, piece, read, spec};
use crate::recorder::Recorder;
use crate::reference::{Item, LIMIT, Model, ONE_PIECE, PARTIALS, SIZES, Unfinished};

pub(crate) struct World {
    pub(crate) dir: Dir,
    pub(crate) blobs: Vec<Bytes>,
    cache: Option<Cache>,
    partials: [Option<Partial>; PARTIALS.len()],
    leases: Vec<Vec<Lease>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) model: Model,
}

impl World {
    /// One step in `rarity` is one at which a crash is tried.
    pub(crate) fn new(seed: u64, rarity: usize) -> Self {
        let dir = Dir::in_memory(LIMIT);
        let recorder = Recorder::new(&dir.path(), seed, rarity);
        let cache = Some(dir.open_watched(&recorder));
        let sizes = SIZES.iter().enumerate();
        Self {
            blobs: sizes.map(|(seed, len)| blob(seed as u64, *len)).collect(),
            leases: vec![Vec::new(); SIZES.len()],
            model: Model::default(),
            dir,
            cache,
            partials: [None, None],
            recorder,
        }
    }

    fn cache(&self) -> &Cache {
        self.cache.as_ref().unwrap()
    }

    pub(crate) fn id(&self, blob: usize) -> ContentId {
        ContentId::of(&self.blobs[blob])
    }

    pub(crate) fn run(&mut self, op: &Op) {
        match *op {
            Op::Finish(i) => {
                let partial = filled(self.cache(), &self.blobs[i]);
                let lease = partial.finish(Some(self.id(i))).unwrap();
                // Room is made as the pieces come, also of what turns out to be held.
                if SIZES[i] > 0 {
                    self.model.make_room(i);
                }
                self.finished(i, lease);
            }
            Op::Put(k, n) => self.put(k, n),
            Op::Discard(k, n) => self.discard(k, n),
            Op::Checkpoint(k) => {
                if let Some(partial) = &self.partials[k] {
                    partial.checkpoint().unwrap();
                    self.model.unfinished[k].checkpointed = self.model.unfinished[k].held;
                }
            }
            Op::Close(k) => self.close(k),
            Op::Abandon(k) => {
                if let Some(partial) = self.partials[k].take() {
                    partial.abandon();
                    self.model.unfinished[k] = Unfinished::default();
                }
            }
            Op::Complete(k) => self.complete(k),
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
                let item = self.model.find(i);
                let before = item.map(|item| std::mem::replace(&mut item.validated, on));
                assert_eq!(done.is_ok(), before.is_some());
                if before.is_some_and(|before| before != on) {
                    self.model.is_durable(i);
                }
            }
            Op::Vouch(i) => {
                let link = entity("http://o/x", &self.blobs[0]);
                let done = self.cache().vouch(&self.id(i), Some(&link));
                let pinned = self.model.find(i).map(|item| {
                    item.validated = true;
                    item.pinned
                });
                assert_eq!(done.is_ok(), pinned.is_some());
                if let Some(pinned) = pinned {
                    self.model.linked = Some(i);
                    self.model.vague[i] |= SIZES[i] <= ONE_PIECE && !pinned;
                }
            }
            Op::Sync => {
                self.cache().sync_contents().unwrap();
                self.model.all_is_durable();
            }
            Op::Flush => {
                self.cache().flush();
                self.model.all_is_durable();
            }
            Op::Pin(i, on) => {
                let done = self.cache().set_pinned(&self.id(i), on);
                let before = self.model.find(i).map(|item| {
                    item.cached |= on;
                    std::mem::replace(&mut item.pinned, on)
                });
                assert_eq!(done.is_ok(), before.is_some());
                if before.is_some_and(|before| before != on) {
                    self.model.is_durable(i);
                }
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
                self.model.gone[i] |= removed;
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
                (0..PARTIALS.len()).for_each(|k| self.close(k));
                self.cache = None;
                self.cache = Some(self.dir.open_watched(&self.recorder));
                self.model.leases = [0; SIZES.len()];
                self.model.all_is_durable();
            }
            Op::Crash => {
                let copy = Dir::in_memory(LIMIT);
                copy_dir(&self.dir.path(), &copy.path());
                self.compare(&copy.open());
            }
        }
    }

    fn finished(&mut self, i: usize, lease: Lease) {
        if !self.model.touch(i) {
            let cached = self.model.make_room(i);
            self.model.push_unsynced(i, cached);
        }
        self.model.leases[i] += 1;
        self.leases[i].push(lease);
    }

    /// The pieces of an unfinished content, as it is begun or resumed.
    fn put(&mut self, k: usize, n: u32) {
        let bytes = &self.blobs[PARTIALS[k]];
        let partial = match self.partials[k].take() {
            Some(partial) => partial,
            None => {
                let partial = resume(self.cache(), k, bytes);
                let known = self.model.unfinished[k].written;
                assert_eq!(bits(&partial.bitfield()), known);
                self.model.unfinished[k].held = known;
                partial
            }
        };
        let index = nth_piece(bytes, n);
        let put = partial.put_hashed(piece(bytes, index)).unwrap();
        assert!(matches!(put, PutOutcome::Stored | PutOutcome::AlreadyHeld));
        self.model.unfinished[k].held |= 1 << index.0;
        self.model.unfinished[k].written |= 1 << index.0;
        self.partials[k] = Some(partial);
    }

    fn discard(&mut self, k: usize, n: u32) {
        if let Some(partial) = &self.partials[k] {
            let index = nth_piece(&self.blobs[PARTIALS[k]], n);
            partial.discard_pieces(&[index]).unwrap();
            self.model.unfinished[k].held &= !(1 << index.0);
            self.model.unfinished[k].written &= !(1 << index.0);
            self.model.unfinished[k].checkpointed &= !(1 << index.0);
        }
    }

    fn close(&mut self, k: usize) {
        self.partials[k] = None;
        self.model.unfinished[k].held = 0;
    }

    fn complete(&mut self, k: usize) {
        let Some(partial) = self.partials[k].take() else {
            return;
        };
        let i = PARTIALS[k];
        let full = partial.bitfield().is_full();
        match partial.finish(Some(self.id(i))) {
            Ok(lease) => {
                assert!(full);
                self.finished(i, lease);
                self.model.unfinished[k] = Unfinished::default();
            }
            Err(FinishError::Incomplete { partial, .. }) => {
                assert!(!full);
                self.partials[k] = Some(*partial);
            }
            Err(error) => panic!("{error}"),
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
                self.model.is_durable(i);
                if self.model.leases[i] == 0 {
                    self.model.settle(i);
                }
            } else {
                self.model.push(i, true, true);
            }
        }
    }

    /// The model of what is there now, whatever the model says. Bytes on their way make
    /// contents go that no simple model foresees.
    pub(crate) fn observe(&self) -> Model {
        let mut records = self.cache().list();
        records.sort_by_key(|record| record.accessed);
        let mut model = self.model.clone();
        model.items = records.iter().map(|record| self.item(record)).collect();
        for record in &records {
            model.lives[self.item(record).blob] = Some(record.added);
        }
        let key = entity("http://o/x", &self.blobs[0]).key();
        let linked = self.cache().find_entity(&key);
        model.linked = linked.map(|id| self.number(&id));
        model
    }

    pub(crate) fn item(&self, record: &ContentRecord) -> Item {
        Item {
            blob: self.number(&record.id),
            cached: record.cached,
            validated: record.facts.validated,
            pinned: record.facts.pinned,
        }
    }

    pub(crate) fn number(&self, id: &ContentId) -> usize {
        (0..SIZES.len()).find(|i| self.id(*i) == *id).unwrap()
    }

    fn compare(&self, cache: &Cache) {
        let mut expected = self.model.items.clone();
        expected.sort_by_key(|item| item.blob);
        let mut found: Vec<Item> = cache
            .list()
            .iter()
            .map(|record| self.item(record))
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

    pub(crate) fn check(&self) {
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

/// Begins an unfinished content, or goes on with it.
pub(crate) fn resume(cache: &Cache, k: usize, bytes: &Bytes) -> Partial {
    cache
        .partial(spec(&format!("unfinished {k}"), bytes.len()))
        .unwrap()
}

/// The pieces of a bitfield that are there.
pub(crate) fn bits(pieces: &Bitfield) -> u8 {
    pieces.held().fold(0, |bits, index| bits | 1 << index.0)
}

fn nth_piece(bytes: &Bytes, n: u32) -> PieceIndex {
    let layout = Layout::for_size(bytes.len() as u64).unwrap();
    PieceIndex(n % layout.pieces())
}
