//! Pieces on their way to the disk.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use potluck_cache::{CacheError, Partial, PutOutcome};
use potluck_content::{
    ChainingValue, ContentId, HashedPiece, Layout, MIN_PIECE_LEN, Manifest, PieceIndex,
};
use potluck_plan::{JobKey, Priority, RequestId, Source};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::buffers::{Buffer, BufferPool};
use crate::origin::OriginError;
use crate::peer_client::PeerError;
use crate::rates::{Rates, now};
use crate::swarm::SignedStatement;

/// How long bytes that came may go untold.
const TELL_AFTER: Duration = Duration::from_millis(200);
/// Pieces hashed and written at once. One core keeps up with a fast network and the disk
/// takes one piece at a time; the other hand hashes meanwhile.
const HANDS: usize = 2;
/// Memory for pieces between socket and disk, in units of the smallest piece: 16 MiB.
const UNITS: u32 = 64;

/// What the requests of one file share.
pub(crate) struct PieceStore {
    pub(crate) layout: Layout,
    pub(crate) partial: Partial,
    /// Against what pieces are checked; none when nobody gave one that holds.
    manifest: Mutex<Option<Manifest>>,
    /// Everything that came, kept or not.
    received: AtomicU64,
    units: Arc<Semaphore>,
    hands: Arc<Semaphore>,
    pub(crate) buffers: BufferPool,
    pub(crate) rates: Rates,
    pub(crate) job: JobKey,
    pub(crate) priority: Priority,
}

/// What a request tells the plan's owner.
#[derive(Debug)]
pub(crate) enum Event {
    /// A piece is on disk.
    Stored(Box<StoredPiece>),
    /// The bytes of a piece are not what the manifest, or the piece on disk, says.
    Wrong {
        index: PieceIndex,
        /// The content of the manifest.
        by: Option<ContentId>,
    },
    /// The bytes of a piece are what a member signed, and not what the manifest says: who is
    /// wrong is not known yet.
    Disputed(PieceIndex),
    /// A member gave a piece as it was signed; the piece on disk is another.
    Contradicted(Box<SignedStatement>),
    /// The disk failed.
    DiskFailed(CacheError),
    /// Bytes came.
    Progress(u64),
    /// The request waits for its turn at a peer that gives to other files of this node.
    HeldBack,
    /// A request to a peer ended.
    PeerEnded(Result<(), PeerError>),
    /// A request to the origin ended.
    OriginEnded(Result<(), OriginError>),
}

/// A piece that is on disk.
#[derive(Debug)]
pub(crate) struct StoredPiece {
    pub(crate) index: PieceIndex,
    pub(crate) value: ChainingValue,
    /// What a member signed of it.
    pub(crate) statement: Option<SignedStatement>,
}

pub(crate) type Events = mpsc::Sender<(RequestId, Event)>;

/// Puts the bytes of one request together to pieces. What is being written when it is
/// dropped is told of still: nothing lies on the disk that the plan does not know.
pub(crate) struct Assembler {
    store: Arc<PieceStore>,
    request: RequestId,
    events: Events,
    run: Range<u32>,
    piece: Option<(Buffer, usize)>,
    /// Bytes that came and were not yet told of.
    untold: u64,
    told_at: Instant,
    puts: JoinSet<()>,
    /// What vouches for the pieces that are to come, in their order.
    statements: VecDeque<SignedStatement>,
}

impl PieceStore {
    pub(crate) fn new(
        layout: Layout,
        partial: Partial,
        manifest: Option<Manifest>,
        (rates, job, priority): (Rates, JobKey, Priority),
    ) -> Self {
        Self {
            layout,
            partial,
            manifest: Mutex::new(manifest),
            received: AtomicU64::new(0),
            units: Arc::new(Semaphore::new(UNITS as usize)),
            hands: Arc::new(Semaphore::new(HANDS)),
            buffers: BufferPool::new(UNITS as usize / 2),
            rates,
            job,
            priority,
        }
    }

