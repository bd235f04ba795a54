//! The states of a job and what leads from one to the next.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{ErrorContext, JobError, Retry};

/// The shortest retry delay; a shorter one is raised to it.
pub(crate) const SHORTEST_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The state of a job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for the user: how every job begins.
    Suspended,
    /// Waits for its turn.
    Queued,
    /// Asks the origin what there is.
    Connecting,
    /// Bytes flow.
    Transferring,
    /// Failed in a way that may pass; tried again later.
    TransientError,
    /// Failed; waits for the user.
    Error,
    /// All files are here; waits to be completed.
    Transferred,
    /// Completed. Final.
    Acknowledged,
    /// Given up. Final.
    Cancelled,
}

impl JobState {
    /// Nothing leads out of a final state.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Cancelled)
    }

    /// Whether the job holds a place among the running ones.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Connecting | Self::Transferring)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::Transferring => "transferring",
            Self::TransientError => "transient_error",
            Self::Error => "error",
            Self::Transferred => "transferred",
            Self::Acknowledged => "acknowledged",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The time limits of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTimes {
    /// How long after a transient error it is tried again; at least 5 s.
    pub retry_delay: Duration,
    /// How long errors may go on without progress before the job fails. Zero: the
    /// first error is final.
    pub no_progress_timeout: Duration,
    /// How long a job may be connecting and transferring, all together.
    pub max_download_time: Duration,
    /// A job that nothing happened to for so long is cancelled.
    pub inactivity_timeout: Duration,
}

impl Default for JobTimes {
    /// As BITS: 600 s, 14 days, 90 days, 90 days.
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            retry_delay: Duration::from_secs(600),
            no_progress_timeout: Duration::from_secs(14 * DAY),
            max_download_time: Duration::from_secs(90 * DAY),
            inactivity_timeout: Duration::from_secs(90 * DAY),
        }
    }
}

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
mod tests {
    use super::*;

    const FILES: JobFiles = JobFiles {
        total: 2,
        transferred: 0,
    };
    const DONE: JobFiles = JobFiles {
        total: 2,
        transferred: 2,
    };
    const AGAIN: Retry = Retry::At(None);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn trouble() -> JobError {
        JobError::new("http_503", ErrorContext::Origin, "the server is busy")
    }

    /// A job that transfers since second 0.
    fn transferring() -> JobMachine {
        let mut job = JobMachine::new(at(0));
        job.resume(FILES, at(0)).unwrap();
        job.start(at(0)).unwrap();
        job.connected(at(0)).unwrap();
        job
    }

    #[test]
    fn a_good_life() {
        let mut job = JobMachine::new(at(0));
        assert_eq!(job.state(), JobState::Suspended);
        assert_eq!(
            job.resume(JobFiles::default(), at(0)),
            Err(JobRefusal::Empty)
        );
        assert_eq!(job.state(), JobState::Suspended);
        let mut job = transferring();
        assert_eq!(job.resume(FILES, at(1)), Ok(()), "no change on its way");
        assert_eq!(job.state(), JobState::Transferring);
        job.transferred(at(2)).unwrap();
        job.resume(DONE, at(3)).unwrap();
        assert_eq!(job.state(), JobState::Transferred, "nothing left to do");
        assert_eq!(job.complete(DONE, at(4)), Ok(Completion::Whole));
        for refused in [
            job.resume(DONE, at(5)),
            job.suspend(at(5)),
            job.cancel(at(5)),
            job.complete(DONE, at(5)).map(|_| ()),
        ] {
            assert_eq!(refused, Err(JobRefusal::Final(JobState::Acknowledged)));
        }
        assert_eq!(job.poll_timeout(&JobTimes::default()), None);
    }

    #[test]
    fn the_four_calls_are_legal_until_the_end() {
        let states: [fn(&mut JobMachine); 7] = [
            |_| {},
            |job| job.resume(FILES, at(0)).unwrap(),
            |job| {
                *job = {
                    let mut job = transferring();
                    job.requeue(at(0)).unwrap();
                    job.start(at(0)).unwrap();
                    job
                }
            },
            |job| *job = transferring(),
            |job| {
                *job = transferring();
                job.fail(trouble(), AGAIN, &JobTimes::default(), at(0))
                    .unwrap();
            },
            |job| {
                *job = transferring();
                job.fail(trouble(), Retry::Never, &JobTimes::default(), at(0))
                    .unwrap();
            },
            |job| {
                *job = transferring();
                job.transferred(at(0)).unwrap();
            },
        ];
        for prepare in states {
            let mut job = JobMachine::new(at(0));
            prepare(&mut job);
            let before = job.clone();
            assert_eq!(job.suspend(at(1)), Ok(()));
            assert_eq!(job.state(), JobState::Suspended);
            assert_eq!(job.error(), None);
            job = before.clone();
            assert_eq!(job.complete(FILES, at(1)), Ok(Completion::Partial));
            job = before.clone();
            assert_eq!(job.cancel(at(1)), Ok(()));
            job = before.clone();
            assert_eq!(job.resume(FILES, at(1)), Ok(()), "{before:?}");
        }
    }

