//! Which jobs run now, and how many there may be.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

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
    /// Stop this job and keep what it has: another has the turn. It waits again at the
    /// head of its level.
    Preempt(JobKey),
}

/// Chooses the jobs that run.
///
/// All ready foreground jobs run at once, beside one background job: one of the
/// highest level that has a ready job, the one that has been ready longest. When a job
/// of a higher level gets ready, the running background job gives way. A job that
/// waits for a retry blocks nobody.
///
/// Jobs of one level run to their end in order; giving each a slice of time is a
/// matter of sending the running one to the tail of its level when its time is over,
/// in [`JobQueue::handle_timeout`].
#[derive(Debug)]
pub struct JobQueue {
    limits: JobLimits,
    jobs: BTreeMap<JobKey, Entry>,
    /// Orders jobs of one level by when they got ready.
    next_turn: u64,
    actions: VecDeque<JobAction>,
}

#[derive(Debug)]
struct Entry {
    owner: u32,
    priority: Priority,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Suspended, in error, transferred: not to be run.
    Idle,
    /// Ready to run, since this turn.
    Ready { turn: u64 },
    /// Runs; keeps its turn in case it has to give way.
    Running { turn: u64 },
    /// Tried again then.
    Later { at: SystemTime },
}

impl JobQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new(limits: JobLimits) -> Self {
        Self {
            limits,
            jobs: BTreeMap::new(),
            next_turn: 0,
            actions: VecDeque::new(),
        }
    }

    /// Whether this user may have one more job; user 0 always may.
    ///
    /// # Errors
    /// When the machine or the user has the most it may have.
    pub fn check_room(&self, owner: u32) -> Result<(), LimitReached> {
        if owner == 0 {
            return Ok(());
        }
        let limits = &self.limits;
        let own = self
            .jobs
            .values()
            .filter(|entry| entry.owner == owner)
            .count();
        if own >= limits.jobs_per_user {
            return Err(LimitReached::JobsPerUser(limits.jobs_per_user));
        }
        if self.jobs.len() >= limits.jobs_per_machine {
            return Err(LimitReached::JobsPerMachine(limits.jobs_per_machine));
        }
        Ok(())
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
        if owner != 0 && files.saturating_add(more) > self.limits.files_per_job {
            return Err(LimitReached::FilesPerJob(self.limits.files_per_job));
        }
        Ok(())
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
        self.jobs.entry(job).or_insert(Entry {
            owner,
            priority,
            standing: Standing::Idle,
        });
    }

    /// A job is over.
    pub fn remove(&mut self, job: JobKey) {
        self.jobs.remove(&job);
        self.forget_actions(job);
        self.choose();
    }

    /// A job may run (state `queued`). Nothing changes when it is ready or runs already.
    pub fn set_ready(&mut self, job: JobKey) {
        let turn = self.next_turn;
        if let Some(entry) = self.jobs.get_mut(&job)
            && matches!(entry.standing, Standing::Idle | Standing::Later { .. })
        {
            entry.standing = Standing::Ready { turn };
            self.next_turn += 1;
        }
        self.choose();
    }

    /// A job is not to run, or has stopped: suspended, in error, transferred, or in a
    /// transient error that waits for an event.
    pub fn set_idle(&mut self, job: JobKey) {
        self.set_standing(job, Standing::Idle);
    }

    /// A job has stopped and is tried again at this time.
    pub fn set_retry(&mut self, job: JobKey, at: SystemTime) {
        self.set_standing(job, Standing::Later { at });
    }

    /// A running job was stopped only to be started anew: it keeps its turn.
    pub fn begin_again(&mut self, job: JobKey) {
        let standing = self.jobs.get(&job).map(|entry| entry.standing);
        if let Some(Standing::Running { .. }) = standing {
            self.actions.push_back(JobAction::Start(job));
        }
    }

    /// Changes the level of a job.
    pub fn set_priority(&mut self, job: JobKey, priority: Priority) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.priority = priority;
        }
        self.choose();
    }

    /// Changes the owner of a job.
    pub fn set_owner(&mut self, job: JobKey, owner: u32) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.owner = owner;
        }
    }

    /// Time went by: retries that are due get ready.
    pub fn handle_timeout(&mut self, now: SystemTime) {
        let mut due: Vec<(SystemTime, JobKey)> = self
            .jobs
            .iter()
            .filter_map(|(job, entry)| match entry.standing {
                Standing::Later { at } if at <= now => Some((at, *job)),
                _ => None,
            })
            .collect();
        due.sort_unstable();
        for (_, job) in due {
            self.set_ready(job);
        }
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<JobAction> {
        self.actions.pop_front()
    }

    /// When the next retry is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<SystemTime> {
        self.jobs
            .values()
            .filter_map(|entry| match entry.standing {
                Standing::Later { at } => Some(at),
                _ => None,
            })
            .min()
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
        self.jobs
            .iter()
            .filter(|(_, entry)| matches!(entry.standing, Standing::Running { .. }))
            .map(|(job, _)| *job)
    }

    /// How many ready jobs go before this one; `None` when it is not ready. What
    /// `potluck why` tells of a queued job.
    #[must_use]
    pub fn ahead_of(&self, job: JobKey) -> Option<usize> {
        let rank = |entry: &Entry| match entry.standing {
            Standing::Ready { turn } | Standing::Running { turn } => Some((entry.priority, turn)),
            _ => None,
        };
        let entry = self.jobs.get(&job)?;
        let Standing::Ready { .. } = entry.standing else {
            return None;
        };
        let own = rank(entry)?;
        let background = self
            .jobs
            .values()
            .filter(|entry| entry.priority.is_background());
        Some(
            background
                .filter_map(rank)
                .filter(|other| *other < own)
                .count(),
        )
    }

    fn set_standing(&mut self, job: JobKey, standing: Standing) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.standing = standing;
        }
        self.forget_actions(job);
        self.choose();
    }

    /// What was decided about a job that has stopped meanwhile is void.
    fn forget_actions(&mut self, job: JobKey) {
        self.actions.retain(|action| {
            let (JobAction::Start(of) | JobAction::Preempt(of)) = action;
            *of != job
        });
    }

    /// Makes the running jobs those that should run.
    fn choose(&mut self) {
        for (job, entry) in &mut self.jobs {
            if let (Priority::Foreground, Standing::Ready { turn }) =
                (entry.priority, entry.standing)
            {
                entry.standing = Standing::Running { turn };
                self.actions.push_back(JobAction::Start(*job));
            }
        }
        // A running job goes before a ready one of its level; the others by their turn.
        let best = self
            .jobs
            .iter()
            .filter(|(_, entry)| entry.priority.is_background())
            .filter_map(|(job, entry)| match entry.standing {
                Standing::Running { turn } => Some((entry.priority, false, turn, *job)),
                Standing::Ready { turn } => Some((entry.priority, true, turn, *job)),
                _ => None,
            })
            .min()
            .map(|(.., job)| job);
        for (job, entry) in &mut self.jobs {
            if let Standing::Running { turn } = entry.standing
                && entry.priority.is_background()
                && Some(*job) != best
            {
                entry.standing = Standing::Ready { turn };
                self.actions.push_back(JobAction::Preempt(*job));
            }
        }
        if let Some(job) = best
            && let Some(entry) = self.jobs.get_mut(&job)
            && let Standing::Ready { turn } = entry.standing
        {
            entry.standing = Standing::Running { turn };
            self.actions.push_back(JobAction::Start(job));
        }
    }
}

#[cfg(test)]
mod tests;
