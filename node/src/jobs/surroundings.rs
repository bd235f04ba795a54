//! What goes on around the jobs and decides whether they can run.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::sessions::is_logged_in;

/// What jobs depend on that is no part of them.
#[derive(Clone)]
pub struct Surroundings {
    /// Whether there is a network beyond this machine.
    pub network: watch::Receiver<bool>,
    /// Bytes that are free where contents are kept, as far as that is known.
    pub free: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Whether a user is logged in, where the system says that.
    pub logged_in: Arc<dyn Fn(u32) -> Option<bool> + Send + Sync>,
}

impl Surroundings {
    /// Of a node that keeps its contents in `dir`; `network` says whether there is one.
    #[must_use]
    pub fn new(dir: &Path, network: watch::Receiver<bool>) -> Self {
        let dir = dir.to_owned();
        let free = move || {
            let disk = rustix::fs::statvfs(&dir).ok()?;
            Some(disk.f_bavail.saturating_mul(disk.f_frsize))
        };
        Self {
            network,
            free: Arc::new(free),
            logged_in: Arc::new(is_logged_in),
        }
    }

    /// Where nothing is ever in the way.
    #[must_use]
    pub fn calm() -> Self {
        let (_, network) = watch::channel(true);
        Self {
            network,
            free: Arc::new(|| None),
            logged_in: Arc::new(|_| Some(true)),
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("network", &*self.network.borrow())
            .finish_non_exhaustive()
    }
}
