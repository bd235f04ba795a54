//! The task that owns the jobs.

mod changing;
mod completing;
mod counting;
mod creating;
mod forgetting;
mod hooks;
mod invalidating;
mod later;
mod listing;
mod lost;
mod requests;
mod restarting;
mod restoring;
mod running;
mod validating;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use potluck_cache::{Cache, PlaceError};
use potluck_plan::{JobAction, JobLimits, JobState, JobTimes, Rate, Schedule};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::entry::Entry;
use super::handle::{Command, JobsHandle};
use super::runner::Update;
use super::{Fetcher, JobId, JobSecrets, JobStore, SecretStore, StoreError, Surroundings};
use super::{HookCause, HookRules};
use crate::events::EventLog;
use crate::refusal_log::RefusalLog;
use crate::stats::Stats;
use hooks::{HookDesk, HookNews};
use later::Later;
use waiting::{Outlook, Sign};

/// The clock may be set while this task sleeps: it looks at it so often.
const WAKE_EVERY: Duration = Duration::from_secs(60);

/// How jobs are treated.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// How many there may be.
    pub limits: JobLimits,
    /// How many ranges a file may have.
    pub max_ranges_per_file: usize,
    /// Retry and time limits.
    pub times: JobTimes,
    /// How long a job runs before the next of its level has its turn; zero: to its end.
    pub time_slice: Duration,
    /// Whether jobs may take from peers at all.
    pub use_peers: bool,
    /// Whether only jobs that say so take from peers.
    pub peers_opt_in: bool,
    /// What all downloads together may have.
    pub max_bandwidth: Rate,
    /// The programs that jobs may have called.
    pub hooks_allowed: Vec<PathBuf>,
    /// The user this process runs as: the only one whose files it writes.
    pub own_uid: u32,
}

/// The task. It owns the store, the schedule and every job.
pub struct JobsTask {
    config: JobsConfig,
    store: JobStore,
    secrets: SecretStore,
    cache: Cache,
    fetcher: Arc<dyn Fetcher>,
    events: EventLog,
    stats: Stats,
    schedule: Schedule,
    entries: BTreeMap<JobId, Entry>,
    commands: mpsc::Receiver<Command>,
    updates: mpsc::Receiver<Update>,
    updates_in: mpsc::Sender<Update>,
    work: JoinSet<Option<Placed>>,
    outlook: Outlook,
    hooks: HookDesk,
    /// Jobs that the end of the process before interrupted for good.
    interrupted: Vec<JobId>,
    refusals: RefusalLog<u32>,
    runs: u64,
    later: Later,
}

/// What putting the files of a job in their places came to.
struct Placed {
    job: JobId,
    files: Vec<(usize, PathBuf, Result<(), PlaceError>)>,
}

/// What the task has to do next.
enum Happening {
    Outlook(Sign),
    Hook(HookNews),
    Wake,
    Placed(Option<Placed>),
    Kept,
    Update(Update),
    Command(Command),
    /// Every handle is gone.
    Gone,
}

/// The next of what may come in floods, none of which keeps the others waiting for long: of
/// those that are there each has the same chance. Safe to cancel.
async fn next_of(
    work: &mut JoinSet<Option<Placed>>,
    later: &mut Later,
    updates: &mut mpsc::Receiver<Update>,
    commands: &mut mpsc::Receiver<Command>,
) -> Happening {
    tokio::select! {
        Some(done) = work.join_next() => match done {
            Ok(placed) => Happening::Placed(placed),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Happening::Placed(None),
        },
        () = JobsTask::kept(later) => Happening::Kept,
        Some(update) = updates.recv() => Happening::Update(update),
        command = commands.recv() => command.map_or(Happening::Gone, Happening::Command),
    }
}

