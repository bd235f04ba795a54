//! The time limits of a job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The shortest retry delay; a shorter one is raised to it.
pub(crate) const SHORTEST_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The time limits of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTimes {
    /// How long after a transient error it is tried again; at least 5 s.
    pub retry_delay: Duration,
    /// How long errors may go on without progress before the job fails. Zero: the
    /// first error is final.
    pub no_progress_timeout: Duration,
    /// How long a job may be connecting and transferring, all together.
    pub max_download_time: Duration,
    /// A job that nothing happened to for so long is cancelled.
    pub inactivity_timeout: Duration,
}

impl Default for JobTimes {
    /// As BITS: 600 s, 14 days, 90 days, 90 days.
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            retry_delay: Duration::from_secs(600),
            no_progress_timeout: Duration::from_secs(14 * DAY),
            max_download_time: Duration::from_secs(90 * DAY),
            inactivity_timeout: Duration::from_secs(90 * DAY),
        }
    }
}
