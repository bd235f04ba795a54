//! What the cache promises of unfinished contents.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use common::{Dir, blob, manifest, piece, pieces, read, spec};
use potluck_cache::{
    CacheError, DiskStep, DiskWatcher, FinishError, Partial, PartialKey, PartialSpec, PutOutcome,
};
use potluck_content::{ContentId, PieceIndex};
use proptest::prelude::*;

const LEN: usize = 6 * 262_144 + 77;
const PIECES: u32 = 7;

fn flipped(bytes: &Bytes) -> Bytes {
    bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into()
}

fn held(partial: &Partial) -> BTreeSet<u32> {
    partial.bitfield().held().map(|index| index.0).collect()
}

#[test]
fn exactly_the_written_pieces_are_held_again() {
    let dir = Dir::new(10 << 20);
    let bytes = blob(1, LEN);
    let cache = dir.open();
    let partial = cache.partial(spec("job", LEN)).unwrap();
    for index in [1, 6] {
        let _ = partial
            .put_hashed(piece(&bytes, PieceIndex(index)))
            .unwrap();
    }
    assert_eq!(partial.held_bytes(), 262_144 + 77);
    partial.checkpoint().unwrap();
    let _ = partial.put_hashed(piece(&bytes, PieceIndex(2))).unwrap();
    drop((partial, cache));

    let cache = dir.open();
    let partial = cache.partial(spec("job", LEN)).unwrap();
    assert_eq!(held(&partial), BTreeSet::from([1, 2, 6]));
    let mut buffer = vec![0; 77];
    let tail = 6 * 262_144_u64;
    assert!(partial.read_at(&mut buffer, tail).unwrap());
    assert_eq!(buffer, bytes[tail as usize..]);
    assert!(!partial.read_at(&mut buffer, tail - 1).unwrap());
    drop(partial);
    // Another size is another content.
    let partial = cache.partial(spec("job", LEN + 1)).unwrap();
    assert!(partial.bitfield().is_empty());
}

#[test]
fn one_at_a_time() {
    let dir = Dir::new(1 << 20);
    let cache = dir.open();
    let partial = cache.partial(spec("job", 9)).unwrap();
    assert!(matches!(
        cache.partial(spec("job", 9)),
        Err(CacheError::Busy(_))
    ));
    cache.partial(spec("other", 9)).unwrap();
    drop(partial);
    cache.partial(spec("job", 9)).unwrap().abandon();
    // A spec that cannot be met does not keep the name.
    let mut wrong = spec("job", 9);
    wrong.manifest = Some(manifest(&blob(1, 10)));
    assert!(matches!(cache.partial(wrong), Err(CacheError::Foreign(_))));
    cache.partial(spec("job", 9)).unwrap();
}

#[test]
fn a_damaged_sidecar_or_file_means_to_begin_again() {
    let dir = Dir::new(10 << 20);
    let bytes = blob(1, LEN);
    let cache = dir.open();
    for damage in 0..3 {
        let partial = cache.partial(spec("job", LEN)).unwrap();
        assert!(partial.bitfield().is_empty(), "{damage}");
        let _ = partial.put_hashed(piece(&bytes, PieceIndex(0))).unwrap();
        partial.checkpoint().unwrap();
        drop(partial);
        let meta = dir.partial_meta();
        let mut sidecar = fs::read(&meta).unwrap();
        match damage {
            0 => sidecar[40] ^= 1,
            1 => sidecar.truncate(99),
            _ => fs::write(meta.with_extension(""), "short").unwrap(),
        }
        fs::write(meta, sidecar).unwrap();
    }
    assert!(
        cache
            .partial(spec("job", LEN))
            .unwrap()
            .bitfield()
            .is_empty()
    );
}

