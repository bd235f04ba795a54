//! Jobs that were made together, in one file.
//!
//! The first line says the version, each other line is a job as it was made. A job that
//! changes gets a file of its own, which counts from then on; one that is forgotten leaves
//! an empty file `ID.gone`. When no job needs the file any more, it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::jobs::{Job, JobId};

/// The files, and which jobs they hold.
#[derive(Debug, Default)]
pub(super) struct Batches {
    files: BTreeMap<u64, Batch>,
    of: BTreeMap<JobId, u64>,
    next: u64,
    /// There are jobs that cannot be read, and nobody knows which.
    are_unread: bool,
}

#[derive(Debug)]
struct Batch {
    path: PathBuf,
    /// Jobs that have no file of their own.
    unchanged: BTreeSet<JobId>,
    /// All that are written in it.
    jobs: Vec<JobId>,
    gone: Vec<JobId>,
    /// A line cannot be read: somebody may want to look at it.
    is_broken: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
}

pub(super) fn file_name(first: JobId) -> String {
    format!("{first}.jobs")
}

pub(super) fn gone_name(id: JobId) -> String {
    format!("{id}.gone")
}

pub(super) fn encode(jobs: &[Job]) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Head { version: VERSION })?;
    for job in jobs {
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, job)?;
    }
    bytes.push(b'\n');
    Ok(bytes)
}

/// The jobs, and whether there are others that cannot be read.
fn decode(path: &Path) -> Result<(Vec<Job>, bool), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let head: Head = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    if head.version != VERSION {
        return Err(format!("version {} is not known", head.version));
    }
    let lines = lines.filter(|line| !line.is_empty());
    let (mut jobs, mut is_broken) = (Vec::new(), false);
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(job) => jobs.push(job),
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "a job cannot be read");
                is_broken = true;
            }
        }
    }
    Ok((jobs, is_broken))
}

impl Batches {
    /// Reads a file. Gives the jobs that have none of their own and are not gone.
    pub(super) fn load(
        &mut self,
        path: PathBuf,
        changed: &BTreeSet<JobId>,
        gone: &BTreeSet<JobId>,
    ) -> Vec<Job> {
        let (jobs, is_broken) = match decode(&path) {
            Ok(read) => read,
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "jobs cannot be read");
                self.are_unread = true;
                return Vec::new();
            }
        };
        self.are_unread |= is_broken;
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let number = self.add(path, ids);
        let unchanged: Vec<Job> = jobs
            .into_iter()
            .filter(|job| !changed.contains(&job.id) && !gone.contains(&job.id))
            .collect();
        if let Some(batch) = self.files.get_mut(&number) {
            batch.is_broken = is_broken;
            batch.unchanged = unchanged.iter().map(|job| job.id).collect();
            let is_gone = |id: &JobId| gone.contains(id);
            batch.gone = batch.jobs.iter().copied().filter(is_gone).collect();
        }
        unchanged
    }

    /// Whether there may be jobs that could not be read.
    pub(super) const fn are_unread(&self) -> bool {
        self.are_unread
    }

    /// Removes what nobody needs any more.
    pub(super) fn tidy(&mut self, dir: &Path, gone: &BTreeSet<JobId>) {
        // What cannot be read now may be another time, and must not bring jobs back.
        if !self.are_unread {
            for id in gone.iter().filter(|id| !self.of.contains_key(id)) {
                let _ = fs::remove_file(dir.join(gone_name(*id)));
            }
        }
        let numbers: Vec<u64> = self.files.keys().copied().collect();
        for number in numbers {
            self.drop_unneeded(dir, number);
        }
    }

    /// A file was written.
    pub(super) fn add(&mut self, path: PathBuf, ids: Vec<JobId>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.of.extend(ids.iter().map(|id| (*id, number)));
        let batch = Batch {
            path,
            unchanged: ids.iter().copied().collect(),
            jobs: ids,
            gone: Vec::new(),
            is_broken: false,
        };
        self.files.insert(number, batch);
        number
    }

    /// Whether a file would bring this job back.
    pub(super) fn holds(&self, id: JobId) -> bool {
        self.of.contains_key(&id)
    }

    /// A job has a file of its own.
    pub(super) fn replaced(&mut self, dir: &Path, id: JobId) {
        if let Some(number) = self.of.get(&id).copied()
            && let Some(batch) = self.files.get_mut(&number)
            && batch.unchanged.remove(&id)
        {
            self.drop_unneeded(dir, number);
        }
    }

    /// A job was forgotten.
    pub(super) fn gone(&mut self, dir: &Path, id: JobId) {
        if let Some(number) = self.of.get(&id).copied()
            && let Some(batch) = self.files.get_mut(&number)
        {
            batch.unchanged.remove(&id);
            batch.gone.push(id);
            self.drop_unneeded(dir, number);
        }
    }

    fn drop_unneeded(&mut self, dir: &Path, number: u64) {
        let unneeded = |batch: &Batch| batch.unchanged.is_empty() && !batch.is_broken;
        if !self.files.get(&number).is_some_and(unneeded) {
            return;
        }
        let Some(batch) = self.files.get(&number) else {
            return;
        };
        // What says that jobs are gone goes last: the file must not bring them back. As long
        // as it is there, it is remembered.
        let removed = match fs::remove_file(&batch.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(dir).and_then(|dir| dir.sync_all()),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %batch.path.display(), %error, "jobs made together stay on disk");
            return;
        }
        for id in &batch.jobs {
            self.of.remove(id);
        }
        for id in &batch.gone {
            let _ = fs::remove_file(dir.join(gone_name(*id)));
        }
        self.files.remove(&number);
    }
}
