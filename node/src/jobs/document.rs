//! A job as others see it: the JSON of the interface.

use std::time::SystemTime;

use potluck_plan::{Accounting, JobError, JobState, Priority};
use serde::{Deserialize, Serialize};

use super::job::{Job, JobFile, JobType};
use crate::timestamp::rfc3339;

/// A job. Sizes that are not known yet are 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDocument {
    /// 16 hexadecimal digits.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: JobType,
    /// How urgent it is.
    pub priority: Priority,
    /// Its state.
    pub state: JobState,
    /// `uid:` and the number of the user.
    pub owner: String,
    /// RFC 3339.
    pub created: String,
    /// What is wrong.
    pub error: Option<ErrorDocument>,
    /// Bytes of all files whose size is known.
    pub bytes_total: u64,
    /// Bytes that are here.
    pub bytes_transferred: u64,
    /// Where they came from.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// Its files in order.
    pub files: Vec<FileDocument>,
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
    /// Its content, once it is here.
    pub content_id: Option<String>,
    /// The origin's word for this version.
    pub validator: Option<String>,
    /// The origin's time of the last change, in RFC 3339.
    pub modified: Option<String>,
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

impl From<&Job> for JobDocument {
    fn from(job: &Job) -> Self {
        let files: Vec<FileDocument> = job.files.iter().map(FileDocument::from).collect();
        Self {
            id: job.id.to_string(),
            name: job.name.clone(),
            kind: job.kind,
            priority: job.priority,
            state: job.state(),
            owner: format!("uid:{}", job.owner),
            created: rfc3339(job.created),
            error: job.machine.error().map(ErrorDocument::from),
            bytes_total: files.iter().map(|file| file.bytes_total).sum(),
            bytes_transferred: files.iter().map(|file| file.bytes_transferred).sum(),
            accounting: job.accounting(),
            files,
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
            content_id: file.content.map(|id| id.to_string()),
            validator: file.validator.as_ref().map(ToString::to_string),
            modified: file.mtime.map(rfc3339),
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
