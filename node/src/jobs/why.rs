//! The one reason why a job does not move now.

use std::time::SystemTime;

use potluck_plan::JobState;
use serde::{Deserialize, Serialize};

use super::Job;
use crate::timestamp::rfc3339;

/// Why a job does not move, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The job.
    pub id: String,
    /// Its state.
    pub state: JobState,
    /// One sentence.
    pub reason: String,
    /// When it is tried again, in RFC 3339.
    pub retry_at: Option<String>,
}

impl Why {
    /// The reason, where `ahead` jobs go before this one.
    #[must_use]
    pub fn of(job: &Job, ahead: Option<usize>) -> Self {
        let id = job.id;
        let reason = match job.state() {
            JobState::Suspended if job.files.is_empty() => {
                format!("nothing to transfer yet: potluck job add {id} URL")
            }
            JobState::Suspended => format!("it waits for you: potluck job resume {id}"),
            JobState::Queued => match ahead {
                Some(1) => "one job of its level or above goes first".to_owned(),
                Some(jobs) if jobs > 0 => format!("{jobs} jobs of its level or above go first"),
                _ => "its turn comes next".to_owned(),
            },
            JobState::Connecting => "the origin is being asked".to_owned(),
            JobState::Transferring => flow(job),
            JobState::TransientError | JobState::Error => job
                .machine
                .error()
                .map_or_else(|| "it failed".to_owned(), |error| error.message.clone()),
            JobState::Transferred => match job.files.iter().find_map(|file| file.error.as_ref()) {
                Some(error) => format!("it could not be completed: {}", error.message),
                None => format!("it waits to be completed: potluck job complete {id}"),
            },
            JobState::Acknowledged => "its files are in their places".to_owned(),
            JobState::Cancelled => "it was given up".to_owned(),
        };
        let retry_at = job.machine.error().and_then(|error| error.retry_at);
        Self {
            id: id.to_string(),
            state: job.state(),
            reason,
            retry_at: retry_at.map(|at: SystemTime| rfc3339(at)),
        }
    }
}

/// Bytes flow; and not as well as they could where the origin is an awkward one.
fn flow(job: &Job) -> String {
    let mut unfinished = job.files.iter().filter(|file| !file.is_transferred());
    let trouble = unfinished.find_map(|file| file.troubles.last());
    match trouble {
        Some(trouble) => format!("bytes flow; {trouble}"),
        None => "bytes flow".to_owned(),
    }
}
