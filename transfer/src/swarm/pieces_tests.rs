use std::io;
use std::time::Duration;

use potluck_cache::{Cache, Config, PartialKey, PartialSpec};
use potluck_content::{HashedPiece, MIN_PIECE_LEN};
use tempfile::TempDir;

use super::*;
use crate::swarm::Notary as _;
use crate::swarm::test_notary::TestNotary;

const ENTITY: EntityKey = EntityKey::from_bytes([7; 32]);
const SIZE: usize = 2 * MIN_PIECE_LEN as usize + 100;

struct Node {
    dir: TempDir,
    cache: Cache,
    notary: Arc<TestNotary>,
    bytes: Bytes,
    layout: Layout,
}

impl Node {
    fn new() -> Self {
        Self::with(TestNotary::new(1))
    }

    fn with(notary: TestNotary) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Config::new(dir.path().to_owned(), 1 << 30)).unwrap();
        Self {
            dir,
            cache,
            notary: Arc::new(notary),
            bytes: (0..SIZE).map(|at| (at % 251) as u8).collect(),
            layout: Layout::for_size(SIZE as u64).unwrap(),
        }
    }

    fn vouching(&self) -> Arc<Vouching> {
        Arc::new(Vouching::new(self.notary.clone()))
    }

    fn partial(&self) -> potluck_cache::Partial {
        let spec = PartialSpec {
            key: PartialKey::Entity(ENTITY),
            size: Some(SIZE as u64),
            manifest: None,
        };
        self.cache.partial(spec).unwrap()
    }

    fn hashed(&self, index: u32) -> HashedPiece {
        let span = self.layout.span(PieceIndex(index));
        let bytes = self.bytes.slice(span.start as usize..span.end as usize);
        HashedPiece::new(self.layout, PieceIndex(index), bytes).unwrap()
    }

    fn value(&self, index: u32) -> ChainingValue {
        self.hashed(index).value()
    }

    fn pieces(&self, reader: Arc<dyn Readable>) -> SwarmPieces {
        SwarmPieces::new(ENTITY, self.layout, reader, self.vouching())
    }

    /// What another node hears in a preface.
    fn heard(&self, taken: &TakenPieces, run: Range<u32>) -> Vec<SignedStatement> {
        let judge = Vouching::new(Arc::new(TestNotary::new(9)));
        judge
            .check(&taken.preface, &ENTITY, &self.layout, run)
            .unwrap()
    }

    fn assert_bytes(&self, taken: &TakenPieces) {
        let range = taken.bytes.start as usize..taken.bytes.end as usize;
        let mut buffer = vec![0; range.len()];
        let read = taken.content.read_exact_at(&mut buffer, taken.bytes.start);
        read.unwrap();
        assert!(buffer == self.bytes[range], "other bytes");
    }
}

/// Of the right size, without a byte.
struct NoBytes;

