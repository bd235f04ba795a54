//! Changing jobs: their properties, and whose they are.

use std::sync::Arc;

use potluck_plan::JobRefusal;
use potluck_plan::Schedule;
use serde_json::json;

use super::hooks::check_hooks;
use super::waiting::check_sessions;
use super::{JobsTask, blocking, now};
use crate::jobs::change::Effect;
use crate::jobs::entry::Entry;
use crate::jobs::handle::Caller;
use crate::jobs::{Change, Job, JobDocument, JobId, JobSecrets, Refusal, StoreError, weight};

impl JobsTask {
    /// Makes changes: all of them, or none when one is refused.
    pub(super) async fn set(
        &mut self,
        by: Caller,
        name: &str,
        changes: Vec<Change>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        self.refuse_completing(id)?;
        let mut effect = Effect::None;
        let keys: Vec<&str> = changes.iter().map(Change::key).collect();
        let has_hook = keys.iter().any(|key| key.starts_with("on_"));
        let (rules, around) = (self.hook_rules(), self.surroundings());
        let document = self
            .change(id, |_, entry| {
                refuse_final(entry)?;
                let may_begin_again = refuse_once(&entry.job);
                for change in changes {
                    effect = effect.max(change.apply(&mut entry.job, &mut entry.secrets)?);
                }
                if effect >= Effect::Run {
                    may_begin_again?;
                }
                if has_hook {
                    check_hooks(&rules, &entry.job)?;
                }
                check_sessions(&around, &entry.job)?;
                entry.secrets.take_from(&mut entry.job);
                weight::check(&entry.job, &entry.secrets)?;
                entry.job.machine.handle_activity(now());
                Ok(())
            })
            .await?;
        self.record(id, "job_changed", &json!({ "properties": keys }));
        let key = id.key();
        self.schedule.set_priority(key, document.priority, now());
        self.follow(id);
        if effect < Effect::Run {
            return Ok(document);
        }
        self.begin_again(id, "changed")?;
        Ok(self.entry(id)?.show())
    }

    /// Makes a job root's.
    pub(super) async fn take_over(
        &mut self,
        by: Caller,
        name: &str,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        if by.uid != 0 {
            let message = "only root takes jobs over: sudo potluck job takeover";
            return Err(Refusal::NotAllowed(message.to_owned()));
        }
        self.refuse_completing(id)?;
        let before = self.entry(id)?.job.owner;
        self.change(id, |_, entry| {
            refuse_final(entry)?;
            refuse_once(&entry.job)?;
            entry.secrets = JobSecrets::default();
            let job = &mut entry.job;
            job.owner = by.uid;
            job.on_complete = None;
            job.on_error = None;
            job.hook_due = None;
            // Root's node would write where the former owner may not.
            job.detached = false;
            job.headers.clear();
            // Files that the node would read with root's rights from now on.
            job.origin.client_certificate = None;
            job.origin.ca_files.clear();
            for file in &mut job.files {
                file.headers.clear();
                // Whose files these are root says before they are written.
                file.path_of.get_or_insert(before);
            }
            entry.secrets.take_from(job);
            entry.job.machine.handle_activity(now());
            Ok(())
        })
        .await?;
        self.schedule.set_owner(id.key(), by.uid);
        let fields = json!({ "owner_before": format!("uid:{before}") });
        self.record(id, "job_taken_over", &fields);
        self.begin_again(id, "taken over")?;
        Ok(self.entry(id)?.show())
    }

    /// Changes a job, keeps it, and only then lets anybody see it. When it cannot be
    /// kept it is as before.
    pub(super) async fn change(
        &mut self,
        id: JobId,
        change: impl FnOnce(&Schedule, &mut Entry) -> Result<(), Refusal>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let entry = self.entries.get_mut(&id);
        let entry = entry.ok_or_else(|| Refusal::NoSuchJob(id.to_string()))?;
        let before = (entry.job.clone(), entry.secrets.clone());
        let changed = change(&self.schedule, entry);
        if let Err(refusal) = changed {
            (entry.job, entry.secrets) = before;
            return Err(refusal);
        }
        entry.secrets.bind_to(&entry.job, &before.1);
        let others = entry.secrets != before.1;
        if let Err(error) = self.save_both(id, others).await {
            let entry = self.entry(id)?;
            (entry.job, entry.secrets) = before;
            // A disk that failed at the last has kept what nobody was told of.
            if let Err(error) = self.save_both(id, others).await {
                tracing::warn!(job = %id, %error, "the job from before cannot be kept");
            }
            return Err(error.into());
        }
        let entry = self.entry(id)?;
        Ok(entry.show())
    }

    async fn save_both(&mut self, id: JobId, with_secrets: bool) -> Result<(), StoreError> {
        if with_secrets {
            self.save_secrets(id).await?;
        }
        self.save(id).await
    }

    pub(super) async fn save_secrets(&self, id: JobId) -> Result<(), StoreError> {
        let Some(entry) = self.entries.get(&id) else {
            return Ok(());
        };
        let (store, secrets) = (self.secrets.clone(), entry.secrets.clone());
        blocking(move || store.save(id, &secrets)).await
    }

    /// The secrets of a job that is over, or was never made.
    pub(super) async fn forget_secrets(&mut self, id: JobId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.secrets = JobSecrets::default();
        }
        let store = self.secrets.clone();
        if let Err(error) = blocking(move || store.remove(id)).await {
            tracing::warn!(job = %id, %error, "secrets cannot be removed");
        }
    }
}

/// What is sent once only is not begun again because something of it changes.
pub(super) fn refuse_once(job: &Job) -> Result<(), Refusal> {
    let once = job.state().is_running() && !job.origin.may_repeat();
    (!once).then_some(()).ok_or(Refusal::Once)
}

fn refuse_final(entry: &Entry) -> Result<(), Refusal> {
    let state = entry.job.state();
    if state.is_final() {
        return Err(JobRefusal::Final(state).into());
    }
    Ok(())
}
