//! Making jobs.

use std::sync::Arc;

use serde_json::json;

use super::requests::MAX_NAME;
use super::{JobsTask, blocking, now};
use crate::jobs::entry::Entry;
use crate::jobs::handle::{Caller, NewJob};
use crate::jobs::{Job, JobDocument, JobFile, JobId, Refusal};

impl JobsTask {
    pub(super) async fn create(
        &mut self,
        by: Caller,
        new: NewJob,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let job = self.make(by, new)?;
        let id = job.id;
        self.take_in(vec![job]).await?;
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
        let jobs: Result<Vec<Job>, Refusal> =
            new.into_iter().map(|new| self.make(by, new)).collect();
        let jobs = jobs?;
        let ids = jobs.iter().map(|job| job.id).collect();
        self.take_in(jobs).await?;
        Ok(ids)
    }

    fn make(&self, by: Caller, new: NewJob) -> Result<Job, Refusal> {
        self.schedule.check_room(by.uid)?;
        self.schedule.check_files(by.uid, 0, new.files.len())?;
        if new.name.len() > MAX_NAME {
            let message = format!("a job's name has at most {MAX_NAME} bytes");
            return Err(Refusal::Invalid(message));
        }
        let files = self.check_files(by, new.files)?;
        let id = JobId::random().map_err(|error| Refusal::Invalid(error.to_string()))?;
        let now = now();
        let mut job = Job {
            name: new.name,
            priority: new.priority,
            use_peers: new.use_peers,
            detached: new.detached,
            files,
            ..Job::new(id, by.uid, now)
        };
        if new.start {
            job.machine.resume(job.progress(), now)?;
        }
        Ok(job)
    }

    /// Keeps new jobs, and only then lets anybody see them. When they cannot be kept, or
    /// are too many, nothing is left of them.
    async fn take_in(&mut self, jobs: Vec<Job>) -> Result<(), Refusal> {
        let mut added = Vec::with_capacity(jobs.len());
        for job in &jobs {
            let room = self.schedule.add(job.id.key(), job.owner, job.priority);
            if let Err(limit) = room {
                self.withdraw(&added);
                return Err(limit.into());
            }
            added.push(job.id);
        }
        let store = self.store.clone();
        let saved = blocking(move || {
            let saved = match &jobs[..] {
                [job] => store.save(job),
                jobs => store.save_new(jobs),
            };
            saved.map(|()| jobs)
        });
        let jobs = match saved.await {
            Ok(jobs) => jobs,
            Err(error) => {
                self.withdraw(&added);
                return Err(error.into());
            }
        };
        for job in jobs {
            let id = job.id;
            let urls: Vec<String> = job.files.iter().map(JobFile::public_url).collect();
            let fields = json!({ "name": job.name, "urls": urls });
            self.entries.insert(id, Entry::new(job));
            self.record(id, "job_created", &fields);
            self.follow(id);
        }
        Ok(())
    }

    fn withdraw(&mut self, jobs: &[JobId]) {
        for id in jobs {
            self.schedule.remove(id.key(), now());
        }
    }
}
