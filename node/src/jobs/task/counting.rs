//! What came for jobs goes into the counters of the node.

use std::slice::SliceIndex;

use potluck_plan::SwarmCounts;

use super::{JobsTask, now};
use crate::jobs::{JobFile, JobId};
use crate::stats::Counts;

impl JobsTask {
    /// Counts what came for these files of a job since that was last done: when a file is
    /// here, and when what was on its way ends, however it does.
    pub(super) fn count<F>(&mut self, id: JobId, files: F)
    where
        F: SliceIndex<[JobFile], Output = [JobFile]>,
    {
        let entry = self.entries.get_mut(&id);
        let Some(files) = entry.and_then(|entry| entry.job.files.get_mut(files)) else {
            return;
        };
        let swarm: SwarmCounts = (files.iter_mut())
            .map(JobFile::take_uncounted_of_swarm)
            .sum();
        let counts = Counts {
            bytes_audited: swarm.audited_bytes,
            claims_taken_over: swarm.taken_over,
            got: files.iter_mut().map(JobFile::take_uncounted).sum(),
            ..Counts::default()
        };
        self.stats.add(counts, now());
    }
}
