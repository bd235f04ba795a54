//! A job as it is kept.

use std::time::{Duration, SystemTime};

use potluck_plan::{Accounting, JobFiles, JobMachine, JobState, JobTimes, Priority, SwarmCounts};
use potluck_transfer::OriginOptions;
use serde::{Deserialize, Serialize};

use super::{CredentialKind, Hook, HookDue, JobFile, JobId};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobType {
    /// From URLs to files of this machine.
    #[default]
    Download,
}

/// One job: everything about it that survives a restart, but for its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What its owner calls it.
    pub name: String,
    /// What its owner says about it.
    #[serde(default)]
    pub description: String,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: JobType,
    /// How urgent it is.
    pub priority: Priority,
    /// The user id of its owner.
    pub owner: u32,
    /// When it was made.
    pub created: SystemTime,
    /// When the last of its files was here; `None` while one is not.
    #[serde(default)]
    pub transferred_at: Option<SystemTime>,
    /// Its state.
    pub machine: JobMachine,
    /// Whether it may take from peers, where it says so.
    pub use_peers: Option<bool>,
    /// Whether the daemon is to complete it as soon as it can.
    pub detached: bool,
    /// How long after a transient error it is tried again; `None` leaves it to the
    /// settings, here and in the next two.
    #[serde(default)]
    pub retry_delay: Option<Duration>,
    /// How long errors may go on without progress.
    #[serde(default)]
    pub no_progress_timeout: Option<Duration>,
    /// How long it may be connecting and transferring, all together.
    #[serde(default)]
    pub max_download_time: Option<Duration>,
    /// Whether it begins anew when one of its files changes at the origin.
    #[serde(default)]
    pub same_version: bool,
    /// How often in a row it was begun anew for that.
    #[serde(default)]
    pub restarts: u32,
    /// Whether it runs only while its owner is logged in.
    #[serde(default)]
    pub only_logged_in: bool,
    /// Whom to tell when all files are here.
    #[serde(default)]
    pub on_complete: Option<Hook>,
    /// Whom to tell when it fails.
    #[serde(default)]
    pub on_error: Option<Hook>,
    /// A call of one of them that has not succeeded yet.
    #[serde(default)]
    pub hook_due: Option<HookDue>,
    /// Header fields for the origins of all files: names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Names of those that are shown to nobody.
    #[serde(default)]
    pub secret_headers: Vec<String>,
    /// Which kind of credentials it has.
    #[serde(default)]
    pub credentials: Option<CredentialKind>,
    /// How the origins of its files are asked.
    #[serde(default)]
    pub origin: OriginOptions,
    /// What to transfer, in order.
    pub files: Vec<JobFile>,
}

impl Job {
    /// A new one without files: suspended, with everything as it is where nobody says
    /// otherwise.
    #[must_use]
    pub fn new(id: JobId, owner: u32, now: SystemTime) -> Self {
        Self {
            id,
            name: String::new(),
            description: String::new(),
            kind: JobType::Download,
            priority: Priority::Normal,
            owner,
            created: now,
            transferred_at: None,
            machine: JobMachine::new(now),
            use_peers: None,
            detached: false,
            retry_delay: None,
            no_progress_timeout: None,
            max_download_time: None,
            same_version: false,
            restarts: 0,
            only_logged_in: false,
            on_complete: None,
            on_error: None,
            hook_due: None,
            headers: Vec::new(),
            secret_headers: Vec::new(),
            credentials: None,
            origin: OriginOptions::default(),
            files: Vec::new(),
        }
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> JobState {
        self.machine.state()
    }

    /// How far its files are.
    #[must_use]
    pub fn progress(&self) -> JobFiles {
        JobFiles {
            total: self.files.len(),
            transferred: self
                .files
                .iter()
                .filter(|file| file.is_transferred())
                .count(),
        }
    }

    /// Where its bytes came from.
    #[must_use]
    pub fn accounting(&self) -> Accounting {
        self.files.iter().map(|file| file.accounting).sum()
    }

    /// How its files were fetched together with others; `None` where none was. The members
    /// are those of the largest swarm.
    #[must_use]
    pub fn swarm_counts(&self) -> Option<SwarmCounts> {
        let swarms = self.files.iter().filter_map(JobFile::swarm_counts);
        Some(swarms.sum()).filter(|sum: &SwarmCounts| !sum.is_nothing())
    }

    /// Its time limits, where `settings` hold for those it does not name.
    #[must_use]
    pub fn times(&self, settings: &JobTimes) -> JobTimes {
        JobTimes {
            retry_delay: self.retry_delay.unwrap_or(settings.retry_delay),
            no_progress_timeout: self
                .no_progress_timeout
                .unwrap_or(settings.no_progress_timeout),
            max_download_time: self.max_download_time.unwrap_or(settings.max_download_time),
            inactivity_timeout: settings.inactivity_timeout,
        }
    }

    /// When anything about it changed last, progress included.
    #[must_use]
    pub const fn modified(&self) -> SystemTime {
        self.machine.last_activity()
    }

    /// When it was completed or given up. Nothing changes about a job after that.
    #[must_use]
    pub fn ended(&self) -> Option<SystemTime> {
        self.state().is_final().then(|| self.modified())
    }

    /// Whether it was completed without some of its files.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let files = self.progress();
        self.state() == JobState::Acknowledged && files.transferred < files.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_times_go_before_the_settings() {
        let id = "00000000000000ff".parse().unwrap();
        let mut job = Job::new(id, 1, SystemTime::UNIX_EPOCH);
        let settings = JobTimes::default();
        assert_eq!(job.times(&settings), settings);
        job.retry_delay = Some(Duration::from_secs(7));
        let times = job.times(&settings);
        assert_eq!(times.retry_delay, Duration::from_secs(7));
        assert_eq!(times.max_download_time, settings.max_download_time);
    }
}