#[test]
fn a_manifest_is_the_judge() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let (good, bad) = (blob(1, LEN), flipped(&blob(1, LEN)));
    let proof = manifest(&good);
    let verified = |index| proof.accept(piece(&good, PieceIndex(index))).unwrap();
    let partial = cache.partial(spec("job", LEN)).unwrap();
    assert!(matches!(
        partial.put(verified(0)),
        Err(CacheError::Foreign(_))
    ));
    let _ = partial.put_hashed(piece(&good, PieceIndex(0))).unwrap();
    let _ = partial.put_hashed(piece(&bad, PieceIndex(1))).unwrap();
    let _ = partial.put_hashed(piece(&bad, PieceIndex(6))).unwrap();
    // What is held is not written over by something else.
    let outcome = partial.put_hashed(piece(&good, PieceIndex(1))).unwrap();
    assert!(matches!(outcome, PutOutcome::Mismatch(_)));
    partial.checkpoint().unwrap();

    assert_eq!(partial.set_manifest(proof.clone()).unwrap(), 262_144 + 77);
    assert_eq!(held(&partial), BTreeSet::from([0]));
    let outcome = partial.put_hashed(piece(&bad, PieceIndex(2))).unwrap();
    assert!(matches!(outcome, PutOutcome::Mismatch(piece) if piece.index() == PieceIndex(2)));
    drop(partial);
    // The dropped pieces are not claimed on disk either.
    let partial = cache.partial(spec("job", LEN)).unwrap();
    assert_eq!(held(&partial), BTreeSet::from([0]));
    drop(partial);

    let partial = cache
        .partial(PartialSpec {
            key: PartialKey::Content(proof.id()),
            size: None,
            manifest: Some(proof.clone()),
        })
        .unwrap();
    for index in 0..PIECES {
        partial.put(verified(index)).unwrap();
    }
    partial.checkpoint().unwrap();
    drop(partial);
    // Its name is enough to go on.
    let partial = cache
        .partial(PartialSpec {
            key: PartialKey::Content(proof.id()),
            size: None,
            manifest: None,
        })
        .unwrap();
    assert_eq!(partial.manifest(), Some(proof.clone()));
    assert_eq!(read(&partial.finish(Some(proof.id())).unwrap()), good);
}

#[test]
fn bytes_of_unknown_number_come_in_order() {
    let dir = Dir::new(10 << 20);
    let cache = dir.open();
    let unknown = || PartialSpec {
        size: None,
        ..spec("job", 0)
    };
    for len in [0, 1, 262_144, LEN] {
        let bytes = blob(1, len);
        let partial = cache.partial(unknown()).unwrap();
        assert_eq!(partial.layout(), None);
        let refused = partial.put_hashed(piece(&blob(1, 9), PieceIndex(0)));
        assert!(matches!(refused, Err(CacheError::NotNow(_))));
        for part in bytes.chunks(100_000) {
            partial.append(part).unwrap();
        }
        assert_eq!(partial.held_bytes(), len as u64);
        partial.checkpoint().unwrap();
        let wrong = partial.finish(Some(ContentId::of(b"other"))).unwrap_err();
        let partial = wrong.into_partial();
        assert!(partial.bitfield().is_full());
        let lease = partial.finish(Some(ContentId::of(&bytes))).unwrap();
        assert_eq!(read(&lease), bytes);
    }
    // A manifest that comes on the way makes it a content of pieces.
    let bytes = blob(2, LEN);
    let partial = cache.partial(unknown()).unwrap();
    partial.append(&bytes[..5000]).unwrap();
    assert_eq!(partial.set_manifest(manifest(&bytes)).unwrap(), 5000);
    for piece in pieces(&bytes) {
        let _ = partial.put_hashed(piece).unwrap();
    }
    assert_eq!(read(&partial.finish(None).unwrap()), bytes);
}

#[test]
fn many_threads_put_and_checkpoint_at_once() {
    let dir = Dir::new(100 << 20);
    let cache = dir.open();
    let good = blob(1, 8 << 20);
    let bad = flipped(&good);
    let partial = Arc::new(cache.partial(spec("job", good.len())).unwrap());
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let partial = Arc::clone(&partial);
            let bytes = if n % 3 == 2 {
                bad.clone()
            } else {
                good.clone()
            };
            thread::spawn(move || {
                for piece in pieces(&bytes) {
                    let _ = partial.put_hashed(piece).unwrap();
                }
                partial.checkpoint().unwrap();
            })
        })
        .collect();
    let judged = partial.set_manifest(manifest(&good));
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    judged.unwrap();
    for piece in pieces(&good) {
        let _ = partial.put_hashed(piece).unwrap();
    }
    let partial = Arc::into_inner(partial).unwrap();
    let lease = partial.finish(Some(ContentId::of(&good))).unwrap();
    assert!(cache.verify(&lease.id(), |_| {}).unwrap());
}

