//! Finished files whose places the daemon may not write: it hands their bytes over,
//! and the owner's own process puts them there with the owner's rights.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;
use tempfile::{NamedTempFile, TempPath};

use crate::client::{Client, ClientError};
use crate::jobs::{FileDocument, JobDocument, check_destination};
use crate::timestamp::parse_rfc3339;

/// The files are not in their places; what was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The daemon did not give the bytes, or did not end the job.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file cannot go where it should.
    #[error("{0}")]
    Destination(String),
    /// The operating system refused.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The destination.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Completes a job with the rights of this process: every file goes under a temporary
/// name beside its destination first, and only when all are there each gets its name
/// by one rename. Then the job is ended.
///
/// # Errors
/// As [`HandOverError`] says. The job can be completed again then.
pub async fn hand_over(client: &Client, job: &JobDocument) -> Result<JobDocument, HandOverError> {
    let destinations: Vec<PathBuf> = job
        .files
        .iter()
        .map(|file| file.path.clone().into())
        .collect();
    for destination in &destinations {
        check_destination(destination)
            .map_err(|error| HandOverError::Destination(error.message))?;
    }
    let mut received = Vec::new();
    for (number, file) in job.files.iter().enumerate() {
        received.push(receive(client, &job.id, number, file).await?);
    }
    let placed = tokio::task::spawn_blocking(move || {
        for (temporary, destination) in received.into_iter().zip(destinations) {
            let renamed = temporary.persist(&destination);
            renamed.map_err(|error| write_error(&destination, error.error))?;
        }
        Ok::<_, HandOverError>(())
    });
    placed
        .await
        .map_err(io::Error::other)
        .map_err(|error| write_error(Path::new("the files"), error))??;
    let path = format!("/v1/jobs/{}/complete", job.id);
    Ok(client.post(&path, &json!({ "placed": true })).await?)
}

/// Fetches one file to a temporary name, all of it on the disk.
async fn receive(
    client: &Client,
    job: &str,
    number: usize,
    file: &FileDocument,
) -> Result<TempPath, HandOverError> {
    let destination = PathBuf::from(&file.path);
    let mtime = file.modified.as_deref().and_then(parse_rfc3339);
    let failed = |error| write_error(&destination, error);
    let (target, temporary) = temporary_beside(&destination).map_err(failed)?.into_parts();
    let mut target = tokio::fs::File::from_std(target);
    let path = format!("/v1/jobs/{job}/files/{number}/content");
    match client.download(&path, &mut target).await {
        Err(ClientError::Write(error)) => return Err(failed(error)),
        other => other?,
    };
    let target = target.into_std().await;
    let finished = tokio::task::spawn_blocking(move || finish(&target, mtime));
    finished
        .await
        .map_err(io::Error::other)
        .and_then(|finished| finished)
        .map_err(failed)?;
    Ok(temporary)
}

fn temporary_beside(destination: &Path) -> io::Result<NamedTempFile> {
    let name = destination.file_name().unwrap_or_default();
    let directory = destination.parent().unwrap_or(Path::new("/"));
    // A long name and what is added to it must still make a legal name.
    let shown: String = name.to_string_lossy().chars().take(50).collect();
    tempfile::Builder::new()
        .prefix(&format!(".{shown}.potluck-"))
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
}

fn finish(file: &std::fs::File, mtime: Option<SystemTime>) -> io::Result<()> {
    if let Some(mtime) = mtime {
        file.set_modified(mtime)?;
    }
    file.sync_all()
}

fn write_error(path: &Path, source: io::Error) -> HandOverError {
    HandOverError::Write {
        path: path.to_owned(),
        source,
    }
}
