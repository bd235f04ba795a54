//! Runs of jobs: beginning, hearing of, stopping them.

use std::collections::BTreeSet;
use std::sync::Arc;

use potluck_plan::{Condition, ErrorContext, JobError, JobState, JobTimes, OriginTrouble, Retry};
use potluck_transfer::Redirects;
use serde_json::json;

use super::{JobsTask, now};
use crate::jobs::entry::Run;
use crate::jobs::fetch::{FetchError, Fetched};
use crate::jobs::recheck::is_other;
use crate::jobs::runner::{News, Runner, Update};
use crate::jobs::{FetchPhase, FetchProgress, HookCause, Job, JobId, StoreError};

impl JobsTask {
    pub(super) async fn start_run(&mut self, id: JobId) {
        if self.is_kept_waiting(id) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Err(error) = entry.job.machine.start(now()) {
            tracing::debug!(job = %id, %error, "not started");
            self.follow(id);
            return;
        }
        if !entry.job.origin.may_repeat()
            && let Err(error) = self.save(id).await
        {
            return self.on_unkept(id, &error);
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        self.runs += 1;
        let wish = entry.job.use_peers.unwrap_or(!self.config.peers_opt_in);
        let use_peers = self.config.use_peers && wish;
        let by_itself = entry.job.owner == self.config.own_uid;
        let runner = Runner {
            job: id,
            run: self.runs,
            files: entry.unfinished(use_peers, by_itself),
            finished: entry.finished_versions(),
            syncs: !(entry.job.detached && by_itself),
            fetcher: Arc::clone(&self.fetcher),
            updates: self.updates_in.clone(),
        };
        let task = self.work.spawn(async move {
            runner.run().await;
            None
        });
        entry.run = Some(Run {
            number: self.runs,
            files: BTreeSet::new(),
            task,
            phase: FetchPhase::default(),
        });
        entry.tell();
        self.follow(id);
    }

    /// A job that is run only once could not be kept as one that runs: then it does not.
    fn on_unkept(&mut self, id: JobId, error: &StoreError) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let times = entry.job.times(&self.config.times);
        let error = JobError::new("not_kept", ErrorContext::Queue, error.to_string());
        fail(&mut entry.job, error, Retry::At(None), &times);
        entry.tell();
        self.follow(id);
    }

    /// What a job was doing may be done already: it is for its owner to say whether it is to
    /// be done again.
    pub(super) fn interrupt(times: &JobTimes, job: &mut Job) {
        let message = "the request was under way when it was stopped; whether it was carried out \
            is not known, so it is not sent again unless the job is resumed";
        let error = JobError::new("interrupted", ErrorContext::Origin, message);
        let times = job.times(times);
        fail(job, error, Retry::Never, &times);
    }

