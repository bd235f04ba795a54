//! What vouches for pieces, with the certificates of a real domain.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use potluck_cache::{Cache, Config, Partial, PartialKey, PartialSpec, PutOutcome};
use potluck_content::{EntityKey, HashedPiece, Layout, MIN_PIECE_LEN, PieceIndex};
use potluck_discovery::{
    DomainOptions, Membership, RejectReason, Revocation, Revocations, SigningRequest, Standing,
    accept_answer, create_domain, make_request, sign_request,
};
use potluck_plan::{GovernorConfig, Rate};
use potluck_transfer::{
    CacheHoldings, DomainTrust, PeerAddress, PeerClient, PeerError, PeerServer, PeerServerConfig,
    PrefaceError, Rates, SignedStatement, SwarmPieces, SwarmShelf, SwarmShelfLimits, TrafficCounts,
    Vouching,
};
use support::blob;
use support::serving::read;
use tempfile::TempDir;
use tokio::net::TcpListener;

const ENTITY: EntityKey = EntityKey::from_bytes([7; 32]);
const SIZE: u64 = 2 * MIN_PIECE_LEN + 1000;

/// A member that downloads the entity.
struct Node {
    _dir: TempDir,
    standing: Standing,
    vouching: Arc<Vouching>,
    cache: Cache,
    partial: Option<Partial>,
    shelf: SwarmShelf,
    pieces: Arc<SwarmPieces>,
    client: PeerClient,
    _server: PeerServer,
    at: PeerAddress,
}

fn domain(dir: &Path) -> Membership {
    create_domain(dir, &DomainOptions::new("site".parse().unwrap())).unwrap()
}

/// Makes another node a member of the domain whose authority lives there.
fn joined(authority: &Path, dir: &Path) -> Membership {
    let request = make_request(dir, &"node".parse().unwrap()).unwrap();
    let request = SigningRequest::parse(&request).unwrap();
    accept_answer(dir, &sign_request(authority, &request).unwrap()).unwrap()
}

fn layout() -> Layout {
    Layout::for_size(SIZE).unwrap()
}

fn content() -> Bytes {
    blob(SIZE as usize, 1).into()
}

fn hashed(index: u32, bytes: Bytes) -> HashedPiece {
    HashedPiece::new(layout(), PieceIndex(index), bytes).unwrap()
}

fn piece(index: u32) -> HashedPiece {
    let span = layout().span(PieceIndex(index));
    hashed(
        index,
        content().slice(span.start as usize..span.end as usize),
    )
}

