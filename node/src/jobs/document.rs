//! A job as others see it: the JSON of the interface.

use std::time::SystemTime;

use potluck_plan::{
    Accounting, FileRanges, JobError, JobState, OriginTrouble, Priority, SwarmCounts,
};
use potluck_transfer::OriginOptions;
use serde::{Deserialize, Serialize};

use super::{CredentialKind, Hook, Job, JobFile, JobType};
use crate::config::show_duration;
use crate::timestamp::rfc3339;

/// A job. Sizes that are not known yet are 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDocument {
    /// 16 hexadecimal digits.
    pub id: String,
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
    /// Its state.
    pub state: JobState,
    /// `uid:` and the number of the user.
    pub owner: String,
    /// RFC 3339, as the next three.
    pub created: String,
    /// When anything about it changed last, progress included.
    #[serde(default)]
    pub modified: Option<String>,
    /// When the last of its files was here; null while one is not.
    #[serde(default)]
    pub transferred: Option<String>,
    /// When it was completed or given up.
    #[serde(default)]
    pub ended: Option<String>,
    /// Whether it was completed without some of its files.
    #[serde(default)]
    pub partial: bool,
    /// What was set for it alone.
    #[serde(flatten)]
    pub settings: SettingsDocument,
    /// What is wrong.
    pub error: Option<ErrorDocument>,
    /// How many files it has.
    #[serde(default)]
    pub files_total: usize,
    /// How many of them are here.
    #[serde(default)]
    pub files_transferred: usize,
    /// Bytes of all files whose size is known.
    pub bytes_total: u64,
    /// Bytes that are here.
    pub bytes_transferred: u64,
    /// Where they came from.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// How they were fetched together with others; null where none was.
    #[serde(default)]
    pub swarm: Option<SwarmCounts>,
    /// Its files in order.
    pub files: Vec<FileDocument>,
}

/// What was set for a job alone; null leaves it to the settings of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingsDocument {
    /// Whether it may take from peers.
    pub use_peers: Option<bool>,
    /// Whether the daemon completes it.
    pub detached: bool,
    /// How long after a transient error it is tried again, such as `600s`.
    pub retry_delay: Option<String>,
    /// How long errors may go on without progress.
    pub no_progress_timeout: Option<String>,
    /// How long it may be connecting and transferring, all together.
    pub max_download_time: Option<String>,
    /// How its origins are asked.
    #[serde(flatten)]
    pub origin: OriginOptions,
    /// Whether it begins anew when one of its files changes at the origin.
    pub same_version: bool,
    /// Whether it runs only while its owner is logged in.
    pub only_logged_in: bool,
    /// Whom to tell when all files are here.
    pub on_complete: Option<Hook>,
    /// Whom to tell when it fails.
    pub on_error: Option<Hook>,
    /// Header fields for the origins of all files.
    pub headers: Vec<(String, String)>,
    /// Names of those that are shown to nobody.
    pub secret_headers: Vec<String>,
    /// Which kind of credentials it has.
    pub credentials: Option<CredentialKind>,
}

/// One file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDocument {
    /// Where it comes from.
    pub url: String,
    /// Where it goes.
    pub path: String,
    /// Its size in bytes; 0 while it is not known.
    pub bytes_total: u64,
    /// Bytes that are here.
    pub bytes_transferred: u64,
    /// Where they came from.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// How it was fetched together with others; null where it was not.
    #[serde(default)]
    pub swarm: Option<SwarmCounts>,
    /// Its content, once it is here.
    pub content_id: Option<String>,
    /// The origin's word for this version.
    pub validator: Option<String>,
    /// The origin's time of the last change, in RFC 3339.
    pub modified: Option<String>,
    /// Where the origin sent us, if not to the URL.
    #[serde(default)]
    pub final_url: Option<String>,
    /// The parts of the file that are wanted; null is the whole.
    #[serde(default)]
    pub ranges: Option<FileRanges>,
    /// Header fields for the origin.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Names of those that are shown to nobody.
    #[serde(default)]
    pub secret_headers: Vec<String>,
    /// Header fields of the origin's last answer.
    #[serde(default)]
    pub response_headers: Vec<(String, String)>,
    /// What makes its origin hard to fetch from: `no_ranges`, `no_length`,
    /// `no_validator`, `encoded`, `http_1_0`, `changed`, `inconsistent`,
    /// `stale_manifest`.
    #[serde(default)]
    pub troubles: Vec<OriginTrouble>,
    /// What the application says of what came, once it does.
    #[serde(default)]
    pub validated: Option<bool>,
    /// What is wrong with it.
    pub error: Option<ErrorDocument>,
}

