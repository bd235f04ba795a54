//! What can be read of unfinished contents, and for how long.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use bytes::Bytes;
use common::{Dir, blob, piece, pieces, spec};
use potluck_cache::{FinishError, PartialReader};
use potluck_content::PieceIndex;

fn all(reader: &PartialReader) -> Bytes {
    let mut bytes = vec![0; usize::try_from(reader.size()).unwrap()];
    reader.read_exact_at(&mut bytes, 0).unwrap();
    bytes.into()
}

/// Reads from before the first byte until after the content is gone again.
fn read_all_along(bytes: &Bytes) {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let partial = cache.partial(spec("job", bytes.len())).unwrap();
    let reader = partial.reader().unwrap();
    assert_eq!(reader.size(), bytes.len() as u64);
    for piece in pieces(bytes) {
        let _ = partial.put_hashed(piece).unwrap();
    }
    assert_eq!(all(&reader), *bytes);
    let lease = partial.finish(None).unwrap();
    assert_eq!(all(&reader), *bytes, "finished");
    assert!(cache.remove(&lease.id()).unwrap());
    drop(lease);
    assert_eq!(all(&reader), *bytes, "removed");
    assert!(reader.read_exact_at(&mut [0], bytes.len() as u64).is_err());
}

#[test]
fn a_reader_outlives_the_content() {
    read_all_along(&blob(1, 3 * 262_144 + 77));
}

#[test]
fn a_content_of_one_piece_is_read_alike() {
    read_all_along(&blob(2, 1000));
}

#[test]
fn bytes_that_the_cache_had_already_are_still_read() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let bytes = blob(3, 262_144 + 5);
    let finish = |name| {
        let partial = cache.partial(spec(name, bytes.len())).unwrap();
        let reader = partial.reader().unwrap();
        for piece in pieces(&bytes) {
            let _ = partial.put_hashed(piece).unwrap();
        }
        (reader, partial.finish(None).unwrap())
    };
    let (_, _lease) = finish("first");
    let (second, _) = finish("second");
    assert_eq!(all(&second), bytes);
}

#[test]
fn what_is_given_up_is_still_read() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let bytes = blob(4, 262_144 + 5);
    let partial = cache.partial(spec("job", bytes.len())).unwrap();
    let reader = partial.reader().unwrap();
    let _ = partial.put_hashed(piece(&bytes, PieceIndex(1))).unwrap();
    let Err(FinishError::Incomplete { partial, .. }) = partial.finish(None) else {
        panic!("a piece is missing");
    };
    partial.abandon();
    let mut tail = [0; 5];
    reader.read_exact_at(&mut tail, 262_144).unwrap();
    assert_eq!(tail, bytes[262_144..]);
}
