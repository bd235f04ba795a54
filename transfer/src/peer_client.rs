//! Asking peers for contents.

mod body;
mod connection;
mod error;
mod pieces;
mod turns;
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use potluck_content::ContentId;
use potluck_discovery::{Direction, PeerId, RejectReason};
use tokio::net::TcpStream;

use crate::rates::now;
use crate::socket::SharedStream;
use crate::traffic::TrafficCounts;
use crate::trust::{Refusal, Trust, handshake_failure};
use connection::Connection;
use turns::Turns;
use wire::{Head, Wire};

pub use body::PeerBody;
pub use error::PeerError;
pub(crate) use turns::PeerTurn;

/// How long an idle connection is kept; less than the server keeps it.
const KEEP_IDLE: Duration = Duration::from_secs(60);

/// Idle connections kept for one peer.
const IDLE_PER_PEER: usize = turns::AT_ONCE;

/// A connection that must end within this time is not used for another question.
const ENDS_SOON: Duration = Duration::from_secs(10);

/// How long connecting and the handshake may take: peers are near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who to ask, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    /// Who must answer.
    pub id: PeerId,
    /// Where it serves data.
    pub address: SocketAddr,
}

/// A client of all peers, with its connections. Cheap to clone.
#[derive(Clone)]
pub struct PeerClient(Arc<Inner>);

struct Inner {
    trust: Arc<dyn Trust>,
    traffic: TrafficCounts,
    idle: Mutex<HashMap<PeerId, Vec<Idle>>>,
    turns: Turns,
}

/// What was asked of whom.
#[derive(Clone)]
struct Asked {
    peer: PeerAddress,
    of: Named,
    range: Range<u64>,
}

/// What a range is of.
#[derive(Clone, Copy)]
enum Named {
    /// A content of this many bytes.
    Content(ContentId, u64),
    /// Pieces that were asked for by their entity. The rest of them cannot be asked for.
    Pieces,
}

struct Idle {
    connection: Connection,
    address: SocketAddr,
    since: std::time::Instant,
}

impl PeerClient {
    /// A client with the trust of a domain.
    #[must_use]
    pub fn new(trust: Arc<dyn Trust>, traffic: TrafficCounts) -> Self {
        Self(Arc::new(Inner {
            trust,
            traffic,
            idle: Mutex::new(HashMap::new()),
            turns: Turns::default(),
        }))
    }

    /// Asks for a range of a content of `size` bytes. Waits as long as the peer lets
    /// us wait for our turn.
    ///
    /// # Errors
    /// When the peer does not answer, or not with exactly that range.
    pub async fn get(
        &self,
        peer: PeerAddress,
        content: &ContentId,
        size: u64,
        range: Range<u64>,
    ) -> Result<PeerBody, PeerError> {
        let question = format!(
            "GET /v1/contents/{} HTTP/1.1\r\nhost: {}\r\nrange: bytes={}-{}\r\n\r\n",
            content.to_hex(),
            peer.address,
            range.start,
            range.end.saturating_sub(1),
        );
        let (connection, head) = self.ask(peer, &question).await?;
        let last = range.end.saturating_sub(1);
        let wanted = format!("bytes {}-{last}/{size}", range.start);
        match head.status {
            206 if head.content_range.as_deref() == Some(&wanted)
                && head.content_length == Some(range.end - range.start) =>
            {
                let of = Named::Content(*content, size);
                let asked = Asked { peer, of, range };
                Ok(PeerBody::new(self.clone(), asked, connection))
            }
            206 => Err(PeerError::Protocol(format!(
                "it sent {:?} where {wanted:?} was asked for",
                head.content_range
            ))),
            416 => Err(PeerError::Protocol(format!(
                "it has no {wanted:?} of the content"
            ))),
            _ => Err(self.refusal(peer, connection, &head)),
        }
    }

    /// Waits until this node asks a peer for little enough to ask for more.
    pub(crate) async fn turn(&self, peer: &PeerId) -> PeerTurn {
        self.0.turns.take(*peer).await
    }

    /// Bytes of content that came from a peer since this node started, and from all.
    pub(crate) fn received(&self, peer: &PeerId) -> (u64, u64) {
        let traffic = &self.0.traffic;
        (traffic.of(peer).from, traffic.received())
    }

    /// Closes the idle connections to a peer.
    pub fn forget(&self, peer: &PeerId) {
        self.idle().remove(peer);
    }

