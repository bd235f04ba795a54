//! How many jobs and files there may be.

use std::collections::BTreeMap;

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

/// How many jobs there are, and whether there may be more. User 0 always may.
#[derive(Debug)]
pub(crate) struct JobCounts {
    limits: JobLimits,
    all: usize,
    by_owner: BTreeMap<u32, usize>,
}

impl JobCounts {
    pub(crate) const fn new(limits: JobLimits) -> Self {
        Self {
            limits,
            all: 0,
            by_owner: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, owner: u32) {
        self.all += 1;
        *self.by_owner.entry(owner).or_default() += 1;
    }

    pub(crate) fn remove(&mut self, owner: u32) {
        if let Some(jobs) = self.by_owner.get_mut(&owner) {
            self.all -= 1;
            *jobs -= 1;
            if *jobs == 0 {
                self.by_owner.remove(&owner);
            }
        }
    }

    pub(crate) fn check_room(&self, owner: u32) -> Result<(), LimitReached> {
        if owner == 0 {
            return Ok(());
        }
        let own = self.by_owner.get(&owner).copied().unwrap_or_default();
        if own >= self.limits.jobs_per_user {
            return Err(LimitReached::JobsPerUser(self.limits.jobs_per_user));
        }
        if self.all >= self.limits.jobs_per_machine {
            return Err(LimitReached::JobsPerMachine(self.limits.jobs_per_machine));
        }
        Ok(())
    }

    pub(crate) const fn check_files(
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
