//! The bytes of a peer's answer.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use crate::peer_client::connection::Connection;
use crate::peer_client::{Asked, Named, PeerClient, PeerError};
use crate::socket::SocketHandle;

/// How long before the end of a certificate the rest of an answer is asked for on a
/// connection with newer ones.
const MOVE_BEFORE: Duration = Duration::from_secs(5);

/// The bytes of an answer. Read to its end, its connection is used again; dropped
/// before, it is closed. It may outlive the certificates that it began with: it goes on
/// over a new connection then, unless its pieces were asked for by their entity.
pub struct PeerBody {
    client: PeerClient,
    /// What is still to come.
    asked: Asked,
    flow: Flow,
    /// The end of a connection that was left, or would have been, for newer certificates.
    left: SystemTime,
}

enum Flow {
    Open(Connection),
    /// The rest was asked for anew. The old connection keeps our turn meanwhile.
    Moving(Moving, Connection),
    Done,
}

type Moving = Pin<Box<dyn Future<Output = Result<PeerBody, PeerError>> + Send>>;

impl PeerBody {
    pub(super) fn new(client: PeerClient, asked: Asked, connection: Connection) -> Self {
        Self {
            client,
            asked,
            flow: Flow::Open(connection),
            left: SystemTime::UNIX_EPOCH,
        }
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.asked.range.end - self.asked.range.start
    }

    /// The socket that the bytes come through; none after the end.
    #[must_use]
    pub fn socket(&self) -> Option<SocketHandle> {
        match &self.flow {
            Flow::Open(connection) | Flow::Moving(_, connection) => Some(connection.socket()),
            Flow::Done => None,
        }
    }

    /// Reads the next bytes into the buffer; 0 only at the end. Safe to cancel.
    ///
    /// # Errors
    /// When the connection ends early.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PeerError> {
        let most = usize::try_from(self.remaining())
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        loop {
            match &mut self.flow {
                Flow::Done => return Ok(0),
                Flow::Moving(moving, _) => {
                    let moved = moving.await;
                    self.arrive(moved);
                }
                Flow::Open(connection) => {
                    let may_move = self.asked.may_move() && connection.ends > self.left;
                    if may_move && ends_soon(connection) {
                        self.depart();
                        continue;
                    }
                    match connection.read(&mut buffer[..most]).await {
                        Ok(read) => return Ok(self.came(read)),
                        Err(_) if may_move && connection.is_over() => self.depart(),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn came(&mut self, read: usize) -> usize {
        let traffic = &self.client.0.traffic;
        traffic.add_from(self.asked.peer.id, read as u64);
        self.asked.range.start += read as u64;
        if self.remaining() == 0
            && let Flow::Open(connection) = std::mem::replace(&mut self.flow, Flow::Done)
        {
            self.client.keep(self.asked.peer, connection);
        }
        read
    }

    /// Asks for the rest on another connection.
    fn depart(&mut self) {
        let Named::Content(content, size) = self.asked.of else {
            return;
        };
        let Flow::Open(connection) = std::mem::replace(&mut self.flow, Flow::Done) else {
            return;
        };
        self.left = connection.ends;
        let (client, Asked { peer, range, .. }) = (self.client.clone(), self.asked.clone());
        let moving = async move { client.get(peer, &content, size, range).await };
        self.flow = Flow::Moving(Box::pin(moving), connection);
    }

    fn arrive(&mut self, moved: Result<Self, PeerError>) {
        let Flow::Moving(_, old) = std::mem::replace(&mut self.flow, Flow::Done) else {
            return;
        };
        let peer = self.asked.peer.id;
        self.flow = match moved {
            Ok(new) => {
                tracing::debug!(%peer, "goes on over a new connection");
                if let Flow::Open(connection) = &new.flow
                    && ends_soon(connection)
                {
                    // There are no newer certificates yet: once is enough.
                    self.left = connection.ends;
                }
                new.flow
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no newer certificates");
                Flow::Open(old)
            }
        };
    }
}

impl Asked {
    /// Whether the rest can be asked for on another connection.
    fn may_move(&self) -> bool {
        matches!(self.of, Named::Content(..))
    }
}

fn ends_soon(connection: &Connection) -> bool {
    connection.ends <= SystemTime::now() + MOVE_BEFORE
}