    /// Asks on an idle connection, or else on a new one.
    async fn ask(
        &self,
        peer: PeerAddress,
        question: &str,
    ) -> Result<(Connection, Head), PeerError> {
        loop {
            let (mut connection, fresh) = match self.take_idle(peer) {
                Some(connection) => (connection, false),
                None => (self.dial(peer).await?, true),
            };
            match connection.ask(question.as_bytes()).await {
                Ok(head) => return Ok((connection, head)),
                // A connection that was idle may have been closed by the other end, and
                // one that waited long for its turn may have outlived its certificates.
                Err(PeerError::Broken(_)) if !fresh || connection.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Why there are no bytes in an answer.
    fn refusal(&self, peer: PeerAddress, connection: Connection, head: &Head) -> PeerError {
        match head.status {
            404 | 410 => {
                self.give_back(peer, connection, head);
                PeerError::NotHeld
            }
            503 => {
                self.give_back(peer, connection, head);
                let seconds = head.retry_after.unwrap_or(10);
                PeerError::Refused {
                    retry_after: Duration::from_secs(seconds),
                }
            }
            status => PeerError::Protocol(format!("it answered {status}")),
        }
    }

    async fn dial(&self, peer: PeerAddress) -> Result<Connection, PeerError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect(peer)).await {
            Ok(result) => result,
            Err(_) => Err(PeerError::Unreachable(format!(
                "no answer within {CONNECT_TIMEOUT:?}"
            ))),
        }
    }

    async fn connect(&self, peer: PeerAddress) -> Result<Connection, PeerError> {
        let unreachable = |error: std::io::Error| PeerError::Unreachable(error.to_string());
        let trust = &self.0.trust;
        let stream = TcpStream::connect(peer.address)
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let connecting = Wire::secure(
            SharedStream::new(stream),
            trust.client_config(),
            trust.server_name(),
        );
        let wire = connecting
            .await
            .map_err(|error| match handshake_failure(&error) {
                // It refused us; that says nothing against it.
                Some(reason @ RejectReason::RefusedUs(_)) => {
                    PeerError::Unreachable(reason.to_string())
                }
                Some(reason) => self.refuse(peer, reason),
                None => PeerError::Unreachable(error.to_string()),
            })?;
        let judged = trust
            .judge_answerer(wire.tls())
            .map_err(|reason| self.refuse(peer, reason))?;
        if judged.peer != peer.id {
            return Err(self.refuse(peer, RejectReason::WrongPeer));
        }
        let ending = trust.ending(&judged);
        Ok(Connection::new(wire, judged.ends, ending))
    }

    /// Takes note of an answerer who is not to be trusted. What time or the authority has
    /// brought about is no fault of its.
    fn refuse(&self, peer: PeerAddress, reason: RejectReason) -> PeerError {
        let words = reason.to_string();
        let timely = matches!(
            reason,
            RejectReason::Expired | RejectReason::NotYetValid | RejectReason::Revoked
        );
        self.0.trust.note_refusal(Refusal {
            address: peer.address,
            id: Some(peer.id),
            reason,
            direction: Direction::Outbound,
        });
        match timely {
            true => PeerError::Unreachable(words),
            false => PeerError::NotTrusted(words),
        }
    }

    fn take_idle(&self, peer: PeerAddress) -> Option<Connection> {
        let mut idle = self.idle();
        let connections = idle.get_mut(&peer.id)?;
        let (now, soon) = (now(), SystemTime::now() + ENDS_SOON);
        while let Some(candidate) = connections.pop() {
            if now.saturating_duration_since(candidate.since) < KEEP_IDLE
                && candidate.address == peer.address
                && candidate.connection.ends > soon
            {
                return Some(candidate.connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer had no body.
    fn give_back(&self, peer: PeerAddress, connection: Connection, head: &Head) {
        if head.content_length == Some(0) {
            self.keep(peer, connection);
        }
    }

    fn keep(&self, peer: PeerAddress, connection: Connection) {
        if !connection.may_be_kept() {
            return;
        }
        let mut idle = self.idle();
        // Those of peers that are not asked again would stay for ever.
        let now = now();
        idle.retain(|_, kept| {
            kept.retain(|kept| now.saturating_duration_since(kept.since) < KEEP_IDLE);
            !kept.is_empty()
        });
        let connections = idle.entry(peer.id).or_default();
        if connections.len() < IDLE_PER_PEER {
            connections.push(Idle {
                connection,
                address: peer.address,
                since: now,
            });
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<PeerId, Vec<Idle>>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
