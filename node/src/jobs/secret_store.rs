//! Where the secrets of jobs are kept: one file per job that has any, beside its record.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{JobId, JobSecrets, StoreError};

/// Keeps secrets in the directory of the jobs. Blocks: call it from threads that may.
#[derive(Debug, Clone)]
pub struct SecretStore {
    dir: PathBuf,
}

impl SecretStore {
    /// For the jobs in `dir`, which is there and closed to other users.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    /// The secrets of a job: none where none were kept. A file that cannot be read is
    /// told to the log and left where it is; its job then asks without them.
    #[must_use]
    pub fn load(&self, id: JobId) -> JobSecrets {
        let path = self.path(id);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return JobSecrets::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "secrets cannot be read");
                return JobSecrets::default();
            }
        };
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            // Only where and what kind: the text of a broken file may be a secret.
            let (line, column) = (error.line(), error.column());
            tracing::warn!(path = %path.display(), line, column, "secrets cannot be read");
            JobSecrets::default()
        })
    }

    /// Keeps the secrets of a job, readable for the user of the node only; durable when
    /// it returns. No secrets leave no file.
    ///
    /// # Errors
    /// When the disk fails; then they are kept as they were before.
    pub fn save(&self, id: JobId, secrets: &JobSecrets) -> Result<(), StoreError> {
        if secrets.is_empty() {
            return self.remove(id);
        }
        let path = self.path(id);
        let temporary = self.dir.join(format!("{id}.secret.tmp"));
        let write = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&Zeroizing::new(serde_json::to_vec(secrets)?))?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            StoreError::Io { path, source }
        })
    }

    /// Forgets the secrets of a job; durable when it returns.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, id: JobId) -> Result<(), StoreError> {
        let path = self.path(id);
        let removed = match fs::remove_file(&path) {
            Ok(()) => File::open(&self.dir).and_then(|dir| dir.sync_all()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|source| StoreError::Io { path, source })
    }

    /// Forgets the secrets of all jobs but these: those of a job that was never made, or
    /// is gone, after a crash in between.
    pub fn keep_only(&self, is_job: impl Fn(JobId) -> bool) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".secret"));
            if let Some(id) = id.and_then(|id| id.parse().ok())
                && !is_job(id)
                && let Err(error) = self.remove(id)
            {
                tracing::warn!(job = %id, %error, "secrets of no job cannot be removed");
            }
        }
    }

    fn path(&self, id: JobId) -> PathBuf {
        self.dir.join(format!("{id}.secret"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::jobs::Credentials;

    #[test]
    fn secrets_are_closed_to_others_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = SecretStore::new(dir.path());
        let id: JobId = "00000000000000aa".parse().unwrap();
        assert!(store.load(id).is_empty());
        let secrets = JobSecrets {
            credentials: Some(Credentials::Bearer {
                token: "t".to_owned().into(),
            }),
            ..JobSecrets::default()
        };
        store.save(id, &secrets).unwrap();
        assert_eq!(store.load(id), secrets);
        let path = dir.path().join("00000000000000aa.secret");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "{\"headers\": [\"").unwrap();
        assert!(store.load(id).is_empty());
        assert!(path.exists(), "what cannot be read is left");
        store.keep_only(|job| job == id);
        assert!(path.exists());
        store.keep_only(|_| false);
        store.save(id, &JobSecrets::default()).unwrap();
        store.remove(id).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
