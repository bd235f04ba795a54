//! Jobs that are over are remembered for a while.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{JobsTask, blocking};
use crate::jobs::JobId;

/// Jobs of one owner that are over and still shown, and as many more of which a hook has
/// still to be told. Those that ended first are forgotten first.
const MAX_FINISHED: usize = 200;

impl JobsTask {
    /// Forgets what is over and more than an owner may have.
    pub(super) async fn forget_finished(&mut self) {
        let mut finished: BTreeMap<(u32, bool), Vec<(SystemTime, JobId)>> = BTreeMap::new();
        for job in self.entries.values().map(|entry| &entry.job) {
            if let Some(ended) = job.ended() {
                let kind = (job.owner, job.hook_due.is_some());
                finished.entry(kind).or_default().push((ended, job.id));
            }
        }
        let too_many = finished.into_values().flat_map(|mut jobs| {
            jobs.sort_unstable();
            let too_many = jobs.len().saturating_sub(MAX_FINISHED);
            jobs.truncate(too_many);
            jobs
        });
        for (_, id) in too_many {
            self.entries.remove(&id);
            self.settle(id).await;
            let store = self.store.clone();
            if let Err(error) = blocking(move || store.remove(id)).await {
                tracing::warn!(job = %id, %error, "a finished job could not be removed");
            }
        }
    }
}
