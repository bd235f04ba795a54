//! How many jobs and files there may be.

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
