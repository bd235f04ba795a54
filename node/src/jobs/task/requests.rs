//! What users ask of their jobs.

use std::sync::Arc;

use potluck_plan::{JobState, Rate};
use serde_json::json;

use super::changing::refuse_once;
use super::{JobsTask, now};
use crate::jobs::entry::Entry;
use crate::jobs::handle::{Caller, Command, NewFile};
use crate::jobs::{
    Circumstances, Job, JobDocument, JobFile, JobId, JobSecrets, Refusal, Secret, Taken, Why,
    check_destination, checks, weight,
};

impl JobsTask {
    pub(super) async fn on_command(&mut self, command: Command) {
        if command.is_abandoned() {
            return;
        }
        // Whoever asked may have gone meanwhile; then nobody needs the answer.
        match command {
            Command::Create(by, job, reply) => {
                let made = self.create(by, *job).await;
                self.note_refused(by, made.as_ref().err());
                drop(reply.send(made));
            }
            Command::CreateMany(by, jobs, reply) => {
                let made = self.create_many(by, jobs).await;
                self.note_refused(by, made.as_ref().err());
                drop(reply.send(made));
            }
            Command::Add(by, name, files, reply) => {
                drop(reply.send(self.add(by, &name, files).await));
            }
            Command::List(by, query, reply) => drop(reply.send(self.list(by, &query))),
            Command::Watch(by, name, reply) => {
                let entry = self.find(by, &name).map(|id| self.entries[&id].watch());
                drop(reply.send(entry));
            }
            Command::Resume(by, name, reply) => drop(reply.send(self.resume(by, &name).await)),
            Command::Suspend(by, name, reply) => drop(reply.send(self.suspend(by, &name).await)),
            Command::Cancel(by, name, reply) => drop(reply.send(self.cancel(by, &name).await)),
            Command::Set(by, name, changes, reply) => {
                drop(reply.send(self.set(by, &name, changes).await));
            }
            Command::TakeOver(by, name, reply) => {
                drop(reply.send(self.take_over(by, &name).await));
            }
            Command::Validate(by, name, file, good, reply) => {
                drop(reply.send(self.validate(by, &name, file, good).await));
            }
            Command::Complete(by, name, placed, reply) => match self.find(by, &name) {
                Ok(id) => self.complete(id, placed, reply).await,
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Command::Invalidate(content, reply) => {
                drop(reply.send(Ok(self.invalidate(content).await)));
            }
            Command::Take(by, name, file, reply) => drop(reply.send(self.take(by, &name, file))),
            Command::Why(by, name, reply) => {
                let why = self.find(by, &name).map(|id| {
                    let entry = &self.entries[&id];
                    Why::of(&entry.job, &self.circumstances(entry))
                });
                drop(reply.send(why));
            }
        }
    }

    fn circumstances(&self, entry: &Entry) -> Circumstances {
        let run = entry.run.as_ref();
        let max_bandwidth = self.config.max_bandwidth;
        Circumstances {
            ahead: self.schedule.ahead_of(entry.job.id.key()),
            is_completing: entry.completing.is_some(),
            may_place: entry.job.owner == self.config.own_uid,
            phase: run.map(|run| run.phase).unwrap_or_default(),
            max_bandwidth: (max_bandwidth != Rate::Unlimited).then_some(max_bandwidth),
        }
    }

    async fn add(
        &mut self,
        by: Caller,
        name: &str,
        files: Vec<NewFile>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        self.refuse_completing(id)?;
        let entry = self.entry(id)?;
        refuse_once(&entry.job)?;
        let (mut job, mut secrets) = (entry.job.clone(), entry.secrets.clone());
        let (held, owner) = (job.files.len(), job.owner);
        self.schedule.check_files(by.uid, held, files.len())?;
        self.add_files(Caller { uid: owner }, &mut job, &mut secrets, files)?;
        self.change(id, |_, entry| {
            let state = entry.job.state();
            if state.is_final() {
                return Err(potluck_plan::JobRefusal::Final(state).into());
            }
            secrets.take_from(&mut job);
            weight::check(&job, &secrets)?;
            job.files.shrink_to_fit();
            entry.job = job;
            entry.secrets = secrets;
            entry.job.machine.handle_activity(now());
            Ok(())
        })
        .await?;
        let entry = self.entry(id)?;
        if entry.job.state() == JobState::Transferred {
            let progress = entry.job.progress();
            entry.job.machine.resume(progress, now())?;
            self.follow(id);
        }
        self.begin_again(id, "files added")?;
        Ok(self.entry(id)?.show())
    }

    /// A run under way does not know what was changed; it is begun again and does.
    pub(super) fn begin_again(&mut self, id: JobId, why: &str) -> Result<(), Refusal> {
        if self.entry(id)?.job.state().is_running() {
            self.stop_run(id, why);
            self.entry(id)?.job.machine.requeue(now())?;
            self.schedule.begin_again(id.key());
        }
        Ok(())
    }

    async fn resume(&mut self, by: Caller, name: &str) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        self.refuse_completing(id)?;
        let document = self
            .change(id, |_, entry| {
                let progress = entry.job.progress();
                Ok(entry.job.machine.resume(progress, now())?)
            })
            .await?;
        self.follow(id);
        if document.state == JobState::Queued {
            self.record(id, "job_resumed", &json!({}));
        }
        Ok(document)
    }

