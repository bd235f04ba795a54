//! Files that came, and then did not get to the disk.

use potluck_plan::{ErrorContext, JobError};

use crate::jobs::entry::Entry;

impl Entry {
    /// Lets go of what is known not to be what it should be: it is fetched again. Gives
    /// what to say of that.
    pub(super) fn drop_lost(&mut self) -> Option<JobError> {
        let leases = self.leases.iter();
        let lost: Vec<usize> = leases
            .filter(|(_, lease)| lease.is_lost())
            .map(|(index, _)| *index)
            .collect();
        let mut urls = Vec::new();
        for index in &lost {
            self.leases.remove(index);
            if let Some(file) = self.job.files.get_mut(*index) {
                file.reset();
                urls.push(file.public_url());
            }
        }
        let first = urls.first()?;
        let message = format!(
            "{} of the files did not get to the disk and must come again, {first} first: look \
             whether the kernel speaks of faults of the disk",
            urls.len(),
        );
        Some(JobError::new(
            "cache_failed",
            ErrorContext::LocalFile,
            message,
        ))
    }
}
