//! The job store: one file per job, and one for many that were made together.
//!
//! A file is written under a temporary name, synced and renamed, and the directory is
//! synced: after a crash a job is as it was before or after a change, never between.

mod batch;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use super::{Job, JobId, SecretStore};
use batch::Batches;

/// What the files are written as; a later version reads earlier ones.
const VERSION: u32 = 1;

/// Keeps jobs in a directory. Blocks: call it from threads that may. Clones share it.
#[derive(Debug, Clone)]
pub struct JobStore {
    dir: PathBuf,
    batches: Arc<Mutex<Batches>>,
    /// Names are not made durable.
    #[cfg(test)]
    sync_fails: Arc<std::sync::atomic::AtomicBool>,
}

/// A job could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file it was about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is in a file.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    job: &'a Job,
}

#[derive(Deserialize)]
struct Read {
    job: Job,
}

/// Of a file that is of another version nothing else is looked at.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl JobStore {
    /// Opens the store in `dir` and makes the directory if it is missing. It is closed
    /// to other users: URLs may hold passwords.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| at(dir, source))?;
        Ok(Self {
            dir: dir.into(),
            batches: Arc::default(),
            #[cfg(test)]
            sync_fails: Arc::default(),
        })
    }

    /// Where the secrets of these jobs are.
    #[must_use]
    pub fn secrets(&self) -> SecretStore {
        SecretStore::new(&self.dir)
    }

    /// Reads all jobs. What cannot be understood is left where it is and told to the log:
    /// one broken file costs one job, not all. Call it before anything is changed.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn load(&self) -> Result<Vec<Job>, StoreError> {
        let mut found = Found::default();
        let entries = fs::read_dir(&self.dir).map_err(|source| at(&self.dir, source))?;
        for entry in entries {
            let path = entry.map_err(|source| at(&self.dir, source))?.path();
            found.sort(path);
        }
        let mut jobs = read_all(&found.single);
        let known = found.single.iter().map(|(id, _)| *id).collect();
        let mut batches = self.batches();
        *batches = Batches::default();
        for path in found.batches {
            jobs.extend(batches.load(path, &known, &found.gone));
        }
        batches.tidy(&self.dir, &found.gone);
        jobs.sort_by_key(|job| (job.created, job.id));
        Ok(jobs)
    }

    /// Whether there is a record of a job, or may be one: also one that cannot be read now.
    #[must_use]
    pub fn may_hold(&self, id: JobId) -> bool {
        self.path(id).try_exists().unwrap_or(true) || self.batches().are_unread()
    }

    /// Keeps a job; durable when it returns.
    ///
    /// # Errors
    /// When the disk fails. It may be kept all the same, where the disk failed at the last:
    /// who goes on with the job as it was before keeps that again.
    pub fn save(&self, job: &Job) -> Result<(), StoreError> {
        let path = self.path(job.id);
        let written = Written {
            version: VERSION,
            job,
        };
        let bytes = serde_json::to_vec(&written).map_err(|error| at(&path, error.into()))?;
        self.replace(&path, &bytes)?;
        self.batches().replaced(&self.dir, job.id);
        Ok(())
    }

    /// Keeps jobs that were just made: several together in one file and with one sync. All
    /// of them are durable when it returns.
    ///
    /// # Errors
    /// When the disk fails; then none of them is kept.
    pub fn save_new(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let Some(first) = jobs.first() else {
            return Ok(());
        };
        if let [job] = jobs {
            return self.save(job).inspect_err(|_| {
                let _ = fs::remove_file(self.path(job.id));
            });
        }
        let path = self.dir.join(batch::file_name(first.id));
        let bytes = batch::encode(jobs).map_err(|error| at(&path, error.into()))?;
        self.replace(&path, &bytes).inspect_err(|_| {
            // It may have its name already.
            let _ = fs::remove_file(&path);
        })?;
        let ids = jobs.iter().map(|job| job.id);
        self.batches().add(path, ids.collect());
        Ok(())
    }

    /// Forgets a job; durable when it returns.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, id: JobId) -> Result<(), StoreError> {
        let path = self.path(id);
        if self.batches().holds(id) {
            // The file that it was made in must not bring it back.
            let gone = self.dir.join(batch::gone_name(id));
            match fs::rename(&path, &gone) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => create(&gone).map(drop),
                renamed => renamed,
            }
            .and_then(|()| self.sync())
            .map_err(|source| at(&gone, source))?;
            self.batches().gone(&self.dir, id);
            return Ok(());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path, error)),
            _ => self.sync().map_err(|source| at(&self.dir, source)),
        }
    }

    /// Puts a file in the place of the old one, if there is one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = path.with_extension("tmp");
        let write = || -> io::Result<()> {
            let mut file = create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            self.sync()
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            at(path, source)
        })
    }

    fn path(&self, id: JobId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.sync_fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        File::open(&self.dir)?.sync_all()
    }

    fn batches(&self) -> std::sync::MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in the directory.
#[derive(Default)]
struct Found {
    single: Vec<(JobId, PathBuf)>,
    batches: Vec<PathBuf>,
    gone: BTreeSet<JobId>,
}

impl Found {
    fn sort(&mut self, path: PathBuf) {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((stem, ending)) = name.and_then(|name| name.rsplit_once('.')) else {
            return;
        };
        match (ending, stem.parse()) {
            // A write that a crash cut off: what it was to replace is whole.
            ("tmp", _) => drop(fs::remove_file(&path)),
            ("json", Ok(id)) => self.single.push((id, path)),
            ("jobs", Ok(_)) => self.batches.push(path),
            ("gone", Ok(id)) => drop(self.gone.insert(id)),
            _ => {}
        }
    }
}

/// Reads the files of single jobs, on all processors.
fn read_all(files: &[(JobId, PathBuf)]) -> Vec<Job> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(threads).max(64);
    thread::scope(|scope| {
        let parts: Vec<_> = files
            .chunks(share)
            .map(|part| scope.spawn(|| part.iter().filter_map(read_or_tell).collect::<Vec<_>>()))
            .collect();
        let parts = parts.into_iter().map(|part| match part.join() {
            Ok(jobs) => jobs,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        parts.flatten().collect()
    })
}

fn read_or_tell((id, path): &(JobId, PathBuf)) -> Option<Job> {
    let job = read(path, *id);
    job.inspect_err(|reason| {
        tracing::warn!(path = %path.display(), reason, "a job cannot be read");
    })
    .ok()
}

fn read(path: &Path, id: JobId) -> Result<Job, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let read: Version = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if read.version != VERSION {
        return Err(format!("version {} is not known", read.version));
    }
    let Read { job } = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if job.id != id {
        return Err(format!("it holds the job {}", job.id));
    }
    Ok(job)
}

fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn at(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
