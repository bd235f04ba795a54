//! What a transfer is asked and what it answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use potluck_cache::{CacheError, Lease};
use potluck_content::{ContentId, Digest, Entity, Validator};
use potluck_plan::{
    Accounting, ErrorContext, FileRanges, JobKey, OriginTrouble, Priority, SwarmCounts,
};

use crate::origin::{OriginError, OriginOptions};

/// One file that a job wants.
#[derive(Clone, Debug)]
pub struct FileRequest {
    /// Its URL.
    pub url: String,
    /// Headers to send to the origin.
    pub headers: Vec<(String, String)>,
    /// The user on whose behalf: files that the options name are read only where that
    /// user may read them. `None`: whoever runs the node.
    pub owner: Option<u32>,
    /// How the origin is asked.
    pub options: Arc<OriginOptions>,
    /// The parts that are wanted, put together; the whole where there are none.
    pub ranges: Option<FileRanges>,
    /// What the whole must hash to, if the job knows; of ranges, what they make
    /// together.
    pub checksum: Option<Digest>,
    /// Whether peers may be asked.
    pub use_peers: bool,
    /// Whether it may be shared although the origin's answer is personal.
    pub share_personal: bool,
    /// Whether it is for this job alone whatever the origin says: its URL is a link that
    /// was given to the job.
    pub for_itself: bool,
    /// Of the job.
    pub priority: Priority,
    /// The job, for rates.
    pub job: JobKey,
    /// A name of job and file that stays the same over restarts; bytes that may not be
    /// shared are kept under it until they are complete.
    pub name: String,
    /// What an earlier attempt counted: tells where bytes on disk came from.
    pub before: Accounting,
    /// How it went with the swarm in earlier attempts.
    pub swarm_before: SwarmCounts,
    /// Where a copy may grow while the bytes come, which [`Lease::place`] finishes there.
    pub destination: Option<PathBuf>,
}

impl FileRequest {
    /// A request with the usual settings.
    #[must_use]
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            owner: None,
            options: Arc::default(),
            ranges: None,
            checksum: None,
            use_peers: true,
            share_personal: false,
            for_itself: false,
            priority: Priority::Normal,
            job: JobKey(0),
            name: name.into(),
            before: Accounting::default(),
            swarm_before: SwarmCounts::default(),
            destination: None,
        }
    }
}

/// What a transfer does now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// Asking the origin what the URL names.
    #[default]
    Asking,
    /// Another transfer of the same content is under way; waiting for its end.
    Joined,
    /// Asking peers who holds it.
    Searching,
    /// Bytes flow, or should.
    Transferring,
    /// Checking the whole.
    Checking,
}

/// How far a transfer is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// What it does now.
    pub stage: Stage,
    /// Bytes in the whole, once known.
    pub size: Option<u64>,
    /// The version, once known.
    pub validator: Option<Validator>,
    /// Bytes so far. While [`Stage::Joined`], those of the other transfer, as cached.
    pub accounting: Accounting,
    /// How it went with the swarm so far, earlier attempts included. The bytes of audits
    /// are a part of the discarded.
    pub swarm: SwarmCounts,
    /// The content, once something proves it.
    pub content: Option<ContentId>,
    /// Peers that hold it and take part.
    pub peers: usize,
    /// What makes the origin hard to fetch from, as far as it showed.
    pub troubles: Vec<OriginTrouble>,
}

impl Progress {
    /// Notes what makes the origin hard to fetch from.
    pub(crate) fn note(&mut self, trouble: OriginTrouble) {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }
}

/// A file that is complete.
#[derive(Clone, Debug)]
pub struct FileDone {
    /// The bytes.
    pub lease: Lease,
    /// The content.
    pub content_id: ContentId,
    /// Its size in bytes.
    pub size: u64,
    /// The version of the URL.
    pub validator: Option<Validator>,
    /// When the origin last changed it.
    pub mtime: Option<SystemTime>,
    /// Where redirects led, where there were any.
    pub final_url: Option<String>,
    /// Fields of the origin's last answer: 64 at most, of 16 KiB together, and none that
    /// sets a cookie.
    pub response_headers: Vec<(String, String)>,
    /// What makes the origin hard to fetch from, as far as it showed.
    pub troubles: Vec<OriginTrouble>,
    /// The version under which others may find it; `None` when it is not to be shared
    /// or has no validator.
    pub entity: Option<Entity>,
    /// Whether peers may have it once the job has accepted it: then
    /// [`EngineHandle::validate`](crate::EngineHandle::validate) is called.
    pub shareable: bool,
    /// Where its bytes came from: peers, origin and cache add up to its size.
    pub accounting: Accounting,
    /// How it went with the swarm, earlier attempts included.
    pub swarm: SwarmCounts,
}

/// A transfer that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransferError {
    /// A short fixed word.
    pub code: &'static str,
    /// Which part of the work failed.
    pub context: ErrorContext,
    /// One sentence for people.
    pub message: String,
    /// Whether trying again, with nothing else changed, can help.
    pub retryable: bool,
    /// How long the other side wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What was counted until then.
    pub accounting: Accounting,
}

impl TransferError {
    pub(crate) fn new(
        code: &'static str,
        context: ErrorContext,
        message: impl Into<String>,
        retryable: bool,
    ) -> Self {
        Self {
            code,
            context,
            message: message.into(),
            retryable,
            retry_after: None,
            accounting: Accounting::default(),
        }
    }
}

impl TransferError {
    pub(crate) fn internal(error: &tokio::task::JoinError) -> Self {
        Self::new(
            "internal",
            ErrorContext::Queue,
            format!("a part of the transfer broke down: {error}"),
            true,
        )
    }
}

impl From<OriginError> for TransferError {
    fn from(error: OriginError) -> Self {
        let retryable = error.is_transient();
        let mut failed = Self::new(
            error.code(),
            ErrorContext::Origin,
            error.to_string(),
            retryable,
        );
        failed.retry_after = error.retry_after();
        failed
    }
}

impl From<CacheError> for TransferError {
    fn from(error: CacheError) -> Self {
        let (code, retryable) = match &error {
            CacheError::NoSpace { .. } => ("no_space", true),
            CacheError::TooLarge(_) => ("too_large", false),
            CacheError::Endless { .. } => ("origin_endless", false),
            CacheError::Busy(_) => ("content_busy", true),
            _ => ("cache_failed", true),
        };
        let context = match &error {
            CacheError::Endless { .. } => ErrorContext::Origin,
            _ => ErrorContext::LocalFile,
        };
        Self::new(code, context, error.to_string(), retryable)
    }
}