    async fn suspend(&mut self, by: Caller, name: &str) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        self.refuse_completing(id)?;
        let document = self
            .change(id, |_, entry| Ok(entry.job.machine.suspend(now())?))
            .await?;
        self.stop_run(id, "suspended");
        self.follow(id);
        self.record(id, "job_suspended", &json!({}));
        Ok(document)
    }

    async fn cancel(&mut self, by: Caller, name: &str) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        self.refuse_completing(id)?;
        let document = self
            .change(id, |_, entry| Ok(entry.job.machine.cancel(now())?))
            .await?;
        self.stop_run(id, "cancelled");
        self.record(id, "job_cancelled", &json!({}));
        self.end(id);
        self.forget_finished().await;
        Ok(document)
    }

    fn take(&mut self, by: Caller, name: &str, index: usize) -> Result<Taken, Refusal> {
        let id = self.find(by, name)?;
        let entry = self.entry(id)?;
        let lease = entry.leases.get(&index).cloned();
        let file = entry.job.files.get(index);
        lease
            .zip(file)
            .map(|(lease, file)| Taken {
                lease,
                mtime: file.mtime,
            })
            .ok_or(Refusal::NoSuchFile(index))
    }

    pub(super) fn refuse_completing(&mut self, id: JobId) -> Result<(), Refusal> {
        match self.entry(id)?.completing {
            Some(_) => Err(Refusal::Busy),
            None => Ok(()),
        }
    }

    /// The one job that the caller may see and whose id begins so.
    pub(super) fn find(&self, by: Caller, name: &str) -> Result<JobId, Refusal> {
        let Some(ids) = JobId::beginning_with(name) else {
            return Err(Refusal::NoSuchJob(name.to_owned()));
        };
        let mut found = self
            .entries
            .range(ids)
            .filter(|(_, entry)| may_see(by, &entry.job));
        match (found.next(), found.next()) {
            (Some((id, _)), None) => Ok(*id),
            (Some(_), Some(_)) => Err(Refusal::Ambiguous(name.to_owned())),
            _ => Err(Refusal::NoSuchJob(name.to_owned())),
        }
    }

    pub(super) fn entry(&mut self, id: JobId) -> Result<&mut Entry, Refusal> {
        let entry = self.entries.get_mut(&id);
        entry.ok_or_else(|| Refusal::NoSuchJob(id.to_string()))
    }

    /// Adds files to a job that is to be kept.
    pub(super) fn add_files(
        &self,
        by: Caller,
        job: &mut Job,
        secrets: &mut JobSecrets,
        files: Vec<NewFile>,
    ) -> Result<(), Refusal> {
        for new in files {
            checks::url(&new.url)?;
            checks::headers(&new.headers)?;
            checks::headers(&new.secret_headers)?;
            checks::full_path(&new.path)?;
            // Of other users' directories this process cannot say what they may do.
            if by.uid == self.config.own_uid {
                check_destination(&new.path).map_err(Refusal::Destination)?;
            }
            let ranges = checks::ranges(new.ranges, self.config.max_ranges_per_file)?;
            if !new.secret_headers.is_empty() {
                let own = secrets.files.entry(job.files.len()).or_default();
                let secret = |(name, value)| (name, Secret::from(value));
                own.headers = new.secret_headers.into_iter().map(secret).collect();
            }
            job.files.push(JobFile {
                headers: new.headers,
                checksum: new.checksum,
                ranges,
                ..JobFile::new(new.url, new.path)
            });
        }
        Ok(())
    }
}

/// Root sees everything, everybody else what is theirs.
pub(super) const fn may_see(by: Caller, job: &Job) -> bool {
    by.uid == 0 || by.uid == job.owner
}
