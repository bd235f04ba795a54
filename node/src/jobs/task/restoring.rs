//! Taking up the jobs of the process before.

use std::collections::BTreeMap;

use potluck_plan::JobState;

use super::{JobsTask, now};
use crate::jobs::entry::Entry;
use crate::jobs::{Job, JobId, JobSecrets};

impl JobsTask {
    /// A job that was there before this process began.
    pub(super) fn restore(&mut self, mut job: Job) {
        let now = now();
        let id = job.id;
        if job.state().is_final() {
            self.entries
                .insert(id, Entry::new(job, JobSecrets::default()));
            self.remember_hook(id);
            return;
        }
        let secrets = self.take_up_secrets(&mut job);
        let mut leases = BTreeMap::new();
        let mut is_lost = false;
        for (index, file) in job.files.iter_mut().enumerate() {
            match file.content.map(|content| self.cache.lease(&content)) {
                Some(Some(lease)) => drop(leases.insert(index, lease)),
                // What was finished is gone from the disk: it is fetched again.
                Some(None) => {
                    file.reset();
                    is_lost = true;
                }
                None => {}
            }
        }
        self.schedule.restore(id.key(), job.owner, job.priority);
        let was_running = job.state().is_running();
        job.machine.handle_restart(now);
        if job.state() == JobState::Transferred
            && let Err(error) = job.machine.resume(job.progress(), now)
        {
            tracing::warn!(job = %id, %error, "a finished job stays as it is");
        }
        let was_under_way = was_running || is_lost && job.state() == JobState::Queued;
        if was_under_way && !job.origin.may_repeat() {
            Self::interrupt(&self.config.times, &mut job);
            self.interrupted.push(id);
        }
        let mut entry = Entry::new(job, secrets);
        entry.leases = leases;
        entry.tell();
        self.entries.insert(id, entry);
        self.remember_hook(id);
        self.follow(id);
    }

    /// The secrets of a job. Those that an earlier version kept in its record are taken
    /// out of it. Blocks.
    fn take_up_secrets(&self, job: &mut Job) -> JobSecrets {
        let mut secrets = self.secrets.load(job.id);
        if secrets.keep_bound(job) {
            tracing::warn!(job = %job.id, "its secrets are for other origins than it has: not sent");
        }
        if !JobSecrets::may_be_in(job) {
            return secrets;
        }
        let (kept, before) = (secrets.clone(), job.clone());
        secrets.take_from(job);
        if secrets != kept {
            let saved = self.secrets.save(job.id, &secrets);
            if let Err(error) = saved.and_then(|()| self.store.save(job)) {
                tracing::warn!(job = %job.id, %error, "secrets stay in the record of a job");
                *job = before;
                return kept;
            }
        }
        secrets
    }

    /// Says of the jobs that were interrupted that they are, and keeps them so.
    pub(super) async fn tell_interrupted(&mut self) {
        for id in std::mem::take(&mut self.interrupted) {
            self.record_error(id);
            self.keep(id).await;
        }
    }

    /// Completes the jobs that were to be completed when the process before ended, or
    /// that it could not complete.
    pub(super) fn complete_detached(&mut self) {
        let waiting: Vec<JobId> = self
            .entries
            .values()
            .map(|entry| &entry.job)
            .filter(|job| job.detached && job.state() == JobState::Transferred)
            .map(|job| job.id)
            .collect();
        for id in waiting {
            self.complete_by_itself(id);
        }
    }
}
