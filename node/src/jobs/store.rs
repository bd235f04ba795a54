//! The job store: one file per job.
//!
//! A file is written under a temporary name, synced and renamed, and the directory is
//! synced: after a crash a job is as it was before or after a change, never between.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Job, JobId};

/// What the files are written as; a later version reads earlier ones.
const VERSION: u32 = 1;

/// Keeps jobs in a directory. Blocks: call it from threads that may.
#[derive(Debug, Clone)]
pub struct JobStore {
    dir: PathBuf,
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
    version: u32,
    job: serde_json::Value,
}

impl JobStore {
    /// Opens the store in `dir` and makes the directory if it is missing. It is closed
    /// to other users: jobs hold header fields with passwords.
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
        Ok(Self { dir: dir.into() })
    }

    /// Reads all jobs. A file that cannot be understood is left where it is and told
    /// to the log: one broken file costs one job, not all.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn load(&self) -> Result<Vec<Job>, StoreError> {
        let mut jobs = Vec::new();
        let entries = fs::read_dir(&self.dir).map_err(|source| at(&self.dir, source))?;
        for entry in entries {
            let path = entry.map_err(|source| at(&self.dir, source))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.ends_with(".tmp") {
                // A write that a crash cut off: the job's own file is whole.
                let _ = fs::remove_file(&path);
            } else if let Some(id) = name.strip_suffix(".json").and_then(|id| id.parse().ok()) {
                match read(&path, id) {
                    Ok(job) => jobs.push(job),
                    Err(reason) => {
                        tracing::warn!(path = %path.display(), reason, "a job cannot be read");
                    }
                }
            }
        }
        jobs.sort_by_key(|job| (job.created, job.id));
        Ok(jobs)
    }

    /// Keeps a job; durable when it returns.
    ///
    /// # Errors
    /// When the disk fails; then the job is kept as it was before.
    pub fn save(&self, job: &Job) -> Result<(), StoreError> {
        let path = self.path(job.id);
        let temporary = self.dir.join(format!("{}.tmp", job.id));
        let written = Written {
            version: VERSION,
            job,
        };
        let write = || -> io::Result<()> {
            let mut file = create(&temporary)?;
            file.write_all(&serde_json::to_vec(&written)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            self.sync()
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            at(&path, source)
        })
    }

    /// Forgets a job; durable when it returns.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, id: JobId) -> Result<(), StoreError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path, error)),
            _ => self.sync().map_err(|source| at(&self.dir, source)),
        }
    }

    fn path(&self, id: JobId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

fn read(path: &Path, id: JobId) -> Result<Job, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let read: Read = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if read.version != VERSION {
        return Err(format!("version {} is not known", read.version));
    }
    let job: Job = serde_json::from_value(read.job).map_err(|error| error.to_string())?;
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
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::jobs::JobFile;

    fn job(id: &str, second: u64) -> Job {
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        Job {
            name: "a".into(),
            files: vec![JobFile::new("http://o/a".into(), "/tmp/a".into())],
            ..Job::new(id.parse().unwrap(), 7, created)
        }
    }

    #[test]
    fn what_was_saved_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = JobStore::open(&dir.path().join("jobs")).unwrap();
        let (a, b) = (job("00000000000000aa", 2), job("00000000000000bb", 1));
        store.save(&a).unwrap();
        store.save(&b).unwrap();
        let again = JobStore::open(&dir.path().join("jobs")).unwrap();
        assert_eq!(
            again.load().unwrap(),
            [b.clone(), a.clone()],
            "in the order of their making"
        );
        again.remove(b.id).unwrap();
        again.remove(b.id).unwrap();
        assert_eq!(again.load().unwrap(), [a]);
    }

    #[test]
    fn a_crash_leaves_the_old_or_the_new() {
        let dir = tempfile::tempdir().unwrap();
        let store = JobStore::open(dir.path()).unwrap();
        let kept = job("00000000000000aa", 1);
        store.save(&kept).unwrap();
        let whole = fs::read(dir.path().join("00000000000000aa.json")).unwrap();
        // The write of a later state, cut off anywhere, is under the temporary name.
        for end in [0, 1, whole.len() / 2, whole.len()] {
            let temporary = dir.path().join("00000000000000aa.tmp");
            fs::write(&temporary, &whole[..end]).unwrap();
            assert_eq!(store.load().unwrap(), std::slice::from_ref(&kept));
            assert!(!temporary.exists());
        }
    }

    #[test]
    fn one_broken_file_costs_one_job() {
        let dir = tempfile::tempdir().unwrap();
        let store = JobStore::open(dir.path()).unwrap();
        let kept = job("00000000000000aa", 1);
        store.save(&kept).unwrap();
        fs::write(dir.path().join("00000000000000bb.json"), "{").unwrap();
        fs::write(
            dir.path().join("00000000000000cc.json"),
            r#"{"version":9,"job":{}}"#,
        )
        .unwrap();
        fs::copy(
            dir.path().join("00000000000000aa.json"),
            dir.path().join("00000000000000dd.json"),
        )
        .unwrap();
        assert_eq!(store.load().unwrap(), [kept]);
        assert!(dir.path().join("00000000000000bb.json").exists());
    }

    #[test]
    fn a_job_of_an_earlier_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = JobStore::open(dir.path()).unwrap();
        let job = job("00000000000000aa", 1);
        store.save(&job).unwrap();
        let path = dir.path().join("00000000000000aa.json");
        let mut kept: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let first = [
            "id",
            "name",
            "type",
            "priority",
            "owner",
            "created",
            "machine",
            "use_peers",
            "detached",
            "files",
        ];
        let fields = kept["job"].as_object_mut().unwrap();
        fields.retain(|name, _| first.contains(&name.as_str()));
        let of_file = [
            "url",
            "path",
            "headers",
            "checksum",
            "size",
            "validator",
            "content",
            "mtime",
            "entity",
            "shareable",
            "accounting",
            "placed",
            "error",
        ];
        let file = kept["job"]["files"][0].as_object_mut().unwrap();
        file.retain(|name, _| of_file.contains(&name.as_str()));
        fs::write(&path, kept.to_string()).unwrap();
        assert_eq!(store.load().unwrap(), [job]);
    }
}
