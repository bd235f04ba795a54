//! The bytes of an answer.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::origin::OriginError;
use crate::origin::encoding::{Coding, Unpacker};
use crate::socket::SocketHandle;

/// As much as this may become of anything that is packed; of more, each packed byte becomes
/// [`MOST_OF_ONE`] at most. gzip could make a thousand of one.
const UNPACKED_ANYWAY: u64 = 256 << 20;
const MOST_OF_ONE: u64 = 200;

/// The bytes of an answer, as they come. Dropping it ends the request.
#[derive(Debug)]
pub struct OriginBody {
    incoming: Incoming,
    url: String,
    expected: Option<u64>,
    received: u64,
    unpacked: u64,
    unpacker: Option<Unpacker>,
    ended: bool,
    idle: Duration,
    socket: Option<SocketHandle>,
}

impl OriginBody {
    pub(crate) fn new(
        incoming: Incoming,
        url: String,
        expected: Option<u64>,
        packed: Option<Coding>,
        idle: Duration,
        socket: Option<SocketHandle>,
    ) -> Self {
        Self {
            incoming,
            url,
            expected,
            received: 0,
            unpacked: 0,
            unpacker: packed.map(Unpacker::new),
            ended: false,
            idle,
            socket,
        }
    }

    /// Bytes that the origin will send, where that is known.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Bytes that the origin sent so far, packed if they came so.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The socket that the bytes come through; none when the client does not know it.
    #[must_use]
    pub fn socket(&self) -> Option<&SocketHandle> {
        self.socket.as_ref()
    }

    /// The next bytes; `None` at the end, which is where it should be. Safe to cancel.
    ///
    /// # Errors
    /// When nothing comes for too long, the connection breaks, or fewer or more bytes
    /// come than were announced.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        if self.unpacker.is_none() {
            return self.receive().await;
        }
        while !self.ended {
            if let Some(bytes) = self.unpack(Unpacker::next)? {
                return Ok(Some(bytes));
            }
            let received = self.receive().await?;
            match (received, &mut self.unpacker) {
                (Some(bytes), Some(unpacker)) => unpacker.take(bytes),
                _ => {
                    self.ended = true;
                    return self.unpack(Unpacker::end);
                }
            }
        }
        Ok(None)
    }

    fn unpack(
        &mut self,
        step: impl FnOnce(&mut Unpacker) -> std::io::Result<Option<Bytes>>,
    ) -> Result<Option<Bytes>, OriginError> {
        let Some(unpacker) = &mut self.unpacker else {
            return Ok(None);
        };
        let unpacked = step(unpacker).map_err(|error| OriginError::Broken {
            url: self.url.clone(),
            reason: format!("what came cannot be unpacked: {error}"),
        })?;
        self.unpacked += unpacked.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let most = self.received.saturating_mul(MOST_OF_ONE);
        if self.unpacked > most.max(UNPACKED_ANYWAY) {
            return Err(OriginError::Bomb {
                url: self.url.clone(),
                packed: self.received,
                unpacked: self.unpacked,
            });
        }
        Ok(unpacked)
    }

    /// The next bytes as they came.
    async fn receive(&mut self) -> Result<Option<Bytes>, OriginError> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.incoming.frame())
                .await
                .map_err(|_| OriginError::Timeout {
                    url: self.url.clone(),
                    what: "the next bytes",
                    limit: self.idle,
                })?;
            let Some(frame) = frame else {
                return self.end();
            };
            let bytes = match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(_trailers) => continue,
                },
                Err(error) => return Err(self.broken(&error)),
            };
            if bytes.is_empty() {
                continue;
            }
            self.received += bytes.len() as u64;
            if let Some(expected) = self.expected.filter(|expected| self.received > *expected) {
                return Err(OriginError::LongBody {
                    url: self.url.clone(),
                    expected,
                });
            }
            return Ok(Some(bytes));
        }
    }

    fn end(&self) -> Result<Option<Bytes>, OriginError> {
        match self.expected {
            Some(expected) if self.received < expected => Err(self.short(expected)),
            _ => Ok(None),
        }
    }

    fn short(&self, expected: u64) -> OriginError {
        OriginError::ShortBody {
            url: self.url.clone(),
            expected,
            found: self.received,
        }
    }

    fn broken(&self, error: &hyper::Error) -> OriginError {
        match self.expected {
            Some(expected) if is_early_end(error) => self.short(expected),
            _ => OriginError::Broken {
                url: self.url.clone(),
                reason: crate::origin::answer::innermost(error),
            },
        }
    }
}

/// Whether the connection ended in good order, but before the body did.
fn is_early_end(error: &hyper::Error) -> bool {
    let source = error
        .source()
        .and_then(|e| e.downcast_ref::<std::io::Error>());
    error.is_incomplete_message()
        || source.is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof)
}
