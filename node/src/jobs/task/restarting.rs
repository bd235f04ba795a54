//! Jobs whose files must be of one time.

use serde_json::json;

use super::{JobsTask, now};
use crate::jobs::JobId;

impl JobsTask {
    /// A file has another version at its origin than before, and the files of its job go
    /// together: all begin anew. Those that did not change are found in the cache.
    pub(super) async fn on_changed(&mut self, id: JobId, index: usize) {
        self.stop_run(id, "changed");
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let url = entry.job.files.get(index).map(|file| file.public_url());
        for file in &mut entry.job.files {
            file.begin_anew();
        }
        entry.leases.clear();
        if let Err(error) = entry.job.machine.requeue(now()) {
            tracing::warn!(job = %id, %error, "not begun anew");
        }
        entry.tell();
        self.follow(id);
        self.schedule.begin_again(id.key());
        self.record(id, "job_restarted", &json!({ "file": index, "url": url }));
        self.keep(id).await;
    }
}
