//! Which jobs run now, and how many there may be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::job_limits::JobCounts;
use crate::{JobLimits, LimitReached, Priority};

/// A job, as the queue and the governor know it. The driver hands these out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobKey(pub u64);

/// What the driver owes after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    /// Run this job now.
    Start(JobKey),
    /// Stop this job and keep what it has: another has the turn. It waits again, at the
    /// head of its level, or at the tail if it had its slice.
    Preempt(JobKey),
}

/// Chooses the jobs that run.
///
/// All ready foreground jobs run at once, beside one background job of the highest level
/// that has a ready one. Jobs of one level take turns: who has run for a slice of time
/// goes to the tail of its level when another one waits there. When a job of a higher
/// level gets ready, the running background job gives way, and goes on with what is left
/// of its slice when its level is served again. A job that waits for anything else than
/// its turn is idle here and blocks nobody.
///
/// Each call costs the logarithm of the number of jobs, however many there are.
#[derive(Debug)]
pub struct JobQueue {
    counts: JobCounts,
    slice: Duration,
    jobs: BTreeMap<JobKey, Entry>,
    /// Foreground jobs that run.
    foreground: BTreeSet<JobKey>,
    /// The background job that runs, and since when.
    background: Option<(JobKey, SystemTime)>,
    /// Background jobs that are ready, the next one first.
    ready: BTreeSet<(Priority, Turn, JobKey)>,
    next_turn: Turn,
    actions: VecDeque<JobAction>,
}

/// Orders jobs of one level: by when they got ready, or had their last slice.
type Turn = u64;

#[derive(Debug)]
struct Entry {
    owner: u32,
    priority: Priority,
    standing: Standing,
    turn: Turn,
    /// What it has had of its slice before its present run.
    used: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Suspended, in error, to be tried again later, transferred: not to be run.
    Idle,
    /// Ready to run; in [`JobQueue::ready`]. Foreground jobs never wait.
    Ready,
    /// Runs: in [`JobQueue::foreground`] or [`JobQueue::background`].
    Running,
}

impl JobQueue {
    /// An empty queue. Jobs of one level take turns of `slice`; if it is zero, each runs
    /// to its end.
    #[must_use]
    pub const fn new(limits: JobLimits, slice: Duration) -> Self {
        Self {
            counts: JobCounts::new(limits),
            slice,
            jobs: BTreeMap::new(),
            foreground: BTreeSet::new(),
            background: None,
            ready: BTreeSet::new(),
            next_turn: 0,
            actions: VecDeque::new(),
        }
    }

    /// Whether this user may have one more job; user 0 always may.
    ///
    /// # Errors
    /// When the machine or the user has the most it may have.
    pub fn check_room(&self, owner: u32) -> Result<(), LimitReached> {
        self.counts.check_room(owner)
    }

    /// Whether a job of this user that has `files` may get `more`.
    ///
    /// # Errors
    /// When they would be too many.
    pub const fn check_files(
        &self,
        owner: u32,
        files: usize,
        more: usize,
    ) -> Result<(), LimitReached> {
        self.counts.check_files(owner, files, more)
    }

    /// Takes a new job in; it does not run yet.
    ///
    /// # Errors
    /// As [`JobQueue::check_room`].
    pub fn add(&mut self, job: JobKey, owner: u32, priority: Priority) -> Result<(), LimitReached> {
        self.check_room(owner)?;
        self.restore(job, owner, priority);
        Ok(())
    }

    /// Takes a job in that was there before a restart: limits may have been lowered
    /// since, and do not make a job vanish.
    pub fn restore(&mut self, job: JobKey, owner: u32, priority: Priority) {
        self.jobs.entry(job).or_insert_with(|| {
            self.counts.add(owner);
            Entry {
                owner,
                priority,
                standing: Standing::Idle,
                turn: 0,
                used: Duration::ZERO,
            }
        });
    }

    /// A job is over.
    pub fn remove(&mut self, job: JobKey, now: SystemTime) {
        self.withdraw(job);
        if let Some(entry) = self.jobs.remove(&job) {
            self.counts.remove(entry.owner);
        }
        self.choose(now);
    }

    /// A job may run (state `queued`). Nothing changes when it is ready or runs already.
    pub fn set_ready(&mut self, job: JobKey, now: SystemTime) {
        let standing = self.jobs.get(&job).map(|entry| entry.standing);
        if standing == Some(Standing::Idle) {
            self.line_up(job, Place::Tail);
        }
        self.choose(now);
    }

    /// A job is not to run, or has stopped: suspended, in error, to be tried again later,
    /// transferred.
    pub fn set_idle(&mut self, job: JobKey, now: SystemTime) {
        self.withdraw(job);
        self.choose(now);
    }

    /// A running job was stopped only to be started anew: it keeps its turn.
    pub fn begin_again(&mut self, job: JobKey) {
        let standing = self.jobs.get(&job).map(|entry| entry.standing);
        if standing == Some(Standing::Running) {
            self.actions.push_back(JobAction::Start(job));
        }
    }

    /// Changes the level of a job. One that waits keeps its turn.
    pub fn set_priority(&mut self, job: JobKey, priority: Priority, now: SystemTime) {
        let Some(entry) = self.jobs.get_mut(&job) else {
            return;
        };
        let before = std::mem::replace(&mut entry.priority, priority);
        let turn = entry.turn;
        match entry.standing {
            Standing::Idle => {}
            Standing::Ready => {
                self.ready.remove(&(before, turn, job));
                self.line_up(job, Place::Kept);
            }
            Standing::Running => match (before.is_background(), priority.is_background()) {
                (true, false) => {
                    self.background = None;
                    self.foreground.insert(job);
                }
                (false, true) => self.demote(job, now),
                _ => {}
            },
        }
        self.choose(now);
    }

