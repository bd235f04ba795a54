//! Completing jobs: files get to their places, contents may be served from then on.

use std::sync::Arc;

use potluck_cache::{PlaceError, Wanted, place_many};
use potluck_plan::{Completion, ErrorContext, JobError, JobState};
use serde_json::json;

use super::{JobsTask, Placed, blocking, now};
use crate::jobs::handle::Reply;
use crate::jobs::{Job, JobDocument, JobFile, JobId, Refusal};
use crate::stats::Counts;

impl JobsTask {
    /// The daemon completes a job for its owner, where it may write the owner's files.
    pub(super) fn complete_by_itself(&mut self, id: JobId) {
        let owner = self.entries.get(&id).map(|entry| entry.job.owner);
        if owner == Some(self.config.own_uid) {
            self.place(id, None);
        }
    }

    /// Somebody wants a job completed. `placed` says which files they have written.
    pub(super) async fn complete(
        &mut self,
        id: JobId,
        placed: Option<Vec<usize>>,
        reply: Reply<Arc<JobDocument>>,
    ) {
        let own_uid = self.config.own_uid;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let foreign = foreign_place(&entry.job);
        let missing = placed.iter().flatten();
        let missing = missing
            .copied()
            .find(|index| !entry.leases.contains_key(index));
        let refusal = if entry.completing.is_some() {
            Some(Refusal::Busy)
        } else if entry.job.state().is_final() {
            let state = entry.job.state();
            Some(Refusal::State(potluck_plan::JobRefusal::Final(state)))
        } else if let Some(missing) = missing {
            Some(Refusal::NoSuchFile(missing))
        } else if let Some(refusal) = foreign {
            Some(refusal)
        } else if placed.is_none()
            && entry.job.owner != own_uid
            && entry.job.progress().transferred > 0
        {
            Some(Refusal::CallerPlaces)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            // Who asked may have gone.
            let _ = reply.send(Err(refusal));
            return;
        }
        self.pause_for_completion(id);
        if let Some(placed) = placed {
            let result = self.acknowledge(id, Some(placed)).await;
            let _ = reply.send(result);
        } else {
            self.place(id, Some(reply));
        }
    }

    /// What came so far is taken: nothing more comes while it is put in its place.
    fn pause_for_completion(&mut self, id: JobId) {
        self.stop_run(id, "completed");
        self.schedule.hold(id.key(), now());
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !entry.job.state().is_running() {
            return;
        }
        if !entry.job.origin.may_repeat() {
            Self::interrupt(&self.config.times, &mut entry.job);
        } else if let Err(error) = entry.job.machine.requeue(now()) {
            tracing::debug!(job = %id, %error, "not queued again");
        }
    }

    /// Puts every finished file in its place, on the blocking pool.
    fn place(&mut self, id: JobId, reply: Option<Reply<Arc<JobDocument>>>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.completing = Some(reply);
        let files: Vec<_> = entry
            .leases
            .iter()
            .filter_map(|(index, lease)| {
                let file = entry.job.files.get(*index).filter(|file| !file.placed)?;
                Some((*index, (lease.clone(), file.path.clone(), file.mtime)))
            })
            .collect();
        self.work.spawn(async move {
            let placing = blocking(move || {
                let (places, wanted): (Vec<usize>, Vec<Wanted>) = files.into_iter().unzip();
                let results = place_many(&wanted);
                let wanted = wanted.into_iter().zip(results);
                places
                    .into_iter()
                    .zip(wanted)
                    .map(|(index, ((_, path, _), result))| (index, path, result))
                    .collect()
            });
            Some(Placed {
                job: id,
                files: placing.await,
            })
        });
    }

    pub(super) async fn on_placed(&mut self, placed: Placed) {
        let id = placed.job;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let reply = entry.completing.take().flatten();
        let mut failed = None;
        for (index, _, result) in placed.files {
            let Some(file) = entry.job.files.get_mut(index) else {
                continue;
            };
            match result {
                Ok(()) => {
                    file.placed = true;
                    file.error = None;
                }
                Err(error) => {
                    let error = place_error(&error);
                    file.error = Some(error.clone());
                    failed.get_or_insert(error);
                }
            }
        }
        let state = entry.job.state();
        let untold = state == JobState::Transferred && entry.job.transferred_at.is_none();
        let result = match failed {
            None => {
                if untold {
                    self.tell_transferred(id);
                }
                self.acknowledge(id, None).await
            }
            Some(error) => {
                // What is durable nowhere else is made so in the cache.
                let synced = !untold || self.sync_contents(id).await;
                if self.fetch_lost_again(id) {
                    tracing::debug!(job = %id, "what was lost is fetched again");
                } else if untold && synced {
                    self.tell_transferred(id);
                }
                // Its owner makes room and completes it again; what is missing goes on.
                if let Some(entry) = self.entries.get(&id) {
                    entry.tell();
                }
                self.follow(id);
                self.record(id, "job_error", &json!({ "error": error.message }));
                self.keep(id).await;
                Err(Refusal::Destination(error))
            }
        };
        if let Some(reply) = reply {
            // Who asked may have gone.
            let _ = reply.send(result);
        }
    }

