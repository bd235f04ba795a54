//! Finished files whose places the daemon may not write: it hands their bytes over,
//! and the owner's own process puts them there with the owner's rights.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use potluck_cache::{PlaceError, Placement};
use serde_json::json;

use crate::client::{Client, ClientError, escaped};
use crate::jobs::{FileDocument, JobDocument, check_destination};
use crate::timestamp::parse_rfc3339;

/// The files are not in their places; what was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The daemon did not give the bytes, or did not end the job.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The job is somebody else's: this process must not write files where they said.
    #[error(
        "job {0} belongs to {1}, and this would write its files with other rights than theirs: let them complete it, or run this as them"
    )]
    NotOwner(String, String),
    /// A file cannot go where it should.
    #[error("{0}")]
    Destination(String),
    /// A file cannot be put where it should.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The operating system refused.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The destination.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Completes a job: the daemon puts the files in their places, or, where it may not, this
/// process does.
///
/// # Errors
/// As [`HandOverError`] says. The job can be completed again then.
pub async fn complete(client: &Client, job: &str) -> Result<JobDocument, HandOverError> {
    let path = format!("/v1/jobs/{}", escaped(job));
    let by_daemon = json!({ "placed": false });
    let patient = client.patient();
    match patient.post(&format!("{path}/complete"), &by_daemon).await {
        Err(error) if error.is_caller_places() => {
            let job: JobDocument = client.get(&path).await?;
            let own = format!("uid:{}", rustix::process::geteuid().as_raw());
            // Root may see it, but must not write where somebody else said.
            if job.owner != own {
                return Err(HandOverError::NotOwner(job.id, job.owner));
            }
            hand_over(client, &job).await
        }
        answer => Ok(answer?),
    }
}

/// Completes a job with the rights of this process: every finished file is written beside
/// its destination first, from its descriptor where the daemon passes that, and only when
/// all are there does each get its name. Then the job is ended; files that are not finished are given up.
///
/// # Errors
/// As [`HandOverError`] says. The job can be completed again then.
async fn hand_over(client: &Client, job: &JobDocument) -> Result<JobDocument, HandOverError> {
    let finished = || {
        let files = job.files.iter().enumerate();
        files.filter(|(_, file)| file.content_id.is_some())
    };
    for (_, file) in finished() {
        check_destination(Path::new(&file.path))
            .map_err(|error| HandOverError::Destination(error.message))?;
    }
    let mut received = Vec::new();
    let mut are_passed = true;
    for (number, file) in finished() {
        let passed = match are_passed {
            true => passed(client, &job.id, number).await,
            false => None,
        };
        are_passed = passed.is_some();
        received.push(receive(client, &job.id, number, file, passed).await?);
    }
    blocking("the files", move || {
        received.into_iter().try_for_each(Placement::finish)
    })
    .await?;
    let path = format!("/v1/jobs/{}/complete", job.id);
    // What has ended meanwhile is not among them, and nobody shall think that it is.
    let files: Vec<usize> = finished().map(|(number, _)| number).collect();
    Ok(client
        .post(&path, &json!({ "placed": true, "files": files }))
        .await?)
}

/// A file that the daemon passes, and its size. Where it passes none, it gives the bytes.
async fn passed(client: &Client, job: &str, number: usize) -> Option<(File, u64)> {
    let passed = client.descriptor(job, number).await;
    passed
        .inspect_err(|error| tracing::debug!(%error, number, "the file is not passed"))
        .ok()
}

/// Gets one file to beside its destination, all of it on the disk.
async fn receive(
    client: &Client,
    job: &str,
    number: usize,
    file: &FileDocument,
    passed: Option<(File, u64)>,
) -> Result<Placement, HandOverError> {
    let destination = PathBuf::from(&file.path);
    let mtime = file.modified.as_deref().and_then(parse_rfc3339);
    if let Some((source, size)) = passed {
        return blocking(&file.path, move || {
            let placement = Placement::begin(&destination)?;
            placement.fill(&source, size)?;
            placement.seal(mtime)?;
            Ok(placement)
        })
        .await;
    }
    let failed = |error| write_error(&destination, error);
    let beside = destination.clone();
    let placement = blocking(&file.path, move || Placement::begin(&beside)).await?;
    let mut target = tokio::fs::File::from_std(placement.file().try_clone().map_err(failed)?);
    let path = format!("/v1/jobs/{job}/files/{number}/content");
    match client.download(&path, &mut target).await {
        Err(ClientError::Write(error)) => return Err(failed(error)),
        other => other?,
    };
    blocking(&file.path, move || {
        placement.seal(mtime)?;
        Ok(placement)
    })
    .await
}

/// Does work on the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> Result<T, PlaceError> + Send + 'static,
) -> Result<T, HandOverError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| write_error(Path::new(path), io::Error::other(error)))?;
    Ok(done?)
}

