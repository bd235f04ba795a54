//! The one reason why a job does not move now.

use std::time::SystemTime;

use potluck_plan::{Condition, JobState, Rate};
use serde::{Deserialize, Serialize};

use super::{FetchPhase, Job};
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
    /// What it waits for instead of a time, such as "when the network is back".
    #[serde(default)]
    pub retry_when: Option<String>,
    /// What else makes it slow or lets it wait, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What is known of a job besides the job.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// How many jobs go first.
    pub ahead: Option<usize>,
    /// Its files are just being put in their places.
    pub is_completing: bool,
    /// Whether this process may put them there.
    pub may_place: bool,
    /// What its transfer does.
    pub phase: FetchPhase,
    /// What all downloads together may have, where that has a limit.
    pub max_bandwidth: Option<Rate>,
}

impl Why {
    /// The reason.
    #[must_use]
    pub fn of(job: &Job, around: &Circumstances) -> Self {
        let error = job.machine.error();
        let reason = if around.is_completing {
            "its files are being put in their places".to_owned()
        } else {
            reason(job, around)
        };
        let retry_at = error.and_then(|error| error.retry_at);
        let awaited = error.and_then(Condition::awaited);
        let awaited = awaited.filter(|_| job.state() == JobState::TransientError);
        Self {
            id: job.id.to_string(),
            state: job.state(),
            reason,
            retry_at: retry_at.map(|at: SystemTime| rfc3339(at)),
            retry_when: awaited.map(|condition| condition.when().to_owned()),
            notes: notes(job, around),
        }
    }
}

fn reason(job: &Job, around: &Circumstances) -> String {
    let id = job.id;
    match job.state() {
        JobState::Suspended if job.files.is_empty() => {
            format!("nothing to transfer yet: potluck job add {id} URL")
        }
        JobState::Suspended => format!("it waits for you: potluck job resume {id}"),
        JobState::Queued => match around.ahead {
            Some(1) => "one job of its level or above goes first".to_owned(),
            Some(jobs) if jobs > 0 => format!("{jobs} jobs of its level or above go first"),
            _ => "its turn comes next".to_owned(),
        },
        JobState::Connecting => "the origin is being asked".to_owned(),
        JobState::Transferring => match around.phase {
            FetchPhase::Asking => "the origin is being asked".to_owned(),
            FetchPhase::Joined => {
                "another transfer of the same content is under way: it waits for its end".to_owned()
            }
            FetchPhase::Searching => "peers are being asked before the origin is".to_owned(),
            FetchPhase::Flowing => flow(job),
            FetchPhase::Checking => "the whole is being checked".to_owned(),
        },
        JobState::TransientError | JobState::Error => job
            .machine
            .error()
            .map_or_else(|| "it failed".to_owned(), |error| error.message.clone()),
        JobState::Transferred => match job.files.iter().find_map(|file| file.error.as_ref()) {
            Some(error) => format!(
                "it could not be completed: {}; then: potluck job complete {id}",
                error.message
            ),
            None if around.may_place => {
                format!("it waits to be completed: potluck job complete {id}")
            }
            None => format!(
                "only its owner may write its files, the daemon may not: potluck job complete {id}"
            ),
        },
        JobState::Acknowledged => "its files are in their places".to_owned(),
        JobState::Cancelled => "it was given up".to_owned(),
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

fn notes(job: &Job, around: &Circumstances) -> Vec<String> {
    let mut notes = Vec::new();
    if job.state().is_running()
        && let Some(rate) = around.max_bandwidth
    {
        notes.push(format!(
            "all downloads together have {rate}: transfer.max_bandwidth"
        ));
    }
    if let Some(due) = job.hook_due.as_ref().filter(|due| due.failures > 0) {
        let at = rfc3339(due.at);
        notes.push(format!("its hook failed and is called again at {at}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use potluck_plan::{ErrorContext, JobError, JobTimes, Retry};

    use super::*;
    use crate::jobs::JobFile;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn job() -> Job {
        let id = "00000000000000ff".parse().unwrap();
        let mut job = Job::new(id, 1, NOW);
        job.files
            .push(JobFile::new("http://o/a".into(), "/tmp/a".into()));
        job.machine.resume(job.progress(), NOW).unwrap();
        job
    }

    #[test]
    fn a_wait_has_a_time_or_a_condition() {
        use Condition::{Bandwidth, Login, Network, Room};
        let times = JobTimes::default();
        for condition in [Network, Bandwidth, Room, Login] {
            let mut job = job();
            let failed = (job.machine).fail(condition.error(), Retry::OnEvent, &times, NOW);
            failed.unwrap();
            let why = Why::of(&job, &Circumstances::default());
            assert_eq!(why.retry_at, None);
            assert_eq!(why.retry_when.as_deref(), Some(condition.when()));
            assert_eq!(why.reason, condition.error().message);
        }
        let mut job = job();
        let error = JobError::new("origin_timeout", ErrorContext::Origin, "too slow");
        (job.machine)
            .fail(error, Retry::At(None), &times, NOW)
            .unwrap();
        let why = Why::of(&job, &Circumstances::default());
        let at = NOW + Duration::from_secs(600);
        assert_eq!(why.retry_at, Some(rfc3339(at)));
        assert_eq!((why.reason.as_str(), why.retry_when), ("too slow", None));
    }

    #[test]
    fn a_transfer_says_what_it_does() {
        let mut job = job();
        job.machine.start(NOW).unwrap();
        job.machine.connected(NOW).unwrap();
        let mut reasons = Vec::new();
        for phase in [
            FetchPhase::Joined,
            FetchPhase::Searching,
            FetchPhase::Flowing,
            FetchPhase::Checking,
        ] {
            let around = Circumstances {
                phase,
                max_bandwidth: Some(Rate::from_bytes_per_second(1_000)),
                ..Circumstances::default()
            };
            let why = Why::of(&job, &around);
            assert!(why.notes[0].contains("max_bandwidth"), "{why:?}");
            reasons.push(why.reason);
        }
        reasons.dedup();
        assert_eq!(reasons.len(), 4, "{reasons:?}");
    }

    #[test]
    fn a_finished_job_says_who_completes_it() {
        let mut job = job();
        job.machine.start(NOW).unwrap();
        job.machine.transferred(NOW).unwrap();
        let of = |is_completing, may_place| {
            let around = Circumstances {
                is_completing,
                may_place,
                ..Circumstances::default()
            };
            Why::of(&job, &around).reason
        };
        assert!(of(true, true).contains("being put"));
        assert!(of(false, true).contains("job complete"));
        assert!(of(false, false).contains("only its owner"));
    }
}
