//! Why a call to the daemon came to nothing.

use std::io;
use std::path::PathBuf;

use hyper::StatusCode;
use serde::Deserialize;

use crate::api::{CALLER_PLACES, CROWDED};

/// A call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers on {}: start one with potluck node, or name its socket with --socket",
        .0.display()
    )]
    NoDaemon(PathBuf),
    /// Somebody listens, but nothing is heard.
    #[error("the daemon on {} does not answer", .0.display())]
    Silent(PathBuf),
    /// The socket cannot be used.
    #[error("cannot use the socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon does not do it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The connection broke before there was an answer.
    #[error("the daemon broke the connection off before it answered: {0}")]
    CutOff(String),
    /// The connection broke, or what came makes no sense.
    #[error("the daemon's answer cannot be used: {0}")]
    Broken(String),
    /// What was received cannot be written.
    #[error("cannot write what was received: {0}")]
    Write(io::Error),
}

/// The daemon's reason not to do something: a problem document (RFC 9457).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, thiserror::Error)]
#[serde(default)]
#[error("{detail}")]
pub struct Refused {
    /// What kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, on what, and what to do, in one line.
    pub detail: String,
}

impl ClientError {
    /// Whether there is no daemon to talk to.
    #[must_use]
    pub const fn is_no_daemon(&self) -> bool {
        matches!(self, Self::NoDaemon(_) | Self::Silent(_))
    }

    /// Whether the same call may be made again: nothing was done, or nothing that a second
    /// time changes (`is_safe`).
    pub(super) fn may_pass(&self, is_safe: bool) -> bool {
        match self {
            Self::Refused(refused) => refused.kind == CROWDED,
            Self::CutOff(_) => is_safe,
            _ => false,
        }
    }

    /// Whether only the caller may write the files of a job.
    #[must_use]
    pub fn is_caller_places(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.kind == CALLER_PLACES)
    }
}

impl Refused {
    /// What the body of a refusal says; its status where it says nothing.
    pub(super) fn read(status: StatusCode, bytes: &[u8]) -> Self {
        serde_json::from_slice::<Self>(bytes)
            .ok()
            .filter(|refused| !refused.detail.is_empty())
            .unwrap_or_else(|| Self {
                kind: "about:blank".to_owned(),
                status: status.as_u16(),
                detail: format!("the daemon answered {status}"),
            })
    }
}

pub(super) fn cut_off(error: impl std::fmt::Display) -> ClientError {
    ClientError::CutOff(error.to_string())
}

pub(super) fn broken(error: impl std::fmt::Display) -> ClientError {
    ClientError::Broken(error.to_string())
}
