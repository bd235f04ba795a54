//! Making jobs.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::hooks::check_hooks;
use super::waiting::check_sessions;
use super::{JobsTask, blocking, now};
use crate::jobs::entry::Entry;
use crate::jobs::handle::{Caller, NewJob};
use crate::jobs::{Job, JobDocument, JobFile, JobId, JobSecrets, Refusal, checks, weight};

/// URLs of a new job that its event names, at most, and their bytes, but for the first: its
/// file numbers them all.
const URLS_TOLD: usize = 20;
const URL_BYTES: usize = 2_000;

/// A job that is not kept yet.
type Made = (Job, JobSecrets);

impl JobsTask {
    pub(super) async fn create(
        &mut self,
        by: Caller,
        new: NewJob,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let made = self.make(by, new)?;
        let id = made.0.id;
        self.take_in(vec![made]).await?;
        let entry = self.entries.get(&id);
        entry
            .map(Entry::document)
            .ok_or_else(|| Refusal::NoSuchJob(id.to_string()))
    }

    /// Makes all of them or none.
    pub(super) async fn create_many(
        &mut self,
        by: Caller,
        new: Vec<NewJob>,
    ) -> Result<Vec<JobId>, Refusal> {
        let jobs: Result<Vec<Made>, Refusal> =
            new.into_iter().map(|new| self.make(by, new)).collect();
        let jobs = jobs?;
        let ids = jobs.iter().map(|(job, _)| job.id).collect();
        self.take_in(jobs).await?;
        Ok(ids)
    }

    fn make(&self, by: Caller, new: NewJob) -> Result<Made, Refusal> {
        self.schedule.check_room(by.uid)?;
        self.schedule.check_files(by.uid, 0, new.files.len())?;
        let id = JobId::random().map_err(|error| Refusal::Invalid(error.to_string()))?;
        let now = now();
        let mut job = Job {
            name: checks::name(new.name)?,
            priority: new.priority,
            use_peers: new.use_peers,
            detached: new.detached,
            ..Job::new(id, by.uid, now)
        };
        let mut secrets = JobSecrets::default();
        self.add_files(by, &mut job, &mut secrets, new.files)?;
        for change in new.changes {
            change.apply(&mut job, &mut secrets)?;
        }
        check_hooks(&self.hook_rules(), &job)?;
        check_sessions(&self.surroundings(), &job)?;
        secrets.take_from(&mut job);
        secrets.bind_to(&job, &JobSecrets::default());
        weight::check(&job, &secrets)?;
        if new.start {
            job.machine.resume(job.progress(), now)?;
        }
        Ok((job, secrets))
    }

    /// Keeps new jobs, and only then lets anybody see them. When they cannot be kept, or
    /// are too many, nothing is left of them.
    async fn take_in(&mut self, made: Vec<Made>) -> Result<(), Refusal> {
        let mut added = Vec::with_capacity(made.len());
        for (job, _) in &made {
            let room = self.schedule.add(job.id.key(), job.owner, job.priority);
            if let Err(limit) = room {
                self.withdraw(&added);
                return Err(limit.into());
            }
            added.push(job.id);
        }
        let (store, secret_store) = (self.store.clone(), self.secrets.clone());
        let (jobs, secrets): (Vec<Job>, Vec<JobSecrets>) = made.into_iter().unzip();
        let saved = blocking(move || {
            // Before the jobs: those of a job that was never made are found and go.
            for (job, secrets) in jobs.iter().zip(&secrets) {
                if !secrets.is_empty() {
                    secret_store.save(job.id, secrets)?;
                }
            }
            let saved = store.save_new(&jobs);
            saved.map(|()| jobs.into_iter().zip(secrets))
        });
        let jobs = match saved.await {
            Ok(jobs) => jobs,
            Err(error) => {
                self.withdraw(&added);
                for id in added {
                    self.forget_secrets(id).await;
                }
                return Err(error.into());
            }
        };
        for (job, secrets) in jobs {
            let id = job.id;
            let urls = told_urls(&job);
            let fields = json!({ "name": job.name, "files": job.files.len(), "urls": urls });
            self.entries.insert(id, Entry::new(job, secrets));
            self.record(id, "job_created", &fields);
            self.follow(id);
        }
        Ok(())
    }

    /// Jobs that somebody wanted and did not get are events, as in BITS; who asks on and on
    /// is told of ever more rarely.
    pub(super) fn note_refused(&mut self, by: Caller, refusal: Option<&Refusal>) {
        let Some(refusal) = refusal else {
            return;
        };
        let kind = refusal.kind();
        let Some(count) = self.refusals.note(by.uid, kind, Instant::now()) else {
            return;
        };
        // What is wrong may be a URL with a password in it.
        let message = match refusal {
            Refusal::Invalid(_) => None,
            other => Some(other.to_string()),
        };
        let fields = json!({ "reason": kind, "message": message, "count": count });
        self.events.record_for(by.uid, "job_refused", fields);
    }

    fn withdraw(&mut self, jobs: &[JobId]) {
        for id in jobs {
            self.schedule.remove(id.key(), now());
        }
    }
}

/// The first of a job's URLs, as many as its event names.
fn told_urls(job: &Job) -> Vec<String> {
    let mut bytes = 0;
    let urls = job.files.iter().take(URLS_TOLD).map(JobFile::public_url);
    let told = urls.enumerate().take_while(|(number, url)| {
        bytes += url.len();
        *number == 0 || bytes <= URL_BYTES
    });
    told.map(|(_, url)| url).collect()
}
