//! What leads a job from one state to the next.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::job_times::SHORTEST_RETRY_DELAY;
use crate::{ErrorContext, JobError, JobState, JobTimes, Retry};

/// How far the files of a job are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobFiles {
    /// Files in the job.
    pub total: usize,
    /// Those that are here completely.
    pub transferred: usize,
}

/// What completing a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// All files were here.
    Whole,
    /// Only some were: they are kept, the others are given up.
    Partial,
}

/// A call that the state of the job does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobRefusal {
    /// The job is over.
    #[error("the job is {0} and cannot change any more")]
    Final(JobState),
    /// There is nothing to transfer.
    #[error("the job has no files: add one first")]
    Empty,
    /// The driver and the machine disagree.
    #[error("a job that is {from} cannot become {to}")]
    NotFrom {
        /// The state the job is in.
        from: JobState,
        /// The state it was to get.
        to: JobState,
    },
}

/// The state of one job, kept as BITS keeps it.
///
/// Suspend, resume, cancel and complete are legal in every state that is not final.
/// Times are of the wall clock, because a job outlives the machine's uptime; the
/// driver derives them from a clock that does not jump while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMachine {
    state: JobState,
    /// Only in the states `transient_error` and `error`.
    error: Option<JobError>,
    /// Since when every try failed; progress clears it.
    failing_since: Option<SystemTime>,
    /// Time spent connecting and transferring before the present run.
    spent: Duration,
    /// When the present run began; only while running.
    running_since: Option<SystemTime>,
    last_activity: SystemTime,
}

