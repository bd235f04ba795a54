//! Which jobs run, and when something is due with any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::{
    JobAction, JobKey, JobLimits, JobMachine, JobQueue, JobState, JobTimes, LimitReached, Priority,
};

/// The turns and the timers of all jobs.
///
/// Where a job stands follows from its state alone: whoever changed the state calls
/// [`Schedule::follow`]. Each call costs the logarithm of the number of jobs.
#[derive(Debug)]
pub struct Schedule {
    queue: JobQueue,
    deadlines: BTreeSet<(SystemTime, JobKey)>,
    deadline_of: BTreeMap<JobKey, SystemTime>,
}

impl Schedule {
    /// An empty one: see [`JobQueue::new`].
    #[must_use]
    pub const fn new(limits: JobLimits, slice: Duration) -> Self {
        Self {
            queue: JobQueue::new(limits, slice),
            deadlines: BTreeSet::new(),
            deadline_of: BTreeMap::new(),
        }
    }

    /// See [`JobQueue::check_room`].
    ///
    /// # Errors
    /// When the machine or the user has the most jobs it may have.
    pub fn check_room(&self, owner: u32) -> Result<(), LimitReached> {
        self.queue.check_room(owner)
    }

    /// See [`JobQueue::check_files`].
    ///
    /// # Errors
    /// When they would be too many.
    pub const fn check_files(
        &self,
        owner: u32,
        files: usize,
        more: usize,
    ) -> Result<(), LimitReached> {
        self.queue.check_files(owner, files, more)
    }

    /// Takes a new job in. It stands nowhere until it is followed.
    ///
    /// # Errors
    /// As [`Schedule::check_room`].
    pub fn add(&mut self, job: JobKey, owner: u32, priority: Priority) -> Result<(), LimitReached> {
        self.queue.add(job, owner, priority)
    }

    /// Takes a job in that was there before a restart: see [`JobQueue::restore`].
    pub fn restore(&mut self, job: JobKey, owner: u32, priority: Priority) {
        self.queue.restore(job, owner, priority);
    }

    /// A job has, or may have, another state than before.
    pub fn follow(&mut self, job: JobKey, machine: &JobMachine, times: &JobTimes, now: SystemTime) {
        self.set_deadline(job, machine.poll_timeout(times));
        match machine.state() {
            JobState::Queued => self.queue.set_ready(job, now),
            JobState::Connecting | JobState::Transferring => {}
            state if state.is_final() => self.queue.remove(job, now),
            _ => self.queue.set_idle(job, now),
        }
    }

    /// A job is over, or was never to be.
    pub fn remove(&mut self, job: JobKey, now: SystemTime) {
        self.set_deadline(job, None);
        self.queue.remove(job, now);
    }

    /// A job is not to run until it is followed again, whatever its state.
    pub fn hold(&mut self, job: JobKey, now: SystemTime) {
        self.queue.set_idle(job, now);
    }

    /// A running job was stopped only to be started anew: it keeps its turn.
    pub fn begin_again(&mut self, job: JobKey) {
        self.queue.begin_again(job);
    }

    /// Changes the level of a job.
    pub fn set_priority(&mut self, job: JobKey, priority: Priority, now: SystemTime) {
        self.queue.set_priority(job, priority, now);
    }

    /// Changes the owner of a job.
    pub fn set_owner(&mut self, job: JobKey, owner: u32) {
        self.queue.set_owner(job, owner);
    }

    /// Time went by. Gives the jobs with which something is due, each once: the driver
    /// calls [`JobMachine::handle_timeout`] and follows the job again.
    pub fn handle_timeout(&mut self, now: SystemTime) -> Vec<JobKey> {
        let mut due = Vec::new();
        while let Some((at, job)) = self.deadlines.first().copied()
            && at <= now
        {
            self.set_deadline(job, None);
            due.push(job);
        }
        self.queue.handle_timeout(now);
        due
    }

    /// When [`Schedule::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<SystemTime> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.queue.poll_timeout()).min()
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<JobAction> {
        self.queue.poll_action()
    }

    /// The jobs that run.
    pub fn running(&self) -> impl Iterator<Item = JobKey> + '_ {
        self.queue.running()
    }

    /// How many jobs go before this one: see [`JobQueue::ahead_of`].
    #[must_use]
    pub fn ahead_of(&self, job: JobKey) -> Option<usize> {
        self.queue.ahead_of(job)
    }

    fn set_deadline(&mut self, job: JobKey, at: Option<SystemTime>) {
        let before = match at {
            Some(at) => self.deadline_of.insert(job, at),
            None => self.deadline_of.remove(&job),
        };
        if let Some(before) = before {
            self.deadlines.remove(&(before, job));
        }
        self.deadlines.extend(at.map(|at| (at, job)));
    }
}
