//! What can go wrong with a peer.

use std::time::Duration;

/// Why a peer did not give what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It is not who it should be, or not to be trusted: a fault.
    #[error("not trusted: {0}")]
    NotTrusted(String),
    /// It broke the protocol: a fault.
    #[error("broke the protocol: {0}")]
    Protocol(String),
    /// It does not hold the content.
    #[error("does not hold the content")]
    NotHeld,
    /// It gives what this node does not take: who vouched for it is not believed.
    #[error("gives what somebody vouched for who is not believed")]
    Unwanted,
    /// Too many wait there.
    #[error("too busy: come back in {} s", retry_after.as_secs())]
    Refused {
        /// When to come back.
        retry_after: Duration,
    },
    /// The connection ended early.
    #[error("the connection broke: {0}")]
    Broken(String),
}