impl JobMachine {
    /// A new job: suspended.
    #[must_use]
    pub const fn new(now: SystemTime) -> Self {
        Self {
            state: JobState::Suspended,
            error: None,
            failing_since: None,
            spent: Duration::ZERO,
            running_since: None,
            last_activity: now,
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> JobState {
        self.state
    }

    /// What is wrong, in the states `transient_error` and `error`.
    #[must_use]
    pub const fn error(&self) -> Option<&JobError> {
        self.error.as_ref()
    }

    /// When the state, a property or the progress changed last.
    #[must_use]
    pub const fn last_activity(&self) -> SystemTime {
        self.last_activity
    }

    /// The user wants it to run. Nothing changes while it is on its way already, or
    /// when all its files are here. Gives a fresh [`JobTimes::max_download_time`].
    ///
    /// # Errors
    /// When the job is over or has no files.
    pub fn resume(&mut self, files: JobFiles, now: SystemTime) -> Result<(), JobRefusal> {
        self.check_open()?;
        if files.total == 0 {
            return Err(JobRefusal::Empty);
        }
        match self.state {
            JobState::Queued | JobState::Connecting | JobState::Transferring => return Ok(()),
            JobState::Transferred if files.transferred == files.total => return Ok(()),
            _ => {}
        }
        self.spent = Duration::ZERO;
        self.failing_since = None;
        self.enter(JobState::Queued, now);
        Ok(())
    }

    /// The user wants it to stop for now.
    ///
    /// # Errors
    /// When the job is over.
    pub fn suspend(&mut self, now: SystemTime) -> Result<(), JobRefusal> {
        self.check_open()?;
        self.enter(JobState::Suspended, now);
        Ok(())
    }

    /// The user gives it up. The driver deletes what was fetched.
    ///
    /// # Errors
    /// When the job is over.
    pub fn cancel(&mut self, now: SystemTime) -> Result<(), JobRefusal> {
        self.check_open()?;
        self.enter(JobState::Cancelled, now);
        Ok(())
    }

    /// The user takes what is here. Call it when the files are in their places: when
    /// placing fails, the job stays as it is.
    ///
    /// # Errors
    /// When the job is over.
    pub fn complete(&mut self, files: JobFiles, now: SystemTime) -> Result<Completion, JobRefusal> {
        self.check_open()?;
        self.enter(JobState::Acknowledged, now);
        Ok(if files.transferred >= files.total {
            Completion::Whole
        } else {
            Completion::Partial
        })
    }

    /// Its turn has come; also the retry after a transient error.
    ///
    /// # Errors
    /// When the job does not wait for its turn.
    pub fn start(&mut self, now: SystemTime) -> Result<(), JobRefusal> {
        self.step(
            &[JobState::Queued, JobState::TransientError],
            JobState::Connecting,
            now,
        )
    }

    /// The origin has answered and bytes flow.
    ///
    /// # Errors
    /// When the job is not connecting.
    pub fn connected(&mut self, now: SystemTime) -> Result<(), JobRefusal> {
        self.step(&[JobState::Connecting], JobState::Transferring, now)
    }

    /// Another job has the turn now.
    ///
    /// # Errors
    /// When the job does not run.
    pub fn requeue(&mut self, now: SystemTime) -> Result<(), JobRefusal> {
        self.step(
            &[JobState::Connecting, JobState::Transferring],
            JobState::Queued,
            now,
        )
    }

    /// What a transient error waited for has happened: it waits for its turn again.
    ///
    /// # Errors
    /// When the job is in no transient error.
    pub fn wake(&mut self, now: SystemTime) -> Result<(), JobRefusal> {
        self.step(&[JobState::TransientError], JobState::Queued, now)
    }

    /// It is worth another try earlier than was said: not after this time. Says whether that
    /// changes anything.
    pub fn retry_by(&mut self, at: SystemTime) -> bool {
        let error = self.error.as_mut();
        let waits = error.filter(|_| self.state == JobState::TransientError);
        match waits.and_then(|error| error.retry_at.as_mut()) {
            Some(retry_at) if *retry_at > at => {
                *retry_at = at;
                true
            }
            _ => false,
        }
    }

    /// All files are here.
    ///
    /// # Errors
    /// When the job does not run.
    pub fn transferred(&mut self, now: SystemTime) -> Result<(), JobRefusal> {
        self.step(
            &[JobState::Connecting, JobState::Transferring],
            JobState::Transferred,
            now,
        )?;
        self.failing_since = None;
        Ok(())
    }

    /// The program starts again: a job that ran when it stopped waits for its turn. The
    /// time in between does not count as spent.
    pub const fn handle_restart(&mut self, now: SystemTime) {
        if self.state.is_running() {
            self.state = JobState::Queued;
            self.running_since = None;
            self.last_activity = now;
        }
    }

    /// Bytes came.
    pub const fn handle_progress(&mut self, now: SystemTime) {
        self.failing_since = None;
        self.last_activity = now;
    }

    /// The user changed something about the job.
    pub const fn handle_activity(&mut self, now: SystemTime) {
        self.last_activity = now;
    }

    /// A try failed. Becomes a transient error with a time to try again, or an error
    /// when trying again cannot help or has not helped for too long.
    ///
    /// # Errors
    /// When the job does not run.
    pub fn fail(
        &mut self,
        mut error: JobError,
        retry: Retry,
        times: &JobTimes,
        now: SystemTime,
    ) -> Result<(), JobRefusal> {
        let failing_since = self.failing_since.unwrap_or(now);
        let delay = times.retry_delay.max(SHORTEST_RETRY_DELAY);
        let gives_up = later(failing_since, times.no_progress_timeout);
        // No retry fits into the time that errors may go on: also when that is zero.
        let hopeless =
            retry == Retry::Never || delay > times.no_progress_timeout || now >= gives_up;
        error.retry_at = match retry {
            Retry::At(not_before) if !hopeless => {
                let at = later(now, delay);
                Some(not_before.map_or(at, |not_before| at.max(not_before)))
            }
            _ => None,
        };
        let to = if hopeless {
            JobState::Error
        } else {
            JobState::TransientError
        };
        self.step(
            &[
                JobState::Queued,
                JobState::Connecting,
                JobState::Transferring,
                JobState::TransientError,
            ],
            to,
            now,
        )?;
        self.failing_since = Some(failing_since);
        self.error = Some(error);
        Ok(())
    }

    /// Time went by. Says whether the state changed: a transient error whose time has
    /// come is queued again, a job that ran too long fails, a forgotten one is
    /// cancelled.
    pub fn handle_timeout(&mut self, times: &JobTimes, now: SystemTime) -> bool {
        if self.poll_timeout(times).is_none_or(|at| now < at) {
            return false;
        }
        if now >= later(self.last_activity, times.inactivity_timeout) && !self.state.is_running() {
            self.enter(JobState::Cancelled, now);
            return true;
        }
        match self.state {
            JobState::TransientError => {
                let gives_up = self
                    .failing_since
                    .is_some_and(|since| now >= later(since, times.no_progress_timeout));
                let retry_at = self.error.as_ref().and_then(|error| error.retry_at);
                if gives_up {
                    let error = self.error.take().map(|error| JobError {
                        retry_at: None,
                        ..error
                    });
                    self.enter(JobState::Error, now);
                    self.error = error;
                } else if retry_at.is_some_and(|at| now >= at) {
                    self.enter(JobState::Queued, now);
                } else {
                    return false;
                }
            }
            JobState::Connecting | JobState::Transferring => {
                self.enter(JobState::Error, now);
                self.error = Some(JobError::new(
                    "max_download_time",
                    ErrorContext::Queue,
                    "the transfer took longer than its time limit",
                ));
            }
            _ => return false,
        }
        true
    }

    /// When [`JobMachine::handle_timeout`] would change something.
    #[must_use]
    pub fn poll_timeout(&self, times: &JobTimes) -> Option<SystemTime> {
        if self.state.is_final() {
            return None;
        }
        let by_state = match self.state {
            JobState::TransientError => {
                let retry_at = self.error.as_ref().and_then(|error| error.retry_at);
                let gives_up = self
                    .failing_since
                    .map(|since| later(since, times.no_progress_timeout));
                [retry_at, gives_up].into_iter().flatten().min()
            }
            JobState::Connecting | JobState::Transferring => {
                let left = times.max_download_time.saturating_sub(self.spent);
                return self.running_since.map(|since| later(since, left));
            }
            _ => None,
        };
        let inactive = later(self.last_activity, times.inactivity_timeout);
        Some(by_state.map_or(inactive, |at| at.min(inactive)))
    }

    const fn check_open(&self) -> Result<(), JobRefusal> {
        if self.state.is_final() {
            return Err(JobRefusal::Final(self.state));
        }
        Ok(())
    }

    fn step(&mut self, from: &[JobState], to: JobState, now: SystemTime) -> Result<(), JobRefusal> {
        self.check_open()?;
        if !from.contains(&self.state) {
            return Err(JobRefusal::NotFrom {
                from: self.state,
                to,
            });
        }
        self.enter(to, now);
        Ok(())
    }

    fn enter(&mut self, to: JobState, now: SystemTime) {
        match (self.running_since, to.is_running()) {
            (Some(since), false) => {
                self.spent += now.duration_since(since).unwrap_or_default();
                self.running_since = None;
            }
            (None, true) => self.running_since = Some(now),
            _ => {}
        }
        self.state = to;
        self.error = None;
        self.last_activity = now;
    }
}

/// Saturates: a limit beyond the end of time is none.
fn later(time: SystemTime, by: Duration) -> SystemTime {
    const FAR: Duration = Duration::from_secs(1_000 * 365 * 24 * 3600);
    time.checked_add(by.min(FAR)).unwrap_or(time)
}

#[cfg(test)]
mod tests;