impl Node {
    async fn new(dir: TempDir, membership: &Membership) -> Self {
        let revocations = Revocations::open(dir.path(), membership).unwrap();
        let standing = Standing::new(membership, revocations).unwrap();
        let trust = Arc::new(DomainTrust::noting(standing.clone(), |_| {}));
        let cache = Cache::open(Config::new(dir.path().join("cache"), 1 << 30)).unwrap();
        let shelf = SwarmShelf::new(cache.clone(), SwarmShelfLimits::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rates = Rates::new(GovernorConfig {
            served: Rate::Unlimited,
            ..GovernorConfig::default()
        });
        let server = PeerServer::start(
            PeerServerConfig::default(),
            listener,
            trust.clone(),
            Arc::new(CacheHoldings::new(cache.clone()).with_swarms(shelf.clone())),
            rates,
            TrafficCounts::default(),
        )
        .unwrap();
        let spec = PartialSpec {
            key: PartialKey::Entity(ENTITY),
            size: Some(SIZE),
            manifest: None,
        };
        let partial = cache.partial(spec).unwrap();
        let vouching = Arc::new(Vouching::new(Arc::new(standing.clone())));
        let reader = Arc::new(partial.reader().unwrap());
        let pieces = SwarmPieces::new(ENTITY, layout(), reader, Arc::clone(&vouching));
        let pieces = Arc::new(pieces);
        shelf.put(Arc::clone(&pieces));
        Self {
            at: PeerAddress {
                id: membership.peer_id(),
                address: server.address(),
            },
            standing,
            vouching,
            cache,
            partial: Some(partial),
            shelf,
            pieces,
            client: PeerClient::new(trust, TrafficCounts::default()),
            _server: server,
            _dir: dir,
        }
    }

    fn put(&self, piece: HashedPiece) {
        let put = self.partial.as_ref().unwrap().put_hashed(piece);
        assert!(matches!(put, Ok(PutOutcome::Stored)));
    }

    /// As if the origin had sent it.
    fn fetch(&self, piece: HashedPiece) {
        let (index, value) = (piece.index(), piece.value());
        self.put(piece);
        self.pieces.offer_own(index, value);
    }

    /// Takes one piece from another node and gives it on from now on.
    async fn take(&self, from: &Self, index: u32) -> Result<SignedStatement, PeerError> {
        let len = layout().len_of(PieceIndex(index));
        let run = index..index + 1;
        let asking = self
            .client
            .get_pieces(from.at, &ENTITY, run.clone(), len as u64);
        let (preface, body) = asking.await?;
        let heard = self
            .vouching
            .check(&preface, &ENTITY, &layout(), run)
            .unwrap();
        let piece = hashed(index, read(body).await?.into());
        let said = heard.into_iter().next().unwrap();
        assert!(said.statement.fits(&piece));
        self.put(piece);
        self.pieces.offer(said.clone());
        Ok(said)
    }

    /// Ends the download.
    fn finish(&mut self) {
        let lease = self.partial.take().unwrap().finish(None).unwrap();
        self.shelf.finish(&self.pieces, lease.id());
    }
}

/// So many members of one domain; the authority lives at the first.
async fn members<const N: usize>() -> [Node; N] {
    let dirs: Vec<_> = (0..N).map(|_| tempfile::tempdir().unwrap()).collect();
    let authority = dirs[0].path().to_owned();
    let mut nodes = Vec::new();
    for (number, dir) in dirs.into_iter().enumerate() {
        let membership = match number {
            0 => domain(&authority),
            _ => joined(&authority, dir.path()),
        };
        nodes.push(Node::new(dir, &membership).await);
    }
    nodes.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test]
async fn a_word_travels_with_its_piece() {
    let [mut first, second, third] = members().await;
    let not_yet = second.take(&first, 0).await;
    assert_eq!(not_yet.err(), Some(PeerError::NotHeld));
    first.fetch(piece(0));
    first.fetch(piece(1));
    for index in 0..2 {
        let said = second.take(&first, index).await.unwrap();
        assert_eq!(said.signer.id, first.at.id);
    }
    // The third knows the first by its word only.
    let said = third.take(&second, 1).await.unwrap();
    assert_eq!(said.signer.id, first.at.id);
    assert!(said.verify());
    let mut forged = said.clone();
    forged.statement.index = PieceIndex(0);
    assert!(!forged.verify());
    // What is whole is given still, also before anybody has validated it.
    first.fetch(piece(2));
    first.finish();
    assert!(first.partial.is_none());
    let said = third.take(&first, 2).await.unwrap();
    assert_eq!(said.signer.id, first.at.id);
    // And no more when the cache let it go.
    first
        .cache
        .remove(&first.pieces.content().unwrap())
        .unwrap();
    assert_eq!(third.take(&first, 0).await.err(), Some(PeerError::NotHeld));
}

#[tokio::test]
async fn the_word_of_others_than_members_is_worth_nothing() {
    let [member] = members().await;
    let [stranger] = members().await;
    stranger.fetch(piece(0));
    let taken = stranger.shelf.take_pieces(&ENTITY, 0..1).unwrap();
    let check = |judge: &Node| {
        judge
            .vouching
            .check(&taken.preface, &ENTITY, &layout(), 0..1)
    };
    assert_eq!(check(&stranger).unwrap().len(), 1);
    // The domains have the same name, and that is all.
    let refused = check(&member).unwrap_err();
    assert!(matches!(refused, PrefaceError::Signer(_)), "{refused:?}");
    assert!(refused.is_fault());
}

#[tokio::test]
async fn the_word_of_the_revoked_is_not_passed_on() {
    let [first, second] = members().await;
    second.fetch(piece(0));
    let said = first.take(&second, 0).await.unwrap();
    assert!(first.shelf.take_pieces(&ENTITY, 0..1).is_some());
    let lost = Revocation::new("node".parse().unwrap(), "stolen", SystemTime::now());
    let list = first.standing.revocations();
    list.revoke_here(second.at.id, lost).unwrap();
    assert!(!said.signer.holds(SystemTime::now()));
    assert!(first.shelf.take_pieces(&ENTITY, 0..1).is_none());
    assert!(first.pieces.offered().is_empty());
    // Who has not heard of it yet gives its word still.
    let taken = second.shelf.take_pieces(&ENTITY, 0..1).unwrap();
    let heard = first
        .vouching
        .check(&taken.preface, &ENTITY, &layout(), 0..1);
    let revoked = PrefaceError::Signer(RejectReason::Revoked);
    assert!(!revoked.is_fault());
    assert_eq!(heard.err(), Some(revoked));
}