fn write_error(path: &Path, source: io::Error) -> HandOverError {
    HandOverError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Json;
    use axum::http::header;
    use axum::routing::{get, post};
    use axum::{Router, body::Body};
    use bytes::Bytes;
    use serde_json::Value;
    use tokio::net::UnixListener;
    use tokio::task::JoinSet;

    use super::*;

    const BYTES: &[u8] = b"what was fetched";

    fn job(dir: &Path, names: &[&str]) -> JobDocument {
        let files: Vec<Value> = names
            .iter()
            .map(|name| {
                json!({
                    "url": "http://origin/file", "path": dir.join(name), "error": null,
                    "bytes_total": BYTES.len(), "bytes_transferred": BYTES.len(),
                    "bytes_from_peers": 0, "bytes_from_origin": BYTES.len(),
                    "bytes_from_cache": 0, "bytes_discarded": 0,
                    "content_id": format!("b3:{}", "0".repeat(64)), "validator": null,
                    "modified": "2020-01-02T03:04:05Z",
                })
            })
            .collect();
        let document = json!({
            "id": "0123456789abcdef", "name": "", "type": "download", "priority": "normal",
            "state": "transferred", "owner": "uid:1", "created": "2026-11-21T00:00:00Z",
            "error": null, "bytes_total": 0, "bytes_transferred": 0, "bytes_from_peers": 0,
            "bytes_from_origin": 0, "bytes_from_cache": 0, "bytes_discarded": 0, "files": files,
        });
        serde_json::from_value(document).unwrap()
    }

    /// A daemon that hands over two files, the second one broken off if told so.
    async fn serve(dir: &Path, is_broken: bool, job: JobDocument) -> (Client, JoinSet<()>) {
        let second = move || async move {
            let end = match is_broken {
                true => Err(io::Error::other("gone")),
                false => Ok(Bytes::from(&BYTES[4..])),
            };
            let chunks = futures::stream::iter([Ok(Bytes::from(&BYTES[..4])), end]);
            (
                [(header::CONTENT_LENGTH, BYTES.len())],
                Body::from_stream(chunks),
            )
        };
        let files = job.files.iter().enumerate();
        let finished = files.filter(|(_, file)| file.content_id.is_some());
        let placed: Vec<usize> = finished.map(|(number, _)| number).collect();
        let complete = move |Json(body): Json<Value>| async move {
            assert_eq!(body, json!({ "placed": true, "files": placed }));
            Json(job)
        };
        let of_job = "/v1/jobs/0123456789abcdef";
        let router = Router::new()
            .route(&format!("{of_job}/files/0/content"), get(async || BYTES))
            .route(&format!("{of_job}/files/1/content"), get(second))
            .route(&format!("{of_job}/complete"), post(complete));
        let socket = dir.join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut server = JoinSet::new();
        server.spawn(async { axum::serve(listener, router).await.unwrap() });
        (Client::connect(&socket).await.unwrap(), server)
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn files_get_their_names_when_all_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let into = tempfile::tempdir().unwrap();
        std::fs::write(into.path().join("a"), "what was there").unwrap();
        let long = "b".repeat(255);
        let job = job(into.path(), &["a", &long]);
        let (client, _server) = serve(dir.path(), false, job.clone()).await;
        assert_eq!(hand_over(&client, &job).await.unwrap(), job);
        assert_eq!(names_in(into.path()), ["a", &long]);
        for name in ["a", &long] {
            let path = into.path().join(name);
            assert_eq!(std::fs::read(&path).unwrap(), BYTES);
            let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
            assert_eq!(crate::timestamp::day(changed), "2020-01-02");
        }
    }

    #[tokio::test]
    async fn what_is_not_finished_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let into = tempfile::tempdir().unwrap();
        let mut job = job(into.path(), &["a", "b"]);
        job.files[1].content_id = None;
        let (client, _server) = serve(dir.path(), true, job.clone()).await;
        assert_eq!(hand_over(&client, &job).await.unwrap(), job);
        assert_eq!(names_in(into.path()), ["a"]);
    }

    #[tokio::test]
    async fn what_breaks_off_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let into = tempfile::tempdir().unwrap();
        std::fs::write(into.path().join("a"), "what was there").unwrap();
        let job = job(into.path(), &["a", "b"]);
        let (client, _server) = serve(dir.path(), true, job.clone()).await;
        let error = hand_over(&client, &job).await.unwrap_err();
        assert!(matches!(error, HandOverError::Client(_)), "{error}");
        assert_eq!(names_in(into.path()), ["a"]);
        let kept = std::fs::read_to_string(into.path().join("a")).unwrap();
        assert_eq!(kept, "what was there");
    }

    #[tokio::test]
    async fn a_missing_directory_is_told_before_anything_is_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let job = job(&dir.path().join("missing"), &["a"]);
        let (client, _server) = serve(dir.path(), false, job.clone()).await;
        let error = hand_over(&client, &job).await.unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
}