    /// Stops the run of a job, if there is one; what came stays for the next.
    pub(super) fn stop_run(&mut self, id: JobId, status: &str) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let files = entry.stop_run();
        self.count(id, ..);
        for file in files {
            self.record_stopped(id, file, status);
        }
    }

    pub(super) async fn on_update(&mut self, update: Update) {
        let id = update.job;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !entry.is_run(update.run) {
            return;
        }
        match update.news {
            News::Started(file) => {
                if let Some(run) = &mut entry.run {
                    run.files.insert(file);
                }
                let secrets = entry.secrets.headers_of(file, &[], &[]);
                if let Some(shown) = entry.job.files.get_mut(file) {
                    shown.error = None;
                    let url = shown.public_url();
                    let fields = json!({ "url": url, "path": shown.path });
                    let knows = !secrets.is_empty() && !shown.is_foreign;
                    self.record(id, "transfer_started", &fields);
                    if knows {
                        let names: Vec<String> =
                            secrets.into_iter().map(|(name, _)| name).collect();
                        let fields = json!({ "url": url, "headers": names });
                        self.record(id, "credentials_sent", &fields);
                    }
                }
            }
            News::Progress(file, progress) => self.on_progress(id, file, progress).await,
            News::Fetched(file, fetched) => self.on_fetched(id, file, *fetched).await,
            News::Failed(file, error) => self.on_failed(id, file, error).await,
            News::Unsynced(error) => self.on_unsynced(id, error).await,
            News::Changed(file) => self.on_changed(id, file).await,
            News::Finished => self.on_finished(id).await,
        }
    }

    async fn on_progress(&mut self, id: JobId, index: usize, progress: FetchProgress) {
        let now = now();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Some(run) = &mut entry.run {
            run.phase = progress.phase;
        }
        let together = entry.wants_one_version();
        let Some(file) = entry.job.files.get_mut(index) else {
            return;
        };
        if together && progress.connected && is_other(&file.validator, &progress.validator) {
            return self.on_changed(id, index).await;
        }
        let held = progress.accounting.total();
        let moved = held > 0 && file.hold(held);
        let troubles = progress.troubles;
        let known = file.size.is_none() && progress.size.is_some();
        file.size = progress.size.or(file.size);
        file.validator = progress.validator.or(file.validator.take());
        file.accounting = progress.accounting;
        file.set_swarm(progress.swarm);
        if moved {
            entry.job.machine.handle_progress(now);
        }
        self.on_troubles(id, index, troubles);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let connected = progress.connected
            && entry.job.state() == JobState::Connecting
            && entry.job.machine.connected(now).is_ok();
        if connected {
            entry.tell();
            self.keep(id).await;
        } else {
            self.show_soon(id);
            if known {
                self.keep_soon(id).await;
            }
        }
    }

    /// What is awkward about the origin is kept with the file, and told once.
    fn on_troubles(&mut self, id: JobId, index: usize, troubles: Vec<OriginTrouble>) {
        let entry = self.entries.get_mut(&id);
        let Some(file) = entry.and_then(|entry| entry.job.files.get_mut(index)) else {
            return;
        };
        let new: Vec<_> = troubles
            .into_iter()
            .filter(|trouble| !file.troubles.contains(trouble))
            .collect();
        file.troubles.extend(&new);
        let url = file.public_url();
        for trouble in new {
            let fields = json!({
                "url": url,
                "trouble": trouble.code(),
                "message": trouble.to_string(),
            });
            self.record(id, "origin_trouble", &fields);
        }
    }

    async fn on_fetched(&mut self, id: JobId, index: usize, mut fetched: Fetched) {
        let now = now();
        let troubles = std::mem::take(&mut fetched.troubles);
        self.on_troubles(id, index, troubles);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(file) = entry.job.files.get_mut(index) else {
            return;
        };
        file.size = Some(fetched.lease.size());
        file.content = Some(fetched.lease.id());
        file.validator = fetched.validator;
        file.mtime = fetched.mtime;
        file.final_url = fetched.final_url;
        if entry.job.origin.redirects == Redirects::Report {
            file.take_final_url();
        }
        file.validated = None;
        file.response_headers = fetched.response_headers;
        file.entity = fetched.entity;
        file.shareable = fetched.shareable;
        file.accounting = fetched.accounting;
        file.set_swarm(fetched.swarm);
        file.error = None;
        if file.hold(fetched.lease.size()) {
            entry.job.machine.handle_progress(now);
        }
        entry.leases.insert(index, fetched.lease);
        if entry.job.state() == JobState::Connecting
            && let Err(error) = entry.job.machine.connected(now)
        {
            tracing::debug!(job = %id, %error, "not transferring");
        }
        if let Some(run) = &mut entry.run {
            run.files.remove(&index);
        }
        self.count(id, index..=index);
        self.record_stopped(id, index, "transferred");
        self.show_soon(id);
        self.keep_soon(id).await;
    }

    /// Everything came, and the disk does not take it: it is tried again later.
    async fn on_unsynced(&mut self, id: JobId, error: JobError) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let times = entry.job.times(&self.config.times);
        entry.run = None;
        let error = entry.drop_lost().unwrap_or(error);
        fail(&mut entry.job, error, Retry::At(None), &times);
        entry.tell();
        self.follow(id);
        self.keep(id).await;
    }

    async fn on_failed(&mut self, id: JobId, index: usize, mut failed: FetchError) {
        if failed.retry != Retry::Never
            && let Some(condition) = self.condition_of(id, &failed.error)
        {
            failed.retry = Retry::OnEvent;
            if condition == Condition::Network {
                failed.error = condition.error();
            }
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let times = entry.job.times(&self.config.times);
        let run = entry.run.take();
        let others = run.into_iter().flat_map(|run| run.files);
        let others: Vec<usize> = others.filter(|other| *other != index).collect();
        let error = fail(&mut entry.job, failed.error, failed.retry, &times);
        if let Some(file) = entry.job.files.get_mut(index) {
            file.accounting = failed.accounting;
            file.set_swarm(failed.swarm);
            file.error.clone_from(&error);
        }
        entry.tell();
        let is_over = entry.job.state() == JobState::Error;
        self.follow(id);
        self.count(id, ..);
        let code = error.map_or_else(|| "error".to_owned(), |error| error.code);
        self.record_stopped(id, index, &code);
        for other in others {
            self.record_stopped(id, other, "stopped");
        }
        // One that is tried again by itself is not the user's business yet.
        if is_over {
            self.record_error(id);
        }
        self.keep(id).await;
    }

    async fn on_finished(&mut self, id: JobId) {
        let now = now();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Some(error) = entry.drop_lost() {
            return self.on_unsynced(id, error).await;
        }
        entry.run = None;
        if let Err(error) = entry.job.machine.transferred(now) {
            tracing::warn!(job = %id, %error, "an end that does not fit");
        }
        entry.job.transferred_at = None;
        entry.job.restarts = 0;
        let detached = entry.job.detached;
        let by_itself = detached && entry.job.owner == self.config.own_uid;
        entry.tell();
        self.follow(id);
        // What goes to its places now is durable there before anybody is told.
        if !by_itself {
            self.note_transferred(id);
        }
        self.keep(id).await;
        if !by_itself {
            self.record(id, "job_transferred", &json!({}));
        }
        if detached {
            self.complete_by_itself(id);
        }
    }

    /// All files of a job are here to stay. The caller keeps the job.
    pub(super) fn tell_transferred(&mut self, id: JobId) {
        self.note_transferred(id);
        self.record(id, "job_transferred", &json!({}));
    }

    fn note_transferred(&mut self, id: JobId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.job.transferred_at = Some(now());
        }
        self.tell_hook(id, HookCause::Complete);
    }

    fn record_stopped(&self, id: JobId, index: usize, status: &str) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let Some(file) = entry.job.files.get(index) else {
            return;
        };
        let fields = json!({
            "url": file.public_url(),
            "bytes_total": file.size.unwrap_or(0),
            "bytes_transferred": file.accounting.total(),
            "bytes_from_peers": file.accounting.peers,
            "bytes_from_origin": file.accounting.origin,
            "bytes_from_cache": file.accounting.cache,
            "bytes_discarded": file.accounting.discarded,
            "status": status,
        });
        self.record(id, "transfer_stopped", &fields);
    }
}

/// Notes a failure; gives what the job says of it.
fn fail(job: &mut Job, error: JobError, retry: Retry, times: &JobTimes) -> Option<JobError> {
    if let Err(error) = job.machine.fail(error, retry, times, now()) {
        tracing::warn!(job = %job.id, %error, "a failure that does not fit");
    }
    job.machine.error().cloned()
}
