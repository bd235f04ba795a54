//! The states of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for the user: how every job begins.
    Suspended,
    /// Waits for its turn.
    Queued,
    /// Asks the origin what there is.
    Connecting,
    /// Bytes flow.
    Transferring,
    /// Failed in a way that may pass; tried again later.
    TransientError,
    /// Failed; waits for the user.
    Error,
    /// All files are here; waits to be completed.
    Transferred,
    /// Completed. Final.
    Acknowledged,
    /// Given up. Final.
    Cancelled,
}

impl JobState {
    /// Nothing leads out of a final state.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Cancelled)
    }

    /// Whether the job holds a place among the running ones.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Connecting | Self::Transferring)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::Transferring => "transferring",
            Self::TransientError => "transient_error",
            Self::Error => "error",
            Self::Transferred => "transferred",
            Self::Acknowledged => "acknowledged",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
