//! A job as it is kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use potluck_content::{ContentId, Digest, Entity, Validator};
use potluck_plan::{Accounting, JobError, JobFiles, JobKey, JobMachine, JobState, Priority};
use serde::{Deserialize, Serialize};

use crate::public_url::public_url;

/// The name of a job: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(u64);

/// Text that names no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no job id: it has 16 hexadecimal digits")]
pub struct JobIdError(String);

impl JobId {
    /// A new one that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self(getrandom::u64()?))
    }

    /// How the queue and the governor know the job.
    #[must_use]
    pub const fn key(self) -> JobKey {
        JobKey(self.0)
    }

    /// The job that the queue knows by this key.
    #[must_use]
    pub const fn from_key(key: JobKey) -> Self {
        Self(key.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:016x}", self.0))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, JobIdError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16)
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or_else(|| JobIdError(text.to_owned()))
    }
}

impl TryFrom<String> for JobId {
    type Error = JobIdError;

    fn try_from(text: String) -> Result<Self, JobIdError> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobType {
    /// From URLs to files of this machine.
    #[default]
    Download,
}

/// One job: everything about it that survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What its owner calls it.
    pub name: String,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: JobType,
    /// How urgent it is.
    pub priority: Priority,
    /// The user id of its owner.
    pub owner: u32,
    /// When it was made.
    pub created: SystemTime,
    /// Its state.
    pub machine: JobMachine,
    /// Whether it may take from peers, where it says so.
    pub use_peers: Option<bool>,
    /// Whether the daemon is to complete it as soon as it can.
    pub detached: bool,
    /// What to transfer, in order.
    pub files: Vec<JobFile>,
}

/// One file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFile {
    /// Where it comes from.
    pub url: String,
    /// Where it goes.
    pub path: PathBuf,
    /// Header fields for the origin: names and values.
    pub headers: Vec<(String, String)>,
    /// What the whole must have.
    pub checksum: Option<Digest>,
    /// Bytes in the whole, once known.
    pub size: Option<u64>,
    /// The origin's word for this version.
    pub validator: Option<Validator>,
    /// The content, once it is here.
    pub content: Option<ContentId>,
    /// The origin's time of the last change.
    pub mtime: Option<SystemTime>,
    /// The version under which peers may find it once the job is completed.
    pub entity: Option<Entity>,
    /// Whether peers may have it once the job is completed.
    pub shareable: bool,
    /// Where bytes came from.
    pub accounting: Accounting,
    /// Whether it stands where it goes.
    pub placed: bool,
    /// What is wrong with it.
    pub error: Option<JobError>,
    /// Whether peers are not asked: what came before was not what it should be.
    #[serde(default)]
    pub from_origin: bool,
}

impl JobFile {
    /// A file of which nothing is here yet.
    #[must_use]
    pub fn new(url: String, path: PathBuf) -> Self {
        Self {
            url,
            path,
            headers: Vec::new(),
            checksum: None,
            size: None,
            validator: None,
            content: None,
            mtime: None,
            entity: None,
            shareable: false,
            accounting: Accounting::default(),
            placed: false,
            error: None,
            from_origin: false,
        }
    }

    /// Whether all of it is on this machine.
    #[must_use]
    pub const fn is_transferred(&self) -> bool {
        self.content.is_some()
    }

    /// Its URL without a password: for logs.
    #[must_use]
    pub fn public_url(&self) -> String {
        public_url(&self.url)
    }

    /// The version of the URL that is being transferred, where it is known.
    #[must_use]
    pub fn version(&self) -> Option<Entity> {
        let mut url = url::Url::parse(&self.url).ok()?;
        // Names of versions bear no passwords. Only URLs without a host refuse this.
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        url.set_fragment(None);
        Some(Entity {
            url: url.into(),
            validator: self.validator.clone()?,
            size: self.size?,
        })
    }

    /// Forgets what was transferred: it is no longer there.
    pub fn reset(&mut self) {
        self.content = None;
        self.placed = false;
        self.accounting = Accounting::default();
    }
}

impl Job {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_digits() {
        let id: JobId = "00000000000000ff".parse().unwrap();
        assert_eq!(id.key(), JobKey(255));
        assert_eq!(id.to_string(), "00000000000000ff");
        assert_eq!(JobId::from_key(id.key()), id);
        for wrong in ["", "ff", "+0000000000000ff", "00000000000000fg"] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong}");
        }
    }
}
