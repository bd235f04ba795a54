//! What is said about the cache and its contents. Sizes are bytes, times RFC 3339.

use potluck_cache::{Cache, ContentRecord, Damage, DiskUse, PartialRecord};
use potluck_content::ContentId;
use serde::{Deserialize, Serialize};

use crate::timestamp::rfc3339;

/// The cache as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheDocument {
    /// Bytes that count to the limit.
    pub bytes: u64,
    /// The limit.
    pub max_size: u64,
    /// How many contents these are.
    pub contents: u64,
    /// Contents go when nobody used them for so long.
    pub max_age_seconds: u64,
    /// Bytes of pinned contents, which count to no limit.
    #[serde(default)]
    pub pinned_bytes: u64,
    /// How many contents are pinned.
    #[serde(default)]
    pub pinned: u64,
    /// Bytes of finished contents that did not fit and stay only as long as a job needs
    /// them.
    #[serde(default)]
    pub uncached_bytes: u64,
    /// Bytes that unfinished contents take on the disk.
    #[serde(default)]
    pub partial_bytes: u64,
    /// How many unfinished contents there are.
    #[serde(default)]
    pub partials: u64,
    /// Bytes of files that were set aside because they cannot be trusted.
    #[serde(default)]
    pub aside_bytes: u64,
    /// How many files were set aside.
    #[serde(default)]
    pub aside: u64,
}

/// A content of the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContentDocument {
    /// Its name.
    pub content_id: String,
    /// Its bytes.
    pub size: u64,
    /// Whether it is vouched for, so that peers may have it.
    pub validated: bool,
    /// Whether it stays whatever the limits.
    pub pinned: bool,
    /// When it came.
    pub added: String,
    /// When it was used last.
    pub accessed: String,
    /// Whether somebody uses it now.
    pub in_use: bool,
    /// Where it came from.
    pub urls: Vec<String>,
    /// Digests that point at it.
    pub digests: Vec<String>,
}

/// An unfinished content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartialDocument {
    /// What its file is called.
    pub name: String,
    /// The content that it becomes, where that is known.
    pub content_id: Option<String>,
    /// Its size when it is complete, where that is known.
    pub size: Option<u64>,
    /// Bytes that would survive a crash.
    pub bytes_held: u64,
    /// Bytes that it takes on the disk.
    pub bytes_on_disk: u64,
    /// When it was last written to.
    pub modified: String,
    /// Whether a transfer works on it.
    pub in_use: bool,
}

/// What became of a content that was verified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifiedDocument {
    /// Its name.
    pub content_id: String,
    /// Its bytes.
    pub size: u64,
    /// What was found.
    pub result: Found,
    /// What is wrong.
    pub reason: Option<String>,
    /// The pieces that are not what they were; none where the files as a whole cannot be
    /// trusted.
    pub bad_pieces: Vec<u32>,
    /// Bytes of good pieces that are kept, so that only the rest must come again.
    pub bytes_kept: u64,
}

/// What verifying a content found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Every byte is what it was.
    Good,
    /// It is not what it was, and not served any more.
    Damaged,
    /// It cannot be read, which says nothing of its bytes: it is left where it is.
    Unreadable,
}

/// A content that was removed because it is not what it should be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InvalidatedDocument {
    /// Its name.
    pub content_id: String,
    /// The jobs that waited to be completed with it.
    pub jobs: Vec<String>,
}

/// What clearing the cache took away.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClearedDocument {
    /// How many contents went.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many are still there: pinned or in use.
    pub contents_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
}

impl CacheDocument {
    pub(super) fn of(cache: &Cache, partials: &[PartialRecord], aside: DiskUse) -> Self {
        let (limits, usage) = (cache.limits(), cache.usage());
        Self {
            bytes: usage.bytes,
            max_size: limits.max_size,
            contents: usage.contents,
            max_age_seconds: limits.max_age.as_secs(),
            pinned_bytes: usage.pinned_bytes,
            pinned: usage.pinned,
            uncached_bytes: usage.uncached_bytes,
            partial_bytes: partials.iter().map(|partial| partial.on_disk).sum(),
            partials: partials.len() as u64,
            aside_bytes: aside.bytes,
            aside: aside.files,
        }
    }
}

impl From<&ContentRecord> for ContentDocument {
    fn from(record: &ContentRecord) -> Self {
        let facts = &record.facts;
        let urls = facts.entities.iter().map(|entity| entity.url.clone());
        Self {
            content_id: record.id.to_string(),
            size: record.size,
            validated: facts.validated,
            pinned: facts.pinned,
            added: rfc3339(record.added),
            accessed: rfc3339(record.accessed),
            in_use: record.leased,
            urls: urls.collect(),
            digests: facts.digests.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&PartialRecord> for PartialDocument {
    fn from(record: &PartialRecord) -> Self {
        Self {
            name: record.name.clone(),
            content_id: record.content.map(|id| id.to_string()),
            size: record.size,
            bytes_held: record.held,
            bytes_on_disk: record.on_disk,
            modified: rfc3339(record.modified),
            in_use: record.in_use,
        }
    }
}

impl VerifiedDocument {
    pub(super) fn good(id: &ContentId, size: u64) -> Self {
        Self {
            content_id: id.to_string(),
            size,
            result: Found::Good,
            reason: None,
            bad_pieces: Vec::new(),
            bytes_kept: size,
        }
    }

    pub(super) fn unreadable(id: &ContentId, size: u64, reason: String) -> Self {
        Self {
            result: Found::Unreadable,
            reason: Some(reason),
            ..Self::good(id, size)
        }
    }

    pub(super) fn damaged(damage: &Damage, size: u64) -> Self {
        Self {
            content_id: damage.id.to_string(),
            size,
            result: Found::Damaged,
            reason: Some(damage.reason.clone()),
            bad_pieces: damage.bad_pieces.iter().map(|piece| piece.0).collect(),
            bytes_kept: damage.kept,
        }
    }
}