    async fn sync_contents(&self, id: JobId) -> bool {
        let fetcher = Arc::clone(&self.fetcher);
        let synced = blocking(move || fetcher.sync()).await;
        if let Err(error) = &synced {
            tracing::warn!(job = %id, %error, "what came is not durable yet");
        }
        synced.is_ok()
    }

    /// Begins a finished job again that has lost something, and says whether it has.
    fn fetch_lost_again(&mut self, id: JobId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        let lost = entry.drop_lost().is_some();
        if lost
            && entry.job.state() == JobState::Transferred
            && let Err(error) = entry.job.machine.resume(entry.job.progress(), now())
        {
            tracing::warn!(job = %id, %error, "what was lost is not fetched again");
        }
        lost
    }

    /// The files are in their places: the job is over. `placed` says which files somebody
    /// else has put there.
    async fn acknowledge(
        &mut self,
        id: JobId,
        placed: Option<Vec<usize>>,
    ) -> Result<Arc<JobDocument>, Refusal> {
        let Some(entry) = self.entries.get(&id) else {
            return Err(Refusal::NoSuchJob(id.to_string()));
        };
        let contents: Vec<_> = entry
            .job
            .files
            .iter()
            .enumerate()
            .filter(|(index, file)| file.shareable && is_taken(placed.as_deref(), *index, file))
            .filter_map(|(_, file)| Some((file.content?, file.entity.clone())))
            .collect();
        // Completing a job vouches for what it brought. Before the leases go: what is
        // not cached goes with them.
        let fetcher = Arc::clone(&self.fetcher);
        blocking(move || {
            for (content, entity) in contents {
                fetcher.validate(&content, entity.as_ref());
            }
        })
        .await;
        let mut completion = Completion::Whole;
        let completed = self
            .change(id, |_, entry| {
                for (index, file) in entry.job.files.iter_mut().enumerate() {
                    let said = placed.as_ref();
                    if said.is_some_and(|placed| placed.contains(&index)) {
                        file.placed = true;
                        file.error = None;
                    } else if !is_taken(placed.as_deref(), index, file) {
                        file.reset();
                    }
                }
                completion = entry.job.machine.complete(entry.job.progress(), now())?;
                Ok(())
            })
            .await;
        // When it cannot be kept, it stays as it was and is completed again.
        let document = completed.inspect_err(|_| self.follow(id))?;
        let counts = Counts {
            jobs_completed: 1,
            ..Counts::default()
        };
        self.stats.add(counts, now());
        let whole = completion == Completion::Whole;
        self.record(
            id,
            "job_completed",
            &json!({ "whole": whole, "bytes_total": document.bytes_total }),
        );
        self.end(id);
        self.forget_finished().await;
        Ok(document)
    }
}

/// Nobody's files are written with their rights where somebody else said.
fn foreign_place(job: &Job) -> Option<Refusal> {
    let mut files = job.files.iter().enumerate();
    let (index, file, before) = files.find_map(|(index, file)| {
        let before = file.path_of.filter(|before| *before != job.owner)?;
        (file.is_transferred() && !file.placed).then_some((index, file, before))
    })?;
    Some(Refusal::NotAllowed(format!(
        "user {before}, whose job it was, said that file {index} goes to {}: say where it goes, \
         potluck job set {} path {index}=PATH",
        file.path.display(),
        job.id,
    )))
}

/// Whether a file is where it goes. One that ended since somebody else looked is not: nobody
/// has put it anywhere.
fn is_taken(placed: Option<&[usize]>, index: usize, file: &JobFile) -> bool {
    placed.is_none_or(|placed| placed.contains(&index)) || file.placed || !file.is_transferred()
}

fn place_error(error: &PlaceError) -> JobError {
    let code = match error {
        PlaceError::DirectoryMissing(_) => "directory_missing",
        PlaceError::NotADirectory(_) => "not_a_directory",
        PlaceError::IsADirectory(_) => "is_a_directory",
        PlaceError::NotWritable(_) => "not_writable",
        PlaceError::NoSpace(_) => "no_space",
        PlaceError::Damaged(_) => "cache_failed",
        PlaceError::Io { .. } => "io",
    };
    JobError::new(code, ErrorContext::LocalFile, error.to_string())
}
