//! Which jobs a caller is shown.

use std::sync::Arc;

use super::JobsTask;
use super::requests::may_see;
use crate::jobs::entry::Entry;
use crate::jobs::handle::Caller;
use crate::jobs::{Job, JobDocument, JobId, JobPage, JobQuery, Refusal, weight};

/// Bytes of jobs that are shown at once; one job is shown however long it is.
const PAGE: usize = 4 << 20;

impl JobsTask {
    /// The jobs that a query fits, the oldest first, and no more of them than fit in a page.
    pub(super) fn list(&self, by: Caller, query: &JobQuery) -> Result<JobPage, Refusal> {
        let order = |job: &Job| (job.created, job.id);
        let after = match &query.after {
            Some(name) => {
                let id: JobId = self.find(by, name)?;
                self.entries.get(&id).map(|entry| order(&entry.job))
            }
            None => None,
        };
        let mut entries: Vec<&Entry> = self
            .entries
            .values()
            .filter(|entry| may_see(by, &entry.job) && query.fits(&entry.job))
            .filter(|entry| after.is_none_or(|after| order(&entry.job) > after))
            .collect();
        entries.sort_unstable_by_key(|entry| order(&entry.job));
        let limit = query.limit.unwrap_or(usize::MAX);
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        for entry in &entries {
            bytes += weight::shown(&entry.job, query.brief);
            if jobs.len() >= limit || (bytes > PAGE && !jobs.is_empty()) {
                break;
            }
            jobs.push(match query.brief {
                true => Arc::new(JobDocument::brief(&entry.job)),
                false => entry.document(),
            });
        }
        let has_more = jobs.len() < entries.len();
        Ok(JobPage { jobs, has_more })
    }
}