    #[test]
    fn a_transient_error_is_tried_again_in_ten_minutes() {
        let times = JobTimes::default();
        let mut job = transferring();
        job.fail(trouble(), AGAIN, &times, at(100)).unwrap();
        assert_eq!(job.state(), JobState::TransientError);
        assert_eq!(job.error().unwrap().retry_at, Some(at(700)));
        assert_eq!(job.poll_timeout(&times), Some(at(700)));
        assert!(!job.handle_timeout(&times, at(699)));
        assert!(job.handle_timeout(&times, at(700)));
        assert_eq!((job.state(), job.error()), (JobState::Queued, None));
        job.start(at(700)).unwrap();
        let later = Retry::At(Some(at(9_000)));
        job.fail(trouble(), later, &times, at(701)).unwrap();
        assert_eq!(job.error().unwrap().retry_at, Some(at(9_000)));
        job.resume(FILES, at(702)).unwrap();
        assert_eq!(job.state(), JobState::Queued, "the user need not wait");
    }

    #[test]
    fn the_retry_delay_is_at_least_five_seconds() {
        let times = JobTimes {
            retry_delay: Duration::ZERO,
            ..JobTimes::default()
        };
        let mut job = transferring();
        job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
        assert_eq!(job.error().unwrap().retry_at, Some(at(5)));
    }

    #[test]
    fn errors_without_progress_end_after_two_weeks() {
        let times = JobTimes::default();
        let mut job = transferring();
        job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
        let mut now = at(0);
        while job.state() == JobState::TransientError {
            now = job.poll_timeout(&times).unwrap();
            assert!(job.handle_timeout(&times, now));
            if job.state() == JobState::Queued {
                job.start(now).unwrap();
                job.fail(trouble(), AGAIN, &times, now).unwrap();
            }
        }
        assert_eq!(job.state(), JobState::Error);
        assert_eq!(job.error().unwrap().retry_at, None);
        assert_eq!(now, at(14 * 24 * 3600));
        // Progress gives it another two weeks.
        let mut job = transferring();
        job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
        job.start(at(600)).unwrap();
        job.handle_progress(at(601));
        job.fail(trouble(), AGAIN, &times, at(14 * 24 * 3600))
            .unwrap();
        assert_eq!(job.state(), JobState::TransientError);
    }

    #[test]
    fn without_time_for_a_retry_an_error_is_final() {
        for no_progress_timeout in [Duration::ZERO, Duration::from_secs(599)] {
            let times = JobTimes {
                no_progress_timeout,
                ..JobTimes::default()
            };
            let mut job = transferring();
            job.fail(trouble(), AGAIN, &times, at(0)).unwrap();
            assert_eq!(job.state(), JobState::Error);
        }
    }

    #[test]
    fn an_error_that_waits_for_an_event_has_no_time() {
        let times = JobTimes::default();
        let mut job = transferring();
        job.fail(trouble(), Retry::OnEvent, &times, at(0)).unwrap();
        assert_eq!(job.error().unwrap().retry_at, None);
        assert_eq!(job.poll_timeout(&times), Some(at(14 * 24 * 3600)));
        job.wake(at(5)).unwrap();
        assert_eq!(job.state(), JobState::Queued);
    }

    #[test]
    fn only_running_time_counts_for_the_longest_transfer() {
        let times = JobTimes {
            max_download_time: Duration::from_secs(100),
            ..JobTimes::default()
        };
        let mut job = transferring();
        job.requeue(at(60)).unwrap();
        job.start(at(1_000)).unwrap();
        assert_eq!(job.poll_timeout(&times), Some(at(1_040)));
        job.handle_restart(at(5_000));
        assert_eq!(job.state(), JobState::Queued);
        job.start(at(6_000)).unwrap();
        assert!(job.handle_timeout(&times, at(6_040)));
        assert_eq!(job.state(), JobState::Error);
        assert_eq!(job.error().unwrap().code, "max_download_time");
        job.resume(FILES, at(7_000)).unwrap();
        job.start(at(7_000)).unwrap();
        assert_eq!(job.poll_timeout(&times), Some(at(7_100)), "a fresh limit");
    }

    #[test]
    fn a_forgotten_job_is_cancelled() {
        let times = JobTimes::default();
        let mut job = JobMachine::new(at(0));
        job.handle_activity(at(10));
        let end = job.poll_timeout(&times).unwrap();
        assert_eq!(end, at(10 + 90 * 24 * 3600));
        assert!(job.handle_timeout(&times, end));
        assert_eq!(job.state(), JobState::Cancelled);
    }

    #[test]
    fn what_does_not_follow_is_refused_and_changes_nothing() {
        let mut job = JobMachine::new(at(0));
        let before = job.clone();
        assert!(job.start(at(1)).is_err());
        assert!(job.connected(at(1)).is_err());
        assert!(job.transferred(at(1)).is_err());
        assert!(job.wake(at(1)).is_err());
        let times = JobTimes::default();
        assert!(job.fail(trouble(), AGAIN, &times, at(1)).is_err());
        assert_eq!(job, before);
    }

    #[test]
    fn it_survives_being_written_down() {
        let mut job = transferring();
        job.fail(trouble(), AGAIN, &JobTimes::default(), at(3))
            .unwrap();
        let json = serde_json::to_string(&job).unwrap();
        assert!(json.contains("\"transient_error\""));
        assert_eq!(serde_json::from_str::<JobMachine>(&json).unwrap(), job);
    }
}
