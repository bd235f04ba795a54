//! How a file was fetched together with others, as it is kept.

use potluck_plan::SwarmCounts;
use serde::{Deserialize, Serialize};

/// What a file's swarm did, and what of that the counters of the node have. Most files
/// have none, so it is boxed where there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSwarm {
    /// What it did.
    pub counts: SwarmCounts,
    /// What the counters have.
    pub counted: SwarmCounts,
}

impl FileSwarm {
    /// What the counters of the node do not have yet, and have from here on.
    pub(super) fn take_uncounted(&mut self) -> SwarmCounts {
        let news = self.counts.beyond(&self.counted);
        self.counted = self.counts;
        news
    }
}