    /// Changes the owner of a job.
    pub fn set_owner(&mut self, job: JobKey, owner: u32) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            self.counts.add(owner);
            self.counts
                .remove(std::mem::replace(&mut entry.owner, owner));
        }
    }

    /// Time went by: a slice may be over.
    pub fn handle_timeout(&mut self, now: SystemTime) {
        self.choose(now);
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<JobAction> {
        self.actions.pop_front()
    }

    /// When a slice is over for which somebody waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<SystemTime> {
        self.slice_ends()
    }

    /// How many jobs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is no job.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The jobs that run.
    pub fn running(&self) -> impl Iterator<Item = JobKey> + '_ {
        let background = self.background.map(|(job, _)| job);
        self.foreground.iter().copied().chain(background)
    }

    /// How many jobs go before this one, the running one among them; `None` when it is
    /// not ready. What `potluck why` tells of a queued job.
    #[must_use]
    pub fn ahead_of(&self, job: JobKey) -> Option<usize> {
        let entry = self.jobs.get(&job)?;
        if entry.standing != Standing::Ready {
            return None;
        }
        let own = (entry.priority, entry.turn, job);
        Some(self.ready.range(..own).count() + usize::from(self.background.is_some()))
    }

    /// Makes a job idle, wherever it stood. What was decided about it is void.
    fn withdraw(&mut self, job: JobKey) {
        let Some(entry) = self.jobs.get_mut(&job) else {
            return;
        };
        match std::mem::replace(&mut entry.standing, Standing::Idle) {
            Standing::Idle => return,
            Standing::Ready => drop(self.ready.remove(&(entry.priority, entry.turn, job))),
            Standing::Running => {
                if !self.foreground.remove(&job) {
                    self.background = None;
                }
            }
        }
        self.actions.retain(|action| {
            let (JobAction::Start(of) | JobAction::Preempt(of)) = action;
            *of != job
        });
    }

    /// Lets a job run if it is of the foreground, else puts it into its level.
    fn line_up(&mut self, job: JobKey, place: Place) {
        let Some(entry) = self.jobs.get_mut(&job) else {
            return;
        };
        if place == Place::Tail {
            entry.turn = self.next_turn;
            entry.used = Duration::ZERO;
            self.next_turn += 1;
        }
        if entry.priority.is_background() {
            entry.standing = Standing::Ready;
            self.ready.insert((entry.priority, entry.turn, job));
        } else {
            entry.standing = Standing::Running;
            self.foreground.insert(job);
            self.actions.push_back(JobAction::Start(job));
        }
    }

    /// A foreground job that runs becomes one of the background: it goes on if its turn
    /// is before that of the one that runs there.
    fn demote(&mut self, job: JobKey, now: SystemTime) {
        self.foreground.remove(&job);
        let rank = |job: JobKey| {
            self.jobs
                .get(&job)
                .map(|entry| (entry.priority, entry.turn))
        };
        match self.background {
            Some((other, _)) if rank(other) < rank(job) => {
                self.actions.push_back(JobAction::Preempt(job));
                self.line_up(job, Place::Kept);
            }
            Some(_) => {
                self.preempt(Place::Kept, now);
                self.background = Some((job, now));
            }
            None => self.background = Some((job, now)),
        }
    }

    /// The background job that runs gives way.
    fn preempt(&mut self, place: Place, now: SystemTime) {
        let Some((job, since)) = self.background.take() else {
            return;
        };
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.used += now.duration_since(since).unwrap_or_default();
        }
        self.actions.push_back(JobAction::Preempt(job));
        self.line_up(job, place);
    }

    /// Makes the running background job the one that should run.
    fn choose(&mut self, now: SystemTime) {
        let Some((next, _, _)) = self.ready.first().copied() else {
            return;
        };
        if let Some((job, since)) = self.background {
            if now < since {
                // The clock was set back: what it has had so far does not count.
                self.background = Some((job, now));
            }
            let level = self.jobs.get(&job).map(|entry| entry.priority);
            if level.is_none_or(|level| next < level) {
                self.preempt(Place::Kept, now);
            } else if self.slice_ends().is_some_and(|at| at <= now) {
                self.preempt(Place::Tail, now);
            } else {
                return;
            }
        }
        if let Some((_, _, job)) = self.ready.pop_first()
            && let Some(entry) = self.jobs.get_mut(&job)
        {
            entry.standing = Standing::Running;
            self.background = Some((job, now));
            self.actions.push_back(JobAction::Start(job));
        }
    }

    /// When the running background job has had its slice, if another of its level waits.
    fn slice_ends(&self) -> Option<SystemTime> {
        let (job, since) = self.background?;
        let (next, _, _) = self.ready.first()?;
        let entry = self.jobs.get(&job)?;
        if self.slice.is_zero() || entry.priority != *next {
            return None;
        }
        since.checked_add(self.slice.saturating_sub(entry.used))
    }
}

/// Where in its level a job lines up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where it was.
    Kept,
    /// Behind all others, with a whole slice before it.
    Tail,
}

#[cfg(test)]
mod tests;
