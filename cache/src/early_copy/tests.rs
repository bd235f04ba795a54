use std::fs;

use potluck_content::HashedPiece;

use super::*;
use crate::{Cache, Config, Limits, Partial, PartialKey, PartialSpec, PutOutcome};

const SIZE: u64 = 5 << 20;

struct World {
    dir: tempfile::TempDir,
    cache: Cache,
    layout: Layout,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Config::new(dir.path().join("data"), 1 << 30)).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        Self {
            dir,
            cache,
            layout: Layout::for_size(SIZE).unwrap(),
        }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out/file")
    }

    fn names(&self) -> usize {
        fs::read_dir(self.dir.path().join("out")).unwrap().count()
    }

    fn partial(&self) -> Partial {
        let spec = PartialSpec {
            key: PartialKey::Private("job".to_owned()),
            size: Some(SIZE),
            manifest: None,
        };
        self.cache.partial(spec).unwrap()
    }

    /// With a copy, wherever there can be one.
    fn copying(&self) -> Partial {
        let mut partial = self.partial();
        partial.copy_early(&self.out());
        let can = Placement::begin_nameless(&self.out())
            .is_some_and(|probe| rustix::fs::ioctl_ficlone(probe.file(), &partial.file).is_err());
        assert_eq!(partial.early_copy.is_some(), can);
        partial
    }

    fn put(&self, partial: &Partial, index: PieceIndex, byte: u8) {
        let bytes = vec![byte; self.layout.len_of(index)];
        let piece = HashedPiece::new(self.layout, index, bytes.into()).unwrap();
        let put = partial.put_hashed(piece).unwrap();
        assert!(matches!(put, PutOutcome::Stored), "{put:?}");
    }

    fn put_all(&self, partial: &Partial, byte: u8) {
        for index in partial.bitfield().missing() {
            self.put(partial, index, byte);
        }
    }

    fn placed(&self, partial: Partial) -> Vec<u8> {
        let grown = inode(&partial);
        let lease = partial.finish(None).unwrap();
        lease.place(&self.out(), None).unwrap();
        if let Some(grown) = grown {
            assert_eq!(fs::metadata(self.out()).unwrap().ino(), grown);
        }
        assert_eq!(self.cache.inner.shelf().promised, 0);
        let mut cached = vec![0; usize::try_from(SIZE).unwrap()];
        lease.read_at(&mut cached, 0).unwrap();
        let placed = fs::read(self.out()).unwrap();
        assert!(placed == cached);
        assert_eq!(self.names(), 1);
        placed
    }
}

/// Of the copy.
fn inode(partial: &Partial) -> Option<u64> {
    let copy = partial.early_copy.as_ref()?;
    let copy = lock(&copy.0);
    let file = copy.as_ref()?.placement.shared();
    Some(file.metadata().unwrap().ino())
}

#[test]
fn it_has_all_that_came_and_shows_nothing_before() {
    let world = World::new();
    let partial = world.copying();
    world.put_all(&partial, 7);
    partial.sync_early_copy();
    assert_eq!(world.names(), 0);
    let placed = world.placed(partial);
    assert!(placed.iter().all(|byte| *byte == 7));
}

#[test]
fn what_was_taken_back_is_what_came_in_its_place() {
    let world = World::new();
    let partial = world.copying();
    let (first, last) = (PieceIndex(0), PieceIndex(world.layout.pieces() - 1));
    world.put_all(&partial, 7);
    partial.discard_pieces(&[first, last]).unwrap();
    world.put(&partial, first, 8);
    world.put(&partial, last, 9);
    let placed = world.placed(partial);
    assert_eq!((placed.first(), placed.last()), (Some(&8), Some(&9)));
    assert_eq!(placed[placed.len() / 2], 7);
}

#[test]
fn what_was_there_before_is_copied_in_the_end() {
    let world = World::new();
    let partial = world.partial();
    world.put(&partial, PieceIndex(1), 3);
    partial.checkpoint().unwrap();
    drop(partial);
    let partial = world.copying();
    assert_eq!(partial.bitfield().count(), 1);
    world.put_all(&partial, 4);
    let placed = world.placed(partial);
    let second = usize::try_from(world.layout.piece_len()).unwrap();
    assert_eq!((placed[0], placed[second]), (4, 3));
}

#[test]
fn elsewhere_and_a_second_time_it_is_copied_anew() {
    let world = World::new();
    let partial = world.copying();
    world.put_all(&partial, 5);
    let lease = partial.finish(None).unwrap();
    let other = world.dir.path().join("other");
    for path in [&other, &world.out(), &world.out()] {
        lease.place(path, None).unwrap();
        assert!(fs::read(path).unwrap() == vec![5; usize::try_from(SIZE).unwrap()]);
    }
}

#[test]
fn given_up_it_leaves_nothing() {
    let world = World::new();
    let partial = world.copying();
    world.put(&partial, PieceIndex(0), 1);
    drop(partial);
    assert_eq!(world.names(), 0);
    assert_eq!(Arc::strong_count(&world.cache.inner.early_copies), 1);
}

#[test]
fn a_copy_whose_disk_fails_is_given_up() {
    let world = World::new();
    let partial = world.copying();
    world.put(&partial, PieceIndex(0), 1);
    if let Some(copy) = &partial.early_copy {
        // No such piece, as good as a disk that refuses.
        let value = potluck_content::ChainingValue::from_bytes([0; 32]);
        copy.put(PieceIndex(world.layout.pieces()), value, &[]);
        assert!(lock(&copy.0).is_none());
    }
    world.put_all(&partial, 1);
    assert!(world.placed(partial).iter().all(|byte| *byte == 1));
}

#[test]
fn it_takes_no_room_that_others_need() {
    let world = World::new();
    let partial = world.copying();
    let promised = || world.cache.inner.shelf().promised;
    let own = SIZE * u64::from(inode(&partial).is_some());
    assert_eq!(promised(), SIZE + own);
    world.put(&partial, PieceIndex(0), 1);
    let piece = world.layout.piece_len();
    assert_eq!(promised(), SIZE - piece + own.saturating_sub(piece));
    // No more than is free, whatever may go.
    let limits = world.cache.limits();
    world.cache.set_limits(Limits {
        min_free: u64::MAX / 2,
        ..limits
    });
    let begun = Promised::new(&world.cache.inner, 1);
    assert!(begun.is_none());
    // Without room for both the content comes, and the copy is given up.
    let bytes = vec![2; world.layout.len_of(PieceIndex(1))];
    let piece = HashedPiece::new(world.layout, PieceIndex(1), bytes.into()).unwrap();
    assert!(partial.put_hashed(piece).is_err());
    assert_eq!(inode(&partial), None);
    world.cache.set_limits(limits);
    assert_eq!(promised(), SIZE - world.layout.piece_len());
    world.put_all(&partial, 2);
    assert_eq!(world.placed(partial)[0], 1);
}

#[test]
fn there_are_not_too_many_and_none_of_small_ones() {
    let world = World::new();
    let source = File::open(world.dir.path().join("data/lock")).unwrap();
    let begin = |layout| EarlyCopy::begin(&world.cache.inner, &world.out(), &source, layout);
    let copies: Vec<_> = (0..MOST + 3).filter_map(|_| begin(&world.layout)).collect();
    assert!(copies.is_empty() || copies.len() == MOST);
    drop(copies);
    assert!(begin(&Layout::for_size(LEAST - 1).unwrap()).is_none());
}
