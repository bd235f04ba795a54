//! What an application says of the files that came, before it completes the job.

use std::sync::Arc;

use serde_json::json;

use super::invalidating::{discard, run_again};
use super::{JobsTask, blocking, now};
use crate::jobs::handle::Caller;
use crate::jobs::{JobDocument, JobId, Refusal};

impl JobsTask {
    /// Takes a word on one finished file, as BITS does: one that is good may go to peers
    /// at once; one that is not is fetched again from the origin alone where any of it
    /// came from elsewhere, and else puts its job in error.
    pub(super) async fn validate(
        &mut self,
        by: Caller,
        name: &str,
        index: usize,
        good: bool,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        self.refuse_completing(id)?;
        let entry = self.entry(id)?;
        let state = entry.job.state();
        if state.is_final() {
            return Err(potluck_plan::JobRefusal::Final(state).into());
        }
        let file = entry.job.files.get(index);
        if !file.is_some_and(|file| file.is_transferred() && !file.placed) {
            return Err(Refusal::NoSuchFile(index));
        }
        if good {
            self.approve(id, index).await
        } else {
            self.reject(id, index).await
        }
    }

    async fn approve(&mut self, id: JobId, index: usize) -> Result<Arc<JobDocument>, Refusal> {
        let document = self
            .change(id, |_, entry| {
                if let Some(file) = entry.job.files.get_mut(index) {
                    file.validated = Some(true);
                }
                entry.job.machine.handle_activity(now());
                Ok(())
            })
            .await?;
        let file = self.entry(id)?.job.files.get(index);
        if let Some(file) = file.filter(|file| file.shareable)
            && let Some(content) = file.content
        {
            let (entity, fetcher) = (file.entity.clone(), Arc::clone(&self.fetcher));
            blocking(move || fetcher.validate(&content, entity.as_ref())).await;
        }
        let fields = json!({ "file": index, "good": true });
        self.record(id, "job_validated", &fields);
        Ok(document)
    }

    async fn reject(&mut self, id: JobId, index: usize) -> Result<Arc<JobDocument>, Refusal> {
        self.stop_run(id, "invalidated");
        let settings = self.config.times;
        let mut content = None;
        let mut by_origin = false;
        let changed = self
            .change(id, |_, entry| {
                let times = entry.job.times(&settings);
                if let Some(file) = entry.job.files.get_mut(index) {
                    content = file.content;
                    by_origin = discard(file);
                    file.validated = Some(false);
                }
                Ok(run_again(&mut entry.job, by_origin, &times)?)
            })
            .await;
        if changed.is_ok() {
            let entry = self.entry(id)?;
            entry.leases.remove(&index);
        }
        self.follow(id);
        self.schedule.begin_again(id.key());
        changed?;
        if let Some(content) = content {
            // What it is not is not found in the cache either when it is fetched again.
            let cache = self.cache.clone();
            if let Err(error) = blocking(move || cache.remove(&content)).await {
                tracing::warn!(job = %id, %content, %error, "not removed from the cache");
            }
        }
        let fields = json!({ "file": index, "good": false });
        self.record(id, "job_validated", &fields);
        if by_origin {
            self.record_error(id);
        }
        Ok(self.entry(id)?.show())
    }
}
