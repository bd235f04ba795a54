//! Which jobs run now, and how many there may be.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::Priority;

/// A job, as the queue and the governor know it. The driver hands these out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobKey(pub u64);

/// How many jobs and files there may be. They bind everybody but the administrator,
/// as in BITS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Jobs on this machine. 300 unless changed.
    pub jobs_per_machine: usize,
    /// Jobs of one user. 60 unless changed.
    pub jobs_per_user: usize,
    /// Files in one job. 200 unless changed.
    pub files_per_job: usize,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            jobs_per_machine: 300,
            jobs_per_user: 60,
            files_per_job: 200,
        }
    }
}

/// Something would be more than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// Jobs on this machine.
    #[error(
        "this machine already has {0} jobs, the most it may have: complete or cancel one, or raise transfer.max_jobs_per_machine"
    )]
    JobsPerMachine(usize),
    /// Jobs of one user.
    #[error(
        "you already have {0} jobs, the most you may have: complete or cancel one, or raise transfer.max_jobs_per_user"
    )]
    JobsPerUser(usize),
    /// Files in one job.
    #[error(
        "a job has at most {0} files: put the others into another job, or raise transfer.max_files_per_job"
    )]
    FilesPerJob(usize),
}

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
mod tests {
    use std::time::Duration;

    use super::*;

    fn queue() -> JobQueue {
        JobQueue::new(JobLimits::default())
    }

    fn add(queue: &mut JobQueue, job: u64, priority: Priority) -> JobKey {
        let key = JobKey(job);
        queue.add(key, 1000, priority).unwrap();
        queue.set_ready(key);
        key
    }

    fn actions(queue: &mut JobQueue) -> Vec<JobAction> {
        std::iter::from_fn(|| queue.poll_action()).collect()
    }

    #[test]
    fn all_foreground_jobs_run_beside_one_background_job() {
        let mut queue = queue();
        let first = add(&mut queue, 1, Priority::Normal);
        let second = add(&mut queue, 2, Priority::Normal);
        let urgent = add(&mut queue, 3, Priority::Foreground);
        let more = add(&mut queue, 4, Priority::Foreground);
        let started = [first, urgent, more].map(JobAction::Start);
        assert_eq!(actions(&mut queue), started);
        assert_eq!(queue.ahead_of(second), Some(1));
        assert_eq!(queue.ahead_of(first), None);
        queue.set_idle(urgent);
        assert_eq!(actions(&mut queue), []);
        queue.remove(first);
        assert_eq!(actions(&mut queue), [JobAction::Start(second)]);
    }

    #[test]
    fn a_higher_level_preempts_and_the_lower_goes_on_after() {
        let mut queue = queue();
        let low = add(&mut queue, 1, Priority::Low);
        let other = add(&mut queue, 2, Priority::Low);
        let high = add(&mut queue, 3, Priority::High);
        assert_eq!(
            actions(&mut queue),
            [
                JobAction::Start(low),
                JobAction::Preempt(low),
                JobAction::Start(high)
            ]
        );
        queue.set_idle(high);
        assert_eq!(
            actions(&mut queue),
            [JobAction::Start(low)],
            "its turn is kept"
        );
        queue.set_priority(other, Priority::Normal);
        assert_eq!(
            actions(&mut queue),
            [JobAction::Preempt(low), JobAction::Start(other)]
        );
        queue.set_priority(low, Priority::Foreground);
        assert_eq!(actions(&mut queue), [JobAction::Start(low)]);
        queue.set_priority(low, Priority::Normal);
        assert_eq!(queue.running().count(), 1);
    }

    #[test]
    fn a_retry_blocks_nobody_and_comes_at_its_time() {
        let mut queue = queue();
        let start = SystemTime::UNIX_EPOCH;
        let high = add(&mut queue, 1, Priority::High);
        let low = add(&mut queue, 2, Priority::Low);
        assert_eq!(actions(&mut queue), [JobAction::Start(high)]);
        let at = start + Duration::from_secs(600);
        queue.set_retry(high, at);
        assert_eq!(actions(&mut queue), [JobAction::Start(low)]);
        assert_eq!(queue.poll_timeout(), Some(at));
        queue.handle_timeout(at - Duration::from_secs(1));
        assert_eq!(actions(&mut queue), []);
        queue.handle_timeout(at);
        assert_eq!(
            actions(&mut queue),
            [JobAction::Preempt(low), JobAction::Start(high)]
        );
        assert_eq!(queue.poll_timeout(), None);
    }

    #[test]
    fn what_is_begun_again_keeps_its_turn() {
        let mut queue = queue();
        let job = add(&mut queue, 1, Priority::Normal);
        let other = add(&mut queue, 2, Priority::Normal);
        assert_eq!(actions(&mut queue), [JobAction::Start(job)]);
        queue.begin_again(job);
        queue.begin_again(other);
        assert_eq!(actions(&mut queue), [JobAction::Start(job)]);
        queue.set_priority(job, Priority::Low);
        queue.begin_again(job);
        assert_eq!(
            actions(&mut queue),
            [JobAction::Preempt(job), JobAction::Start(other)]
        );
    }

    #[test]
    fn what_stops_before_it_is_started_is_not_started() {
        let mut queue = queue();
        let job = add(&mut queue, 1, Priority::Normal);
        queue.set_idle(job);
        assert_eq!(actions(&mut queue), []);
    }

    #[test]
    fn limits_bind_users_but_not_the_administrator() {
        let mut queue = JobQueue::new(JobLimits {
            jobs_per_machine: 3,
            jobs_per_user: 2,
            files_per_job: 5,
        });
        queue.add(JobKey(1), 1, Priority::Low).unwrap();
        queue.add(JobKey(2), 1, Priority::Low).unwrap();
        assert_eq!(queue.check_room(1), Err(LimitReached::JobsPerUser(2)));
        queue.add(JobKey(3), 2, Priority::Low).unwrap();
        assert_eq!(queue.check_room(2), Err(LimitReached::JobsPerMachine(3)));
        queue.add(JobKey(4), 0, Priority::Low).unwrap();
        queue.restore(JobKey(5), 1, Priority::Low);
        assert_eq!(queue.len(), 5);
        assert_eq!(queue.check_files(1, 3, 2), Ok(()));
        let error = queue.check_files(1, 3, 3).unwrap_err();
        assert_eq!(error, LimitReached::FilesPerJob(5));
        assert!(error.to_string().contains("at most 5 files"));
        assert_eq!(queue.check_files(0, 3, 3), Ok(()));
    }
}
