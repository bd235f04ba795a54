//! Which jobs a caller is shown.

use std::sync::Arc;

use super::JobsTask;
use super::requests::may_see;
use crate::jobs::entry::Entry;
use crate::jobs::handle::Caller;
use crate::jobs::{Job, JobDocument, JobId, JobQuery, Refusal};

impl JobsTask {
    /// The jobs that a query fits, the oldest first.
    pub(super) fn list(
        &self,
        by: Caller,
        query: &JobQuery,
    ) -> Result<Vec<Arc<JobDocument>>, Refusal> {
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
        entries.truncate(query.limit.unwrap_or(usize::MAX));
        let documents = entries.into_iter().map(|entry| {
            if query.brief {
                Arc::new(JobDocument::brief(&entry.job))
            } else {
                entry.document()
            }
        });
        Ok(documents.collect())
    }
}
