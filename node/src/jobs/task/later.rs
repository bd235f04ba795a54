//! What can wait a moment: the progress of jobs, on the disk and before those who watch.
//!
//! A job of a thousand files takes long to write down and to show, and files that are
//! small come faster than that. So what happens to the files of such a job one by one is
//! gathered, and written and shown a few times a second. After a crash what was not
//! written is asked for again, and mostly found in the cache. Whatever somebody called
//! for, and every change of state, is kept at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::JobsTask;
use crate::jobs::JobId;

/// How often progress is shown at most.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Keeping records may take one part in so many of the time.
const REST: u32 = 4;

/// Jobs of fewer files are kept with each file.
const MANY_FILES: usize = 32;

/// Which jobs have news that wait.
#[derive(Default)]
pub(super) struct Later {
    unkept: BTreeSet<JobId>,
    unshown: BTreeSet<JobId>,
    keeping: JoinSet<Duration>,
    /// The job that is just being kept.
    kept: Option<JobId>,
    keep_after: Option<Instant>,
    show_after: Option<Instant>,
}

impl JobsTask {
    /// Keeps a job; one of many files soon, with what happens to it meanwhile.
    pub(super) async fn keep_soon(&mut self, id: JobId) {
        let files = self
            .entries
            .get(&id)
            .map_or(0, |entry| entry.job.files.len());
        if files < MANY_FILES {
            self.keep(id).await;
        } else {
            self.later.unkept.insert(id);
        }
    }

    /// Shows a job; one of many files soon, with what happens to it meanwhile.
    pub(super) fn show_soon(&mut self, id: JobId) {
        match self.entries.get(&id) {
            Some(entry) if entry.job.files.len() < MANY_FILES => entry.tell(),
            _ => drop(self.later.unshown.insert(id)),
        }
    }

    /// Does of what waits what is due. Called after everything else that happens.
    pub(super) fn catch_up(&mut self) {
        let now = clock();
        let later = &mut self.later;
        if !later.unshown.is_empty() && later.show_after.is_none_or(|at| at <= now) {
            later.show_after = Some(now + SHOW_EVERY);
            for id in std::mem::take(&mut later.unshown) {
                if let Some(entry) = self.entries.get(&id) {
                    entry.tell();
                }
            }
        }
        let rested = later.keep_after.is_none_or(|at| at <= now);
        if rested
            && later.keeping.is_empty()
            && let Some(id) = later.unkept.pop_first()
            && let Some(entry) = self.entries.get(&id)
        {
            let (store, job) = (self.store.clone(), entry.job.clone());
            later.kept = Some(id);
            later.keeping.spawn_blocking(move || {
                let begun = clock();
                if let Err(error) = store.save(&job) {
                    tracing::warn!(job = %id, %error, "a job could not be kept");
                }
                begun.elapsed()
            });
        }
    }

    /// How long nothing of what waits is due.
    pub(super) fn poll_later(&self) -> Option<Duration> {
        let later = &self.later;
        let keep = (!later.unkept.is_empty() && later.keeping.is_empty())
            .then_some(later.keep_after)
            .flatten();
        let show = (!later.unshown.is_empty())
            .then_some(later.show_after)
            .flatten();
        let first = keep.into_iter().chain(show).min()?;
        Some(first.saturating_duration_since(clock()))
    }

    /// Waits until the record under way is written. Safe to cancel; waits for ever where
    /// there is none.
    pub(super) async fn kept(later: &mut Later) {
        match later.keeping.join_next().await {
            Some(done) => later.on_kept(done),
            None => std::future::pending().await,
        }
    }

    /// The job is about to be kept as it is, or removed: an older record of it must not
    /// come after that.
    pub(super) async fn settle(&mut self, id: JobId) {
        self.later.unkept.remove(&id);
        while self.later.kept == Some(id)
            && let Some(done) = self.later.keeping.join_next().await
        {
            self.later.on_kept(done);
        }
    }
}

impl Later {
    fn on_kept(&mut self, done: Result<Duration, tokio::task::JoinError>) {
        self.kept = None;
        match done {
            Ok(took) => self.keep_after = Some(clock() + took * REST),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    /// The jobs that are to be kept before the end.
    pub(super) fn take_unkept(&mut self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.unkept)
    }
}

/// The one place where time that has passed is measured.
fn clock() -> Instant {
    Instant::now()
}
