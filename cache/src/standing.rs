//! What the index says about itself.

use potluck_content::ContentId;
use serde::{Deserialize, Serialize};

use crate::Usage;

/// How far the index goes, written whenever it is made durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The cache whose files it tells of: see [`Changes`](crate::changes::Changes).
    pub(crate) cache: String,
    /// The number of the last journal whose changes are all in it.
    pub(crate) generation: u64,
    /// Only when it was closed: later they may be wrong.
    pub(crate) totals: Option<Totals>,
}

/// What would else have to be counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) usage: Usage,
    /// Bytes in the small queue.
    #[serde(default)]
    pub(crate) small_bytes: u64,
    /// Contents that are kept only for their leases.
    pub(crate) uncached: Vec<ContentId>,
}

impl Standing {
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data has a JSON form")
    }

    /// What cannot be read is as good as not there.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
