//! What users ask of their jobs.

use std::sync::Arc;

use potluck_plan::JobState;
use serde_json::json;

use super::{JobsTask, now};
use crate::jobs::entry::Entry;
use crate::jobs::handle::{Caller, Change, Command, NewFile};
use crate::jobs::{Job, JobDocument, JobFile, JobId, Refusal, Taken, Why, check_destination};

/// A URL that is longer is refused, as in BITS.
const MAX_URL: usize = 2_200;
/// Longest name of a job.
pub(super) const MAX_NAME: usize = 256;

impl JobsTask {
    pub(super) async fn on_command(&mut self, command: Command) {
        // Whoever asked may have gone meanwhile; then nobody needs the answer.
        match command {
            Command::Create(by, job, reply) => drop(reply.send(self.create(by, *job).await)),
            Command::CreateMany(by, jobs, reply) => {
                drop(reply.send(self.create_many(by, jobs).await));
            }
            Command::Add(by, name, files, reply) => {
                drop(reply.send(self.add(by, &name, files).await));
            }
            Command::List(by, all, reply) => drop(reply.send(Ok(self.list(by, all)))),
            Command::Watch(by, name, reply) => {
                let entry = self.find(by, &name).map(|id| self.entries[&id].watch());
                drop(reply.send(entry));
            }
            Command::Resume(by, name, reply) => drop(reply.send(self.resume(by, &name).await)),
            Command::Suspend(by, name, reply) => drop(reply.send(self.suspend(by, &name).await)),
            Command::Cancel(by, name, reply) => drop(reply.send(self.cancel(by, &name).await)),
            Command::Set(by, name, change, reply) => {
                drop(reply.send(self.set(by, &name, change).await));
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
                    let ahead = self.schedule.ahead_of(id.key());
                    Why::of(&self.entries[&id].job, ahead)
                });
                drop(reply.send(why));
            }
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
        let files = self.check_files(by, files)?;
        self.change(id, |task, entry| {
            task.check_files(by.uid, entry.job.files.len(), files.len())?;
            let state = entry.job.state();
            if state.is_final() {
                return Err(potluck_plan::JobRefusal::Final(state).into());
            }
            entry.job.files.extend(files);
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
    fn begin_again(&mut self, id: JobId, why: &str) -> Result<(), Refusal> {
        if self.entry(id)?.job.state().is_running() {
            self.stop_run(id, why);
            self.entry(id)?.job.machine.requeue(now())?;
            self.schedule.begin_again(id.key());
        }
        Ok(())
    }

    fn list(&self, by: Caller, all: bool) -> Vec<Arc<JobDocument>> {
        let mut entries: Vec<&Entry> = self
            .entries
            .values()
            .filter(|entry| may_see(by, &entry.job))
            .filter(|entry| all || !entry.job.state().is_final())
            .collect();
        entries.sort_by_key(|entry| (entry.job.created, entry.job.id));
        entries.iter().map(|entry| entry.document()).collect()
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

    async fn set(
        &mut self,
        by: Caller,
        name: &str,
        change: Change,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let id = self.find(by, name)?;
        let renamed = matches!(change, Change::Name(_));
        let document = self
            .change(id, |_, entry| {
                let state = entry.job.state();
                if state.is_final() {
                    return Err(potluck_plan::JobRefusal::Final(state).into());
                }
                match change {
                    Change::Name(name) if name.len() <= MAX_NAME => entry.job.name = name,
                    Change::Name(_) => {
                        let message = format!("a job's name has at most {MAX_NAME} bytes");
                        return Err(Refusal::Invalid(message));
                    }
                    Change::Priority(priority) => entry.job.priority = priority,
                    Change::UsePeers(wish) => entry.job.use_peers = Some(wish),
                }
                entry.job.machine.handle_activity(now());
                Ok(())
            })
            .await?;
        self.schedule
            .set_priority(id.key(), document.priority, now());
        if renamed {
            return Ok(document);
        }
        self.begin_again(id, "changed")?;
        Ok(self.entry(id)?.show())
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

    /// Changes a job, keeps it, and only then lets anybody see it. When it cannot be
    /// kept it is as before.
    pub(super) async fn change(
        &mut self,
        id: JobId,
        change: impl FnOnce(&potluck_plan::Schedule, &mut Entry) -> Result<(), Refusal>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let entry = self.entries.get_mut(&id);
        let entry = entry.ok_or_else(|| Refusal::NoSuchJob(id.to_string()))?;
        let before = entry.job.clone();
        let changed = change(&self.schedule, entry);
        let kept = match changed {
            Ok(()) => self.save(id).await.map_err(Refusal::from),
            Err(refusal) => Err(refusal),
        };
        let entry = self.entry(id)?;
        if let Err(refusal) = kept {
            entry.job = before;
            return Err(refusal);
        }
        Ok(entry.show())
    }

    fn refuse_completing(&mut self, id: JobId) -> Result<(), Refusal> {
        match self.entry(id)?.completing {
            Some(_) => Err(Refusal::Busy),
            None => Ok(()),
        }
    }

    /// The one job that the caller may see and whose id begins so.
    fn find(&self, by: Caller, name: &str) -> Result<JobId, Refusal> {
        let name = name.to_ascii_lowercase();
        let mut found = self
            .entries
            .values()
            .filter(|entry| may_see(by, &entry.job))
            .map(|entry| entry.job.id)
            .filter(|id| !name.is_empty() && id.to_string().starts_with(&name));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(Refusal::Ambiguous(name)),
            _ => Err(Refusal::NoSuchJob(name)),
        }
    }

    fn entry(&mut self, id: JobId) -> Result<&mut Entry, Refusal> {
        let entry = self.entries.get_mut(&id);
        entry.ok_or_else(|| Refusal::NoSuchJob(id.to_string()))
    }

    pub(super) fn check_files(
        &self,
        by: Caller,
        files: Vec<NewFile>,
    ) -> Result<Vec<JobFile>, Refusal> {
        files
            .into_iter()
            .map(|file| {
                check_url(&file.url)?;
                check_headers(&file.headers)?;
                if !file.path.is_absolute() {
                    let path = file.path.display();
                    return Err(Refusal::Invalid(format!("{path} does not begin with /")));
                }
                // Of other users' directories this process cannot say what they may do.
                if by.uid == self.config.own_uid {
                    check_destination(&file.path).map_err(Refusal::Destination)?;
                }
                Ok(JobFile {
                    headers: file.headers,
                    checksum: file.checksum,
                    ..JobFile::new(file.url, file.path)
                })
            })
            .collect()
    }
}

/// Root sees everything, everybody else what is theirs.
const fn may_see(by: Caller, job: &Job) -> bool {
    by.uid == 0 || by.uid == job.owner
}

fn check_url(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_URL {
        let message = format!(
            "a URL has at most {MAX_URL} bytes, this one has {}",
            text.len()
        );
        return Err(Refusal::Invalid(message));
    }
    let url = url::Url::parse(text)
        .map_err(|error| Refusal::Invalid(format!("{text:?} is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(()),
        scheme => Err(Refusal::Invalid(format!(
            "{text:?}: {scheme} is not supported: use http or https"
        ))),
    }
}

fn check_headers(headers: &[(String, String)]) -> Result<(), Refusal> {
    for (name, value) in headers {
        let fits = hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && hyper::header::HeaderValue::from_str(value).is_ok();
        if !fits {
            return Err(Refusal::Invalid(format!("{name:?} is no header field")));
        }
    }
    Ok(())
}