impl JobsTask {
    /// Takes up the jobs of a store. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(
        config: JobsConfig,
        store: JobStore,
        cache: Cache,
        fetcher: Arc<dyn Fetcher>,
        events: EventLog,
        stats: Stats,
        around: Surroundings,
    ) -> Result<(JobsHandle, Self), StoreError> {
        let (handle, commands) = mpsc::channel(64);
        let (updates_in, updates) = mpsc::channel(256);
        let jobs = store.load()?;
        let mut task = Self {
            schedule: Schedule::new(config.limits, config.time_slice),
            hooks: HookDesk::new(HookRules {
                allowed: config.hooks_allowed.clone(),
                own_uid: config.own_uid,
            }),
            config,
            secrets: store.secrets(),
            store,
            cache,
            fetcher,
            events,
            stats,
            entries: BTreeMap::new(),
            commands,
            updates,
            updates_in,
            work: JoinSet::new(),
            outlook: Outlook::new(around),
            interrupted: Vec::new(),
            refusals: RefusalLog::new(Instant::now()),
            runs: 0,
            later: Later::default(),
        };
        let ids: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
        let store = &task.store;
        task.secrets
            .keep_only(|id| ids.contains(&id) || store.may_hold(id));
        for job in jobs {
            task.restore(job);
        }
        Ok((JobsHandle(handle), task))
    }

    /// Runs until it is stopped or every handle is gone.
    pub async fn run(mut self, stop: CancellationToken) {
        self.complete_detached();
        self.tell_interrupted().await;
        self.on_outlook(Sign::Network);
        loop {
            self.carry_out().await;
            self.catch_up();
            let wake = self.next_wake();
            let happened = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // What is due, first: it comes seldom, and no flood of calls or of news may
                // hold it up.
                sign = self.outlook.changed() => Happening::Outlook(sign),
                news = self.hooks.news() => Happening::Hook(news),
                () = tokio::time::sleep(wake) => Happening::Wake,
                happened = next_of(
                    &mut self.work,
                    &mut self.later,
                    &mut self.updates,
                    &mut self.commands,
                ) => happened,
            };
            match happened {
                Happening::Outlook(sign) => self.on_outlook(sign),
                Happening::Hook(news) => self.on_hook_news(news).await,
                Happening::Wake => self.on_wake().await,
                Happening::Placed(Some(placed)) => self.on_placed(placed).await,
                Happening::Placed(None) | Happening::Kept => {}
                Happening::Update(update) => self.on_update(update).await,
                Happening::Command(command) => self.on_command(command).await,
                Happening::Gone => break,
            }
        }
        self.wind_down().await;
    }

    async fn carry_out(&mut self) {
        while let Some(action) = self.schedule.poll_action() {
            match action {
                JobAction::Start(key) => self.start_run(JobId::from_key(key)).await,
                JobAction::Preempt(key) => {
                    let id = JobId::from_key(key);
                    self.stop_run(id, "preempted");
                    if let Some(entry) = self.entries.get_mut(&id) {
                        if let Err(error) = entry.job.machine.requeue(now()) {
                            tracing::debug!(job = %id, %error, "not queued again");
                        }
                        entry.tell();
                    }
                    self.follow(id);
                }
            }
        }
    }

    /// A job may have another state than before: brings its turn and its timer in line.
    fn follow(&mut self, id: JobId) {
        if let Some(entry) = self.entries.get(&id) {
            let times = entry.job.times(&self.config.times);
            self.schedule
                .follow(id.key(), &entry.job.machine, &times, now());
        }
    }

    fn next_wake(&self) -> Duration {
        self.schedule
            .poll_timeout()
            .map_or(WAKE_EVERY, |at| {
                at.duration_since(now()).unwrap_or_default()
            })
            // Not to sleep through a change of the clock.
            .min(WAKE_EVERY)
            .min(self.poll_later().unwrap_or(WAKE_EVERY))
    }

    async fn on_wake(&mut self) {
        for key in self.schedule.handle_timeout(now()) {
            self.on_due(JobId::from_key(key)).await;
        }
    }

    /// Something is due with a job.
    async fn on_due(&mut self, id: JobId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let times = entry.job.times(&self.config.times);
        let changed = entry.job.machine.handle_timeout(&times, now());
        let state = entry.job.state();
        self.follow(id);
        if !changed {
            return;
        }
        match state {
            JobState::Queued => {}
            JobState::Cancelled => {
                let reason = json!({ "reason": "inactive for too long" });
                self.record(id, "job_cancelled", &reason);
                self.end(id);
            }
            _ => {
                self.stop_run(id, "error");
                self.record_error(id);
            }
        }
        if let Some(entry) = self.entries.get(&id) {
            entry.tell();
        }
        self.keep(id).await;
    }

    /// Keeps a job on the disk; a failure is told to the log only, for changes that
    /// nobody waits for.
    async fn keep(&mut self, id: JobId) {
        if let Err(error) = self.save(id).await {
            tracing::warn!(job = %id, %error, "a job could not be kept");
        }
    }

    async fn save(&mut self, id: JobId) -> Result<(), StoreError> {
        self.settle(id).await;
        let Some(entry) = self.entries.get(&id) else {
            return Ok(());
        };
        let (store, job) = (self.store.clone(), entry.job.clone());
        blocking(move || store.save(&job)).await
    }

    /// A job is over: it leaves the schedule, its finished files their leases, and nothing
    /// stays of the others.
    fn end(&mut self, id: JobId) {
        self.follow(id);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.leases.clear();
        if !entry.secrets.is_empty() {
            entry.secrets = JobSecrets::default();
            let store = self.secrets.clone();
            self.work.spawn(async move {
                if let Err(error) = blocking(move || store.remove(id)).await {
                    tracing::warn!(job = %id, %error, "secrets cannot be removed");
                }
                None
            });
        }
        let unfinished: Vec<_> = entry
            .unfinished(false, false)
            .into_iter()
            .filter_map(|request| {
                let file = entry.job.files.get(request.file)?;
                // Of what was never begun nothing is left.
                file.size.map(|_| (file.version(), request))
            })
            .collect();
        if unfinished.is_empty() {
            return;
        }
        let fetcher = Arc::clone(&self.fetcher);
        self.work.spawn(async move {
            blocking(move || {
                for (version, request) in unfinished {
                    fetcher.forget(&request, version.as_ref());
                }
            })
            .await;
            None
        });
    }

    fn record(&self, id: JobId, kind: &str, fields: &serde_json::Value) {
        if let Some(entry) = self.entries.get(&id) {
            self.events.record(kind, entry.about(), fields.clone());
        }
    }

    fn record_error(&mut self, id: JobId) {
        self.tell_hook(id, HookCause::Error);
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let error = entry.job.machine.error().map(super::ErrorDocument::from);
        self.record(id, "job_error", &json!({ "error": error }));
    }

    async fn wind_down(&mut self) {
        self.hooks.stop().await;
        for id in self.later.take_unkept() {
            self.keep(id).await;
        }
        let ids: Vec<JobId> = self.entries.keys().copied().collect();
        for id in ids {
            self.stop_run(id, "stopping");
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            // One that must not be asked twice is seen to have run.
            let repeats = entry.job.origin.may_repeat();
            if entry.job.state().is_running()
                && (!repeats || entry.job.machine.requeue(now()).is_ok())
            {
                self.keep(id).await;
            }
        }
        // Runs end at once; files that are half placed are placed to their end.
        while let Some(done) = self.work.join_next().await {
            if let Ok(Some(placed)) = done {
                self.on_placed(placed).await;
            }
        }
    }
}

/// The one place where the time is read.
fn now() -> SystemTime {
    SystemTime::now()
}

/// Runs disk work on the blocking pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
