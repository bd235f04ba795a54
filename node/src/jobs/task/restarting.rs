//! Jobs whose files must be of one time.

use potluck_plan::{ErrorContext, JobError, Retry};
use serde_json::json;

use super::{JobsTask, now};
use crate::jobs::JobId;

/// How often a job is begun anew at once. Where two servers behind one name do not agree,
/// that would go on for ever.
const MAX_RESTARTS: u32 = 3;

impl JobsTask {
    /// A file has another version at its origin than before, and the files of its job go
    /// together: all begin anew, at once or, where that did not help, after a while. Those
    /// that did not change are found in the cache.
    pub(super) async fn on_changed(&mut self, id: JobId, index: usize) {
        let now = now();
        self.stop_run(id, "changed");
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let url = entry.job.files.get(index).map(|file| file.public_url());
        for file in &mut entry.job.files {
            file.begin_anew();
        }
        entry.leases.clear();
        let at_once = entry.job.restarts < MAX_RESTARTS;
        let outcome = if at_once {
            entry.job.restarts += 1;
            entry.job.machine.requeue(now)
        } else {
            entry.job.restarts = 0;
            let times = entry.job.times(&self.config.times);
            let error = never_agree(&url.clone().unwrap_or_default());
            let machine = &mut entry.job.machine;
            machine.fail(error, Retry::At(None), &times, now)
        };
        if let Err(error) = outcome {
            tracing::warn!(job = %id, %error, "not begun anew");
        }
        let is_over = entry.job.state() == potluck_plan::JobState::Error;
        entry.tell();
        self.follow(id);
        if at_once {
            self.schedule.begin_again(id.key());
            self.record(id, "job_restarted", &json!({ "file": index, "url": url }));
        }
        if is_over {
            self.record_error(id);
        }
        self.keep(id).await;
    }
}

fn never_agree(url: &str) -> JobError {
    let message = format!(
        "the files are to be of one time, but {url} changed again after the job was begun anew \
         {MAX_RESTARTS} times"
    );
    JobError::new("origin_changed", ErrorContext::Origin, message)
}
