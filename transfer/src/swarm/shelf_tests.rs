use std::io;

use potluck_cache::Config;
use potluck_content::{Layout, MIN_PIECE_LEN, PieceIndex};
use tempfile::TempDir;

use super::*;
use crate::shelf::Readable;
use crate::swarm::Vouching;
use crate::swarm::test_notary::TestNotary;

/// A shelf for three finished entities of five pieces together.
fn shelf() -> (SwarmShelf, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(Config::new(dir.path().to_owned(), 1 << 30)).unwrap();
    let limits = SwarmShelfLimits {
        finished: 3,
        finished_pieces: 5,
    };
    (SwarmShelf::new(cache, limits), dir)
}

struct NoBytes(u64);

impl Readable for NoBytes {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn key(number: u8) -> EntityKey {
    EntityKey::from_bytes([number; 32])
}

fn pieces(number: u8, count: u64) -> Arc<SwarmPieces> {
    let size = count * MIN_PIECE_LEN;
    let layout = Layout::for_size(size).unwrap();
    let vouching = Vouching::new(Arc::new(TestNotary::new(1)));
    let reader = Arc::new(NoBytes(size));
    let pieces = SwarmPieces::new(key(number), layout, reader, Arc::new(vouching));
    layout
        .indices()
        .for_each(|index| pieces.offer_proven(index));
    Arc::new(pieces)
}

fn held(shelf: &SwarmShelf) -> Vec<u8> {
    let mut held: Vec<_> = shelf
        .all()
        .iter()
        .map(|it| it.entity().as_bytes()[0])
        .collect();
    held.sort_unstable();
    held
}

#[test]
fn the_oldest_that_are_whole_go_first() {
    let (shelf, _dir) = shelf();
    let all: Vec<_> = (0..6).map(|number| pieces(number, 1)).collect();
    all.iter().for_each(|it| shelf.put(Arc::clone(it)));
    let content = ContentId::of(b"x");
    for number in [2, 0, 3, 0] {
        shelf.finish(&all[number], content);
    }
    assert_eq!(held(&shelf), [0, 1, 2, 3, 4, 5]);
    shelf.finish(&all[4], content);
    assert_eq!(held(&shelf), [0, 1, 3, 4, 5]);
    shelf.finish(&all[5], content);
    assert_eq!(held(&shelf), [1, 3, 4, 5], "1 is not whole yet");
    assert_eq!(all[2].content(), Some(content));

    // Large ones count for more.
    let large = pieces(7, 4);
    shelf.put(Arc::clone(&large));
    shelf.finish(&large, content);
    assert_eq!(held(&shelf), [1, 5, 7]);
    let larger = pieces(8, 6);
    shelf.put(Arc::clone(&larger));
    assert!(shelf.take_pieces(&key(8), 0..6).is_some());
    shelf.finish(&larger, content);
    assert_eq!(
        held(&shelf),
        [1],
        "too large to be remembered when it is whole"
    );
}

#[test]
fn only_what_was_meant_is_taken_away() {
    let (shelf, _dir) = shelf();
    let (first, second) = (pieces(1, 2), pieces(1, 2));
    shelf.put(Arc::clone(&first));
    shelf.finish(&first, ContentId::of(b"x"));
    shelf.put(Arc::clone(&second));
    shelf.remove(&first);
    assert!(Arc::ptr_eq(&shelf.get(&key(1)).unwrap(), &second));
    assert_eq!(shelf.lock().finished_pieces, 0);
    assert!(shelf.take_pieces(&key(1), 0..2).is_some());
    shelf.remove(&second);
    assert!(shelf.take_pieces(&key(1), 0..2).is_none());
    // What ends after it was taken away does not come back.
    shelf.finish(&second, ContentId::of(b"x"));
    assert!(held(&shelf).is_empty() && shelf.lock().finished.is_empty());
    shelf.put(pieces(3, 1));
    shelf.clear();
    assert!(held(&shelf).is_empty());
}

#[test]
fn what_the_cache_gave_up_goes() {
    let (shelf, _dir) = shelf();
    let pieces = pieces(1, 2);
    shelf.put(Arc::clone(&pieces));
    pieces.withdraw(PieceIndex(0));
    assert!(shelf.take_pieces(&key(1), 0..2).is_none());
    assert!(shelf.get(&key(1)).is_some(), "there is more of it");
    shelf.finish(&pieces, ContentId::of(b"not held"));
    assert!(shelf.take_pieces(&key(1), 1..2).is_none());
    assert!(shelf.get(&key(1)).is_none());
}
