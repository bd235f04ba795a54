//! The bytes of an answer to a peer: read ahead, paced and counted.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use potluck_discovery::PeerId;
use tokio::task::JoinHandle;

use crate::buffers::BufferPool;
use crate::peer_server::turnstile::Turn;
use crate::rates::Rates;
use crate::shelf::Readable;
use crate::traffic::TrafficCounts;

/// Bytes read from the disk at a time. One such read is ahead of the socket.
const READ: u64 = 1 << 20;

/// Bytes read at a time under a cap: little is held for a long time then.
const CAPPED_READ: u64 = 64 << 10;

type Wait = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A range of a content on its way to a peer. Holds the peer's turn until its end.
pub(crate) struct ServedBody {
    /// What goes before the content; neither paced nor counted.
    preface: Bytes,
    content: Arc<dyn Readable>,
    /// What is not yet read.
    unread: Range<u64>,
    /// What is not yet given to the connection.
    unsent: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    chunk: Bytes,
    /// The next helping and the wait for it.
    helping: Option<(usize, Wait)>,
    pub(crate) peer: PeerId,
    pub(crate) shared: Arc<ServedShared>,
    turn: Turn,
}

/// What all answers share.
pub(crate) struct ServedShared {
    pub(crate) buffers: BufferPool,
    pub(crate) rates: Rates,
    pub(crate) traffic: TrafficCounts,
}

impl ServedBody {
    pub(crate) fn new(
        content: Arc<dyn Readable>,
        range: Range<u64>,
        peer: PeerId,
        shared: Arc<ServedShared>,
        turn: Turn,
    ) -> Self {
        Self {
            preface: Bytes::new(),
            content,
            unsent: range.end - range.start,
            unread: range,
            ahead: None,
            chunk: Bytes::new(),
            helping: None,
            peer,
            shared,
            turn,
        }
    }

    /// The same after some other bytes.
    pub(crate) fn after(self, preface: Bytes) -> Self {
        Self { preface, ..self }
    }

    fn read_ahead(&mut self) {
        if self.ahead.is_some() || self.unread.is_empty() {
            return;
        }
        let most = if self.shared.rates.served_quantum().is_some() {
            CAPPED_READ
        } else {
            READ
        };
        let offset = self.unread.start;
        let len = most.min(self.unread.end - offset);
        self.unread.start += len;
        let content = Arc::clone(&self.content);
        let mut buffer = self
            .shared
            .buffers
            .get(usize::try_from(len).expect("at most a MiB"));
        self.ahead = Some(tokio::task::spawn_blocking(move || {
            content.read_exact_at(buffer.bytes_mut(), offset)?;
            Ok(buffer.freeze())
        }));
    }
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if !this.preface.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.preface)))));
        }
        if this.unsent == 0 {
            return Poll::Ready(None);
        }
        if this.chunk.is_empty() {
            this.read_ahead();
            let ahead = this
                .ahead
                .as_mut()
                .expect("there is something unsent, so unread");
            let read = ready!(Pin::new(ahead).poll(cx));
            this.ahead = None;
            this.chunk = read.map_err(io::Error::other)??;
        }
        this.read_ahead();
        let len = match this.helping.take() {
            None => match this.shared.rates.served_quantum() {
                None => this.chunk.len(),
                Some(quantum) => {
                    let len = quantum.min(this.chunk.len());
                    let rates = this.shared.rates.clone();
                    let mut wait: Wait =
                        Box::pin(async move { rates.wait_to_serve(len as u64).await });
                    if wait.as_mut().poll(cx).is_pending() {
                        this.helping = Some((len, wait));
                        return Poll::Pending;
                    }
                    len
                }
            },
            Some((len, mut wait)) => {
                if wait.as_mut().poll(cx).is_pending() {
                    this.helping = Some((len, wait));
                    return Poll::Pending;
                }
                len
            }
        };
        let part = this.chunk.split_to(len);
        this.unsent -= len as u64;
        this.turn.progress(len as u64);
        this.shared.traffic.add_to(this.peer, len as u64);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.preface.is_empty() && self.unsent == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.preface.len() as u64 + self.unsent)
    }
}
