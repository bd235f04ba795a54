//! The bytes of a peer's answer.

use crate::peer_client::connection::Connection;
use crate::peer_client::{PeerAddress, PeerClient, PeerError};
use crate::socket::SocketHandle;

/// The bytes of an answer. Read to its end, its connection is used again; dropped
/// before, it is closed.
pub struct PeerBody {
    client: PeerClient,
    peer: PeerAddress,
    connection: Option<Connection>,
    remaining: u64,
}

impl PeerBody {
    pub(crate) fn new(
        client: PeerClient,
        peer: PeerAddress,
        connection: Connection,
        remaining: u64,
    ) -> Self {
        Self {
            client,
            peer,
            connection: Some(connection),
            remaining,
        }
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The socket that the bytes come through; none after the end.
    #[must_use]
    pub fn socket(&self) -> Option<SocketHandle> {
        self.connection.as_ref().map(Connection::socket)
    }

    /// Reads the next bytes into the buffer; 0 only at the end. Safe to cancel.
    ///
    /// # Errors
    /// When the connection ends early.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PeerError> {
        let most = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(connection) = self.connection.as_mut().filter(|_| most > 0) else {
            return Ok(0);
        };
        let read = connection.read(&mut buffer[..most]).await?;
        self.remaining -= read as u64;
        self.client.0.traffic.add_from(self.peer.id, read as u64);
        if self.remaining == 0
            && let Some(connection) = self.connection.take()
        {
            self.client.keep(self.peer, connection);
        }
        Ok(read)
    }
}