#[derive(Debug, Clone)]
enum Op {
    Put(u32),
    PutWrong(u32),
    Discard(u32),
    Checkpoint,
    Resume,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..PIECES).prop_map(Op::Put),
        2 => (0..PIECES).prop_map(Op::PutWrong),
        2 => (0..PIECES).prop_map(Op::Discard),
        2 => Just(Op::Checkpoint),
        2 => Just(Op::Resume),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_piece_is_held_that_was_not_put_and_kept(ops in prop::collection::vec(op(), 1..30)) {
        let dir = Dir::new(10 << 20);
        let (good, bad) = (blob(1, LEN), flipped(&blob(1, LEN)));
        let mut cache = dir.open();
        let mut partial = cache.partial(spec("job", LEN)).unwrap();
        // Of each piece whether it is held, and if so whether it is the right one.
        let mut now = [None; PIECES as usize];
        for op in ops {
            match op {
                Op::Put(i) | Op::PutWrong(i) => {
                    let right = matches!(op, Op::Put(_));
                    let bytes = if right { &good } else { &bad };
                    let outcome = partial.put_hashed(piece(bytes, PieceIndex(i))).unwrap();
                    let before = now[i as usize];
                    prop_assert_eq!(matches!(outcome, PutOutcome::Stored), before.is_none());
                    let differs = before.is_some_and(|before| before != right);
                    prop_assert_eq!(matches!(outcome, PutOutcome::Mismatch(_)), differs);
                    now[i as usize] = before.or(Some(right));
                }
                Op::Discard(i) => {
                    partial.discard_pieces(&[PieceIndex(i), PieceIndex(99)]).unwrap();
                    now[i as usize] = None;
                }
                Op::Checkpoint => partial.checkpoint().unwrap(),
                Op::Resume | Op::Reopen => {
                    drop(partial);
                    if matches!(op, Op::Reopen) {
                        drop(cache);
                        cache = dir.open();
                    }
                    partial = cache.partial(spec("job", LEN)).unwrap();
                }
            }
            let expected = (0..PIECES).filter(|i| now[*i as usize].is_some()).collect();
            prop_assert_eq!(held(&partial), expected);
            for i in 0..PIECES {
                let Some(right) = now[i as usize] else { continue };
                let expected = piece(if right { &good } else { &bad }, PieceIndex(i));
                let mut found = vec![0; expected.bytes().len()];
                prop_assert!(partial.read_at(&mut found, u64::from(i) * 262_144).unwrap());
                prop_assert!(found == *expected.bytes());
            }
        }
        partial.set_manifest(manifest(&good)).unwrap();
        for piece in pieces(&good) {
            let _ = partial.put_hashed(piece).unwrap();
        }
        let lease = partial.finish(Some(ContentId::of(&good))).unwrap();
        prop_assert!(read(&lease) == good);
    }
}

/// Fails to sync as long as it is told to.
#[derive(Default)]
struct Unsure(AtomicBool);

impl DiskWatcher for Unsure {
    fn before(&self, step: &DiskStep<'_>) -> io::Result<()> {
        match step {
            DiskStep::SyncFile { .. } if self.0.load(Ordering::SeqCst) => {
                Err(io::Error::from_raw_os_error(5))
            }
            _ => Ok(()),
        }
    }

    fn after(&self, _: &DiskStep<'_>) {}
}

/// The system tells only once that it could not write, and then knows of nothing.
#[test]
fn what_a_failed_sync_leaves_unsure_is_written_again() {
    let dir = Dir::new(100 << 20);
    let disk = Arc::new(Unsure::default());
    let cache = dir.open_watched(&disk);
    let bytes = blob(1, 1_000_000);
    let pieces = pieces(&bytes);
    let partial = cache.partial(spec("a", bytes.len())).unwrap();
    let _ = partial.put_hashed(pieces[0].clone()).unwrap();
    partial.checkpoint().unwrap();
    for piece in &pieces[1..] {
        let _ = partial.put_hashed(piece.clone()).unwrap();
    }
    disk.0.store(true, Ordering::SeqCst);
    let error = partial.finish(None).unwrap_err();
    disk.0.store(false, Ordering::SeqCst);
    let FinishError::Cache { partial, .. } = error else {
        panic!("{error}");
    };
    // Only what an earlier sync wrote is there for sure.
    assert_eq!(partial.held_bytes(), pieces[0].bytes().len() as u64);
    drop(partial);
    let partial = cache.partial(spec("a", bytes.len())).unwrap();
    assert_eq!(partial.held_bytes(), pieces[0].bytes().len() as u64);
    for piece in &pieces[1..] {
        let _ = partial.put_hashed(piece.clone()).unwrap();
    }
    let lease = partial.finish(Some(ContentId::of(&bytes))).unwrap();
    assert_eq!(read(&lease), *bytes);
}
