//! One request to a peer or to the origin.

use std::ops::Range;
use std::sync::Arc;

use potluck_content::ContentId;
use potluck_plan::RequestId;

use crate::engine::piece_store::{Assembler, Event, Events, PieceStore};
use crate::origin::{OriginClient, OriginError, OriginMeta, OriginRequest};
use crate::peer_client::{PeerAddress, PeerClient, PeerError};

/// Where pieces of one request go.
pub(crate) struct Sink {
    pub(crate) store: Arc<PieceStore>,
    pub(crate) request: RequestId,
    pub(crate) events: Events,
    pub(crate) run: Range<u32>,
}

/// How the origin is asked.
pub(crate) struct OriginSource {
    pub(crate) client: OriginClient,
    pub(crate) request: OriginRequest,
    pub(crate) meta: OriginMeta,
}

impl Sink {
    fn bytes(&self) -> Range<u64> {
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

/// Fetches a run of pieces from the origin: as a range, or as the whole from its start.
pub(crate) async fn from_origin(source: Arc<OriginSource>, stream: bool, sink: Sink) {
    let mut assembler = sink.assembler();
    let range = (!stream).then(|| sink.bytes());
    let result = async {
        let mut body = source
            .client
            .get(&source.request, &source.meta, range)
            .await?;
        while let Some(bytes) = body.next().await? {
            assembler.take(&bytes).await;
        }
        Ok::<(), OriginError>(())
    }
    .await;
    assembler.finish().await;
    sink.tell(Event::OriginEnded(result)).await;
}
