//! Files that were found not to be what they should be.

use potluck_content::ContentId;
use potluck_plan::{Accounting, ErrorContext, JobError, JobState, Retry};
use serde_json::json;

use super::{JobsTask, now};
use crate::jobs::entry::Entry;
use crate::jobs::{Job, JobFile, JobId};

impl JobsTask {
    /// Takes a content from the jobs that wait to be completed with it. As in BITS, a file
    /// of which anything came from elsewhere than the origin is fetched again, from the
    /// origin alone; one that the origin itself gave puts its job in error. Gives these
    /// jobs.
    pub(super) async fn invalidate(&mut self, content: ContentId) -> Vec<JobId> {
        let waits = |entry: &Entry| {
            let has_it = entry
                .job
                .files
                .iter()
                .any(|file| file.content == Some(content));
            has_it && !entry.job.state().is_final() && entry.completing.is_none()
        };
        let entries = self.entries.iter().filter(|(_, entry)| waits(entry));
        let ids: Vec<JobId> = entries.map(|(id, _)| *id).collect();
        for id in &ids {
            self.invalidate_in(*id, content).await;
        }
        ids
    }

    async fn invalidate_in(&mut self, id: JobId, content: ContentId) {
        self.stop_run(id, "invalidated");
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let mut by_origin = false;
        for (index, file) in entry.job.files.iter_mut().enumerate() {
            if file.content == Some(content) {
                by_origin |= discard(file);
                entry.leases.remove(&index);
            }
        }
        let times = entry.job.times(&self.config.times);
        if let Err(error) = run_again(&mut entry.job, by_origin, &times) {
            tracing::warn!(job = %id, %error, "not begun again");
        }
        entry.tell();
        self.follow(id);
        self.schedule.begin_again(id.key());
        let fields = json!({ "content_id": content.to_string() });
        self.record(id, "job_invalidated", &fields);
        if by_origin {
            self.record_error(id);
        }
        self.keep(id).await;
    }
}

/// Takes what came out of a file; it is to come from the origin alone then. Says whether
/// it did.
pub(super) fn discard(file: &mut JobFile) -> bool {
    let had = file.accounting;
    file.reset();
    file.accounting.discarded = had.received();
    file.from_origin = true;
    is_of_origin(&had)
}

/// Whether nobody but the origin gave any of it.
const fn is_of_origin(from: &Accounting) -> bool {
    from.peers == 0 && from.cache == 0
}

/// Queues a job that runs or was done. One whose origin gave what is wrong is in error.
pub(super) fn run_again(
    job: &mut Job,
    by_origin: bool,
    times: &potluck_plan::JobTimes,
) -> Result<(), potluck_plan::JobRefusal> {
    let now = now();
    match job.state() {
        JobState::Connecting | JobState::Transferring => job.machine.requeue(now)?,
        JobState::Transferred => job.machine.resume(job.progress(), now)?,
        _ => {}
    }
    if by_origin && job.state() == JobState::Queued {
        let message = "what the origin gave was found not to be what it should be; \
            `potluck job resume` fetches it again";
        let error = JobError::new("validation_failed", ErrorContext::Origin, message);
        job.machine.fail(error, Retry::Never, times, now)?;
    }
    Ok(())
}
