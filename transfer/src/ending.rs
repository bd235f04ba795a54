//! When and why a connection must not go on.

use std::fmt;
use std::pin::Pin;
use std::time::SystemTime;

/// Waits for the end of the trust in a connection.
pub type Ending = Pin<Box<dyn Future<Output = Ended> + Send + Sync>>;

/// Why a connection must not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// A certificate on it has ended.
    Certificate,
    /// The node at the other end was revoked.
    Revoked,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate ended",
            Self::Revoked => "its certificate was revoked",
        })
    }
}

/// The end that comes with time.
#[must_use]
pub fn end_of_certificate(ends: SystemTime) -> Ending {
    let left = ends.duration_since(SystemTime::now()).unwrap_or_default();
    let over = tokio::time::sleep(left);
    Box::pin(async move {
        over.await;
        Ended::Certificate
    })
}