impl Readable for NoBytes {
    fn size(&self) -> u64 {
        SIZE as u64
    }

    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn said_by(notary: &TestNotary, statement: Statement) -> SignedStatement {
    let judge = Vouching::new(Arc::new(TestNotary::new(9)));
    SignedStatement {
        statement,
        signer: judge.signer(&notary.certificates()).unwrap(),
        signature: notary.sign(&statement.message()).unwrap(),
    }
}

fn statement(node: &Node, index: u32) -> Statement {
    Statement {
        entity: ENTITY,
        size: SIZE as u64,
        index: PieceIndex(index),
        value: node.value(index),
    }
}

#[test]
fn pieces_are_given_while_the_rest_comes_and_after() {
    let node = Node::new();
    let partial = node.partial();
    let pieces = node.pieces(Arc::new(partial.reader().unwrap()));
    assert!(pieces.take(0..1, &node.cache).is_none());
    for index in [2, 1] {
        let _ = partial.put_hashed(node.hashed(index)).unwrap();
        pieces.offer_own(PieceIndex(index), node.value(index));
    }
    assert_eq!(pieces.offered().count(), 2);
    assert!(pieces.take(0..2, &node.cache).is_none(), "not all of it");
    assert!(pieces.take(1..1, &node.cache).is_none());
    assert!(pieces.take(2..4, &node.cache).is_none());
    let early = pieces.take(1..3, &node.cache).unwrap();
    assert_eq!(early.bytes, MIN_PIECE_LEN..SIZE as u64);
    node.assert_bytes(&early);
    let heard = node.heard(&early, 1..3);
    assert_eq!(heard[0].statement, statement(&node, 1));
    assert_eq!(heard[1].statement, statement(&node, 2));

    let _ = partial.put_hashed(node.hashed(0)).unwrap();
    pieces.offer_own(PieceIndex(0), node.value(0));
    let content = partial.finish(None).unwrap().id();
    pieces.finish(content);
    assert_eq!(pieces.content(), Some(content));
    let late = pieces.take(0..3, &node.cache).unwrap();
    node.assert_bytes(&late);
    node.assert_bytes(&early);
    assert_eq!(node.heard(&late, 0..3).len(), 3);
    assert!(!node.cache.held(&content).unwrap().validated);
    drop(late);
    node.cache.remove(&content).unwrap();
    assert!(pieces.take(0..3, &node.cache).is_none());
    node.assert_bytes(&early);
    drop(node.dir);
}

#[test]
fn a_piece_is_signed_once_and_when_it_is_given() {
    let node = Node::new();
    let pieces = node.pieces(Arc::new(NoBytes));
    for index in 0..3 {
        pieces.offer_own(PieceIndex(index), node.value(index));
    }
    assert_eq!(node.notary.signed(), 0);
    for _ in 0..2 {
        pieces.take(0..2, &node.cache).unwrap();
        assert_eq!(node.notary.signed(), 2);
    }
    let signed = pieces.statement(PieceIndex(2)).unwrap();
    assert_eq!(signed.statement, statement(&node, 2));
    assert!(signed.verify());
    pieces.take(0..3, &node.cache).unwrap();
    assert_eq!(node.notary.signed(), 3);
}

#[test]
fn the_word_of_others_is_passed_on() {
    let node = Node::new();
    let pieces = node.pieces(Arc::new(NoBytes));
    let other = TestNotary::new(5);
    let said = said_by(&other, statement(&node, 0));
    let id = said.signer.id;
    pieces.offer(said);
    pieces.offer_own(PieceIndex(1), node.value(1));
    let heard = node.heard(&pieces.take(0..2, &node.cache).unwrap(), 0..2);
    assert_eq!(heard[0].signer.id, id);
    assert_ne!(heard[1].signer.id, id);
    assert_eq!(node.notary.signed(), 1);
    // What is said of something else is not taken.
    let mut wrong = statement(&node, 2);
    wrong.size += 1;
    pieces.offer(said_by(&other, wrong));
    wrong = statement(&node, 2);
    wrong.entity = EntityKey::from_bytes([8; 32]);
    pieces.offer(said_by(&other, wrong));
    wrong = statement(&node, 2);
    wrong.index = PieceIndex(3);
    pieces.offer(said_by(&other, wrong));
    assert_eq!(pieces.offered().count(), 2);
}

#[test]
fn what_was_wrong_is_offered_no_more() {
    let node = Node::new();
    let pieces = node.pieces(Arc::new(NoBytes));
    pieces.offer_own(PieceIndex(1), ChainingValue::from_bytes([9; 32]));
    pieces.withdraw(PieceIndex(1));
    pieces.withdraw(PieceIndex(2));
    assert!(pieces.offered().is_empty());
    assert!(pieces.take(1..2, &node.cache).is_none());
    assert!(pieces.statement(PieceIndex(1)).is_none());
    pieces.offer_own(PieceIndex(1), node.value(1));
    let heard = node.heard(&pieces.take(1..2, &node.cache).unwrap(), 1..2);
    assert_eq!(heard[0].statement, statement(&node, 1));
}

#[test]
fn what_a_manifest_proves_needs_nobodys_word() {
    let node = Node::new();
    let pieces = node.pieces(Arc::new(NoBytes));
    pieces.offer_proven(PieceIndex(0));
    pieces.offer_own(PieceIndex(1), node.value(1));
    let taken = pieces.take(0..2, &node.cache).unwrap();
    assert!(taken.preface.is_empty());
    assert!(pieces.statement(PieceIndex(0)).is_none());
    assert_eq!(node.notary.signed(), 0);
}

#[test]
fn a_word_that_does_not_hold_any_more_is_not_passed_on() {
    let soon = std::time::SystemTime::now() - Duration::from_secs(1);
    let node = Node::new();
    let pieces = node.pieces(Arc::new(NoBytes));
    let judge = Vouching::new(Arc::new(TestNotary::ending(9, soon)));
    let other = TestNotary::new(5);
    let mut said = said_by(&other, statement(&node, 0));
    said.signer = judge.signer(&other.certificates()).unwrap();
    pieces.offer(said);
    assert!(pieces.take(0..1, &node.cache).is_none());
    assert!(pieces.offered().is_empty(), "it has to be fetched anew");

    // This node's own word is given anew, as long as it is a member.
    let node = Node::with(TestNotary::ending(1, soon));
    let pieces = node.pieces(Arc::new(NoBytes));
    pieces.offer_own(PieceIndex(0), node.value(0));
    for signed in 1..=2 {
        pieces.take(0..1, &node.cache).unwrap();
        assert_eq!(node.notary.signed(), signed);
    }
    node.notary.revoke();
    assert!(pieces.take(0..1, &node.cache).is_none());
}