/// What is wrong with a job or a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// A short fixed word.
    pub code: String,
    /// Which part of the work failed.
    pub context: potluck_plan::ErrorContext,
    /// One sentence for people.
    pub message: String,
    /// When it is tried again, in RFC 3339.
    pub retry_at: Option<String>,
}

impl JobDocument {
    /// Without its files.
    #[must_use]
    pub fn brief(job: &Job) -> Self {
        let problem = match job.state() {
            // A file that cannot be placed does not change the state of its job.
            JobState::Transferred => job.files.iter().find_map(|file| file.error.as_ref()),
            _ => job.machine.error(),
        };
        let progress = job.progress();
        let is_whole = progress.transferred == progress.total;
        let transferred = job.transferred_at.filter(|_| is_whole);
        Self {
            id: job.id.to_string(),
            name: job.name.clone(),
            description: job.description.clone(),
            kind: job.kind,
            priority: job.priority,
            state: job.state(),
            owner: format!("uid:{}", job.owner),
            created: rfc3339(job.created),
            modified: Some(rfc3339(job.modified())),
            transferred: transferred.map(rfc3339),
            ended: job.ended().map(rfc3339),
            partial: job.is_partial(),
            settings: SettingsDocument::from(job),
            error: problem.map(ErrorDocument::from),
            files_total: progress.total,
            files_transferred: progress.transferred,
            bytes_total: job.files.iter().filter_map(|file| file.size).sum(),
            bytes_transferred: job.accounting().total(),
            accounting: job.accounting(),
            swarm: job.swarm_counts(),
            files: Vec::new(),
        }
    }
}

impl From<&Job> for JobDocument {
    fn from(job: &Job) -> Self {
        Self {
            files: job.files.iter().map(FileDocument::from).collect(),
            ..Self::brief(job)
        }
    }
}

impl From<&Job> for SettingsDocument {
    fn from(job: &Job) -> Self {
        Self {
            use_peers: job.use_peers,
            detached: job.detached,
            retry_delay: job.retry_delay.map(show_duration),
            no_progress_timeout: job.no_progress_timeout.map(show_duration),
            max_download_time: job.max_download_time.map(show_duration),
            origin: job.origin.clone(),
            same_version: job.same_version,
            only_logged_in: job.only_logged_in,
            on_complete: job.on_complete.clone(),
            on_error: job.on_error.clone(),
            headers: job.headers.clone(),
            secret_headers: job.secret_headers.clone(),
            credentials: job.credentials,
        }
    }
}

impl From<&JobFile> for FileDocument {
    fn from(file: &JobFile) -> Self {
        Self {
            url: file.url.clone(),
            path: file.path.display().to_string(),
            bytes_total: file.size.unwrap_or(0),
            bytes_transferred: file.accounting.total(),
            accounting: file.accounting,
            swarm: file.swarm_counts(),
            content_id: file.content.map(|id| id.to_string()),
            validator: file.validator.as_ref().map(ToString::to_string),
            modified: file.mtime.map(rfc3339),
            final_url: file.final_url.clone(),
            ranges: file.ranges.clone(),
            headers: file.headers.clone(),
            secret_headers: file.secret_headers.clone(),
            response_headers: file.response_headers.clone(),
            troubles: file.troubles.clone(),
            validated: file.validated,
            error: file.error.as_ref().map(ErrorDocument::from),
        }
    }
}

impl From<&JobError> for ErrorDocument {
    fn from(error: &JobError) -> Self {
        Self {
            code: error.code.clone(),
            context: error.context,
            message: error.message.clone(),
            retry_at: error.retry_at.map(|at: SystemTime| rfc3339(at)),
        }
    }
}