    pub(crate) fn manifest(&self) -> Option<Manifest> {
        self.manifest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes against what pieces are checked from now on.
    pub(crate) fn set_manifest(&self, manifest: Option<Manifest>) {
        *self.manifest.lock().unwrap_or_else(PoisonError::into_inner) = manifest;
    }

    /// Everything that came so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Counts bytes that came for another reason than to be kept.
    pub(crate) fn count(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits until nothing is being written.
    pub(crate) async fn settle(&self) {
        // Never closed, so this cannot fail.
        let _ = self.units.acquire_many(UNITS).await;
    }

    /// Blocks.
    fn put(
        &self,
        index: PieceIndex,
        bytes: Bytes,
        source: Source,
        statement: Option<SignedStatement>,
    ) -> Event {
        let Ok(piece) = HashedPiece::new(self.layout, index, bytes) else {
            return Event::Wrong { index, by: None };
        };
        let manifest = self.manifest();
        let by = manifest.as_ref().map(Manifest::id);
        let signed = |piece: &HashedPiece| {
            let statement = statement.as_ref();
            statement.is_some_and(|it| it.statement.fits(piece))
        };
        let piece = match manifest {
            Some(manifest) => match manifest.accept(piece) {
                Ok(verified) => verified.into_hashed(),
                Err(piece) if signed(&piece) => return Event::Disputed(index),
                Err(_) => return Event::Wrong { index, by },
            },
            None if source == Source::Origin || signed(&piece) => piece,
            // Without a proof only the origin is believed, and who signed for it: the proof
            // that there was turned out to be of another content.
            None => return Event::Wrong { index, by },
        };
        let (value, is_signed) = (piece.value(), signed(&piece));
        match self.partial.put_hashed(piece) {
            Ok(PutOutcome::Stored | PutOutcome::AlreadyHeld) => {
                Event::Stored(Box::new(StoredPiece {
                    index,
                    value,
                    statement,
                }))
            }
            Ok(PutOutcome::Mismatch(_)) => match statement.filter(|_| is_signed) {
                Some(statement) => Event::Contradicted(Box::new(statement)),
                None => Event::Wrong { index, by: None },
            },
            Err(error) => Event::DiskFailed(error),
        }
    }
}

impl Drop for Assembler {
    fn drop(&mut self) {
        self.puts.detach_all();
    }
}

impl Assembler {
    pub(crate) fn new(
        store: Arc<PieceStore>,
        request: RequestId,
        events: Events,
        run: Range<u32>,
    ) -> Self {
        Self {
            store,
            request,
            events,
            run,
            piece: None,
            untold: 0,
            told_at: now(),
            puts: JoinSet::new(),
            statements: VecDeque::new(),
        }
    }

    /// What vouches for the pieces of the run.
    pub(crate) fn vouched(&mut self, statements: Vec<SignedStatement>) {
        self.statements = statements.into();
    }

    /// Where the next bytes go; empty when the run is complete.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.piece.is_none() && !self.run.is_empty() {
            let len = self.store.layout.len_of(PieceIndex(self.run.start));
            self.piece = Some((self.store.buffers.get(len), 0));
        }
        match &mut self.piece {
            Some((buffer, filled)) => &mut buffer.bytes_mut()[*filled..],
            None => &mut [],
        }
    }

    /// Bytes were written to the room.
    pub(crate) async fn advance(&mut self, bytes: usize) {
        self.store
            .received
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.untold += bytes as u64;
        let full = self.piece.as_mut().is_some_and(|(buffer, filled)| {
            *filled += bytes;
            *filled == buffer.as_ref().len()
        });
        if full && let Some((buffer, _)) = self.piece.take() {
            let index = PieceIndex(self.run.start);
            self.run.start += 1;
            self.put(index, buffer.freeze()).await;
        }
        // By time as well: the plan takes a peer that is silent for seconds as one that
        // gives nothing, and at a low rate a piece takes that long.
        if self.untold >= MIN_PIECE_LEN || now() >= self.told_at + TELL_AFTER {
            self.tell().await;
        }
        let store = &self.store;
        store
            .rates
            .wait_to_download(store.job, store.priority, bytes as u64)
            .await;
    }

    /// Copies bytes to where they belong. What is beyond the run is left out.
    pub(crate) async fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let len = room.len().min(bytes.len());
            if len == 0 {
                return;
            }
            room[..len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            self.advance(len).await;
        }
    }

    /// Waits until everything is on disk.
    pub(crate) async fn finish(mut self) {
        self.tell().await;
        while self.puts.join_next().await.is_some() {}
    }

    async fn tell(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        self.told_at = now();
        if untold > 0 {
            // Nobody listens any more only when the file's task has ended.
            let _ = self
                .events
                .send((self.request, Event::Progress(untold)))
                .await;
        }
    }

    async fn put(&mut self, index: PieceIndex, bytes: Bytes) {
        self.tell().await;
        let units = (bytes.len() as u64)
            .div_ceil(MIN_PIECE_LEN)
            .clamp(1, u64::from(UNITS));
        let units = u32::try_from(units).unwrap_or(UNITS);
        let Ok(permit) = Arc::clone(&self.store.units)
            .acquire_many_owned(units)
            .await
        else {
            return;
        };
        while self.puts.try_join_next().is_some() {}
        let statement = self.statements.pop_front();
        let (store, request, events) = (Arc::clone(&self.store), self.request, self.events.clone());
        self.puts.spawn(async move {
            // Never closed, so this cannot fail.
            let hand = Arc::clone(&store.hands).acquire_owned().await;
            let put = tokio::task::spawn_blocking(move || {
                let event = store.put(index, bytes, request.source(), statement);
                // Whoever waits for the permit may want the store for itself.
                drop(store);
                drop((hand, permit));
                event
            });
            match put.await {
                Ok(event) => {
                    let _ = events.send((request, event)).await;
                }
                Err(error) => tracing::error!(%error, "storing a piece broke down"),
            }
        });
    }
}
