//! One request to a peer or to the origin.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use potluck_content::{ContentId, EntityKey};
use potluck_plan::RequestId;

use crate::engine::piece_store::{Assembler, Event, Events, PieceStore};
use crate::engine::swarms::Swarms;
use crate::origin::{OriginClient, OriginError, OriginMeta, OriginRequest};
use crate::peer_client::{PeerAddress, PeerClient, PeerError, PeerTurn};
use crate::swarm::SignedStatement;

/// What one request to the origin is for.
pub(crate) enum Parts {
    /// The whole, from its start, over one connection.
    Whole,
    /// These parts, one after the other: one, unless the file is made of ranges.
    Some(Vec<Range<u64>>),
}

/// Parts that are asked for before it is their turn. Each takes a way to the origin and
/// back; with many small ones that is all the time they take.
const ASKED_AHEAD: usize = 4;

/// How often a request that waits for its turn at a peer looks what the peer gives.
pub(crate) const LOOK_AT_TURN: Duration = Duration::from_millis(250);

/// Where pieces of one request go.
pub(crate) struct Sink {
    pub(crate) store: Arc<PieceStore>,
    pub(crate) request: RequestId,
    pub(crate) events: Events,
    pub(crate) run: Range<u32>,
    /// What peers give in [`LOOK_AT_TURN`] when they give enough, in bytes.
    pub(crate) enough: u64,
}

/// How the origin is asked.
pub(crate) struct OriginSource {
    pub(crate) client: OriginClient,
    pub(crate) request: OriginRequest,
    pub(crate) meta: OriginMeta,
}

impl OriginSource {
    /// Where redirects led, where there were any.
    pub(crate) fn redirected(&self) -> Option<String> {
        let at = &self.meta.final_url;
        (at != self.request.url()).then(|| at.to_string())
    }
}

impl Sink {
    pub(crate) fn bytes(&self) -> Range<u64> {
        self.store.layout.span_of_run(self.run.clone())
    }

    fn assembler(&self) -> Assembler {
        Assembler::new(
            Arc::clone(&self.store),
            self.request,
            self.events.clone(),
            self.run.clone(),
        )
    }

    async fn tell(self, event: Event) {
        self.note(event).await;
    }

    async fn note(&self, event: Event) {
        // Nobody listens any more only when the file's task has ended.
        let _ = self.events.send((self.request, event)).await;
    }
}

/// Fetches a run of pieces from a peer.
pub(crate) async fn from_peer(
    client: PeerClient,
    peer: PeerAddress,
    content: ContentId,
    sink: Sink,
) {
    let mut assembler = sink.assembler();
    let size = sink.store.layout.size();
    let result = async {
        let _turn = turn_at(&client, &peer, &sink).await;
        let mut body = client.get(peer, &content, size, sink.bytes()).await?;
        loop {
            match body.read(assembler.room()).await? {
                0 => return Ok::<(), PeerError>(()),
                read => assembler.advance(read).await,
            }
        }
    }
    .await;
    assembler.finish().await;
    sink.tell(Event::PeerEnded(result)).await;
}

/// Waits for this request's turn at a peer that other files take from too. As long as it
/// gives them something, and peers together give enough, nobody is to blame for the wait.
async fn turn_at(client: &PeerClient, peer: &PeerAddress, sink: &Sink) -> PeerTurn {
    let mut turn = pin!(client.turn(&peer.id));
    let mut waited = false;
    loop {
        let before = client.received(&peer.id);
        tokio::select! {
            biased;
            turn = &mut turn => {
                if waited {
                    sink.note(Event::HeldBack).await;
                }
                return turn;
            }
            () = tokio::time::sleep(LOOK_AT_TURN) => {
                let (its, all) = client.received(&peer.id);
                waited = its > before.0 && all - before.1 >= sink.enough;
                if waited {
                    sink.note(Event::HeldBack).await;
                }
            }
        }
    }
}

/// Fetches a run of pieces from another member of a swarm, with what vouches for them.
pub(crate) async fn from_member(
    client: PeerClient,
    peer: PeerAddress,
    (swarms, entity): (Swarms, EntityKey),
    sink: Sink,
) {
    let mut assembler = sink.assembler();
    let span = sink.bytes();
    let result = async {
        let _turn = turn_at(&client, &peer, &sink).await;
        let asked = client.get_pieces(peer, &entity, sink.run.clone(), span.end - span.start);
        let (preface, mut body) = asked.await?;
        let (layout, run) = (sink.store.layout, sink.run.clone());
        let vouching = Arc::clone(&swarms.vouching);
        let check = move || vouching.check(&preface, &entity, &layout, run);
        let checked = tokio::task::spawn_blocking(check).await;
        let statements = match checked {
            Ok(Ok(statements)) => statements,
            Ok(Err(error)) if error.is_fault() => {
                return Err(PeerError::Protocol(error.to_string()));
            }
            Ok(Err(_)) | Err(_) => return Err(PeerError::Unwanted),
        };
        // Whoever is wrong: there is nothing to be had that would be kept, and the member may
        // well give what its signer said.
        let manifest = sink.store.manifest();
        let contradicts = |signed: &SignedStatement| {
            let statement = &signed.statement;
            let proven = manifest.as_ref().map(|manifest| manifest.values());
            proven.is_some_and(|values| {
                values.get(statement.index.0 as usize) != Some(&statement.value)
            })
        };
        if statements.iter().any(contradicts) {
            return Err(PeerError::Unwanted);
        }
        let is_banned = |signed: &SignedStatement| swarms.is_banned(&signed.signer.id);
        if statements.iter().any(is_banned) {
            return Err(PeerError::Unwanted);
        }
        assembler.vouched(statements);
        loop {
            match body.read(assembler.room()).await? {
                0 => return Ok::<(), PeerError>(()),
                read => assembler.advance(read).await,
            }
        }
    }
    .await;
    assembler.finish().await;
    sink.tell(Event::PeerEnded(result)).await;
}

/// Fetches a run of pieces from the origin.
pub(crate) async fn from_origin(source: Arc<OriginSource>, parts: Parts, sink: Sink) {
    let mut assembler = sink.assembler();
    let ranges = match parts {
        Parts::Whole => vec![None],
        Parts::Some(ranges) => ranges.into_iter().map(Some).collect(),
    };
    let result = async {
        let asked = ranges
            .into_iter()
            .map(|range| source.client.get(&source.request, &source.meta, range));
        let mut bodies = stream::iter(asked).buffered(ASKED_AHEAD);
        while let Some(body) = bodies.next().await {
            let mut body = body?;
            while let Some(bytes) = body.next().await? {
                assembler.take(&bytes).await;
            }
        }
        Ok::<(), OriginError>(())
    }
    .await;
    assembler.finish().await;
    sink.tell(Event::OriginEnded(result)).await;
}
