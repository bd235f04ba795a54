//! The names of unfinished contents.

use std::fmt;

use potluck_content::{ContentId, EntityKey, Manifest};
use serde::{Deserialize, Serialize};

/// What an unfinished content is called until its content id is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialKey {
    /// The bytes of an entity: every job that wants it can go on with them.
    Entity(EntityKey),
    /// A content whose id is known.
    Content(ContentId),
    /// Bytes that nothing but this job and file vouch for.
    Private(String),
}

/// What unfinished content is wanted, and what is known of it.
#[derive(Debug, Clone)]
pub struct PartialSpec {
    /// Its name.
    pub key: PartialKey,
    /// Its size in bytes, when the origin said it.
    pub size: Option<u64>,
    /// The proof of its pieces, when somebody gave it.
    pub manifest: Option<Manifest>,
}

impl PartialKey {
    /// The name of the partial's file.
    pub(crate) fn file_name(&self) -> String {
        match self {
            Self::Entity(key) => format!("e-{key}"),
            Self::Content(id) => format!("c-{}", id.to_hex()),
            Self::Private(text) => format!("p-{}", ContentId::of(text.as_bytes()).to_hex()),
        }
    }
}

impl fmt::Display for PartialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entity(key) => write!(f, "entity {key}"),
            Self::Content(id) => id.fmt(f),
            Self::Private(text) => f.write_str(text),
        }
    }
}
