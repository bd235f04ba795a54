//! One connection to a peer, for as long as there is trust in it.

use std::time::{Duration, SystemTime};

use crate::ending::{Ended, Ending};
use crate::peer_client::PeerError;
use crate::peer_client::wire::{Head, Wire};
use crate::socket::SocketHandle;

/// How far apart the clocks of two nodes may be for an early end to be understood.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// A connection whose other end is known. It fails when the trust in it ends.
pub(crate) struct Connection {
    wire: Wire,
    /// When a certificate on it ends.
    pub(crate) ends: SystemTime,
    ending: Ending,
    ended: Option<Ended>,
}

impl Connection {
    pub(crate) fn new(wire: Wire, ends: SystemTime, ending: Ending) -> Self {
        Self {
            wire,
            ends,
            ending,
            ended: None,
        }
    }

    /// Whether a certificate on it has ended, or so nearly that the other end's clock
    /// may say so already.
    pub(crate) fn is_over(&self) -> bool {
        self.ended != Some(Ended::Revoked) && self.ends <= SystemTime::now() + CLOCKS_DIFFER
    }

    pub(crate) fn socket(&self) -> SocketHandle {
        self.wire.socket()
    }

    pub(crate) fn may_be_kept(&self) -> bool {
        self.ended.is_none() && self.wire.may_be_kept()
    }

    /// Sends a question and reads the head of its answer.
    pub(crate) async fn ask(&mut self, question: &[u8]) -> Result<Head, PeerError> {
        self.check()?;
        tokio::select! {
            biased;
            ended = &mut self.ending => Err(self.end(ended)),
            head = self.wire.ask(question) => head,
        }
    }

    /// Reads the next bytes of the body. Safe to cancel.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PeerError> {
        self.check()?;
        tokio::select! {
            biased;
            ended = &mut self.ending => Err(self.end(ended)),
            read = self.wire.read(buffer) => read,
        }
    }

    fn check(&mut self) -> Result<(), PeerError> {
        self.ended.map_or(Ok(()), |ended| Err(self.end(ended)))
    }

    fn end(&mut self, ended: Ended) -> PeerError {
        self.ended = Some(ended);
        PeerError::Broken(ended.to_string())
    }
}
