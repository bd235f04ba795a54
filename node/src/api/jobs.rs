//! Jobs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use potluck_cache::Lease;
use potluck_content::Digest;
use potluck_plan::FileRange;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::State;
use super::long_answer::long_answer;
use super::problem::Problem;
use crate::jobs::{Caller, Change, JobDocument, NewFile, NewJob, Why};

/// Bytes of a finished file that are read at once for a caller.
const CHUNK: usize = 256 * 1024;

/// A job that is to be made. What else it has are properties, as those that can be changed.
#[derive(Debug, Deserialize)]
pub(super) struct CreateBody {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    start: bool,
    #[serde(default)]
    detached: bool,
    #[serde(default)]
    files: Vec<FileBody>,
    #[serde(flatten)]
    properties: Map<String, Value>,
}

/// Jobs that are to be made together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateManyBody {
    jobs: Vec<CreateBody>,
}

/// Jobs that were made together, in the order in which they were asked for.
#[derive(Debug, Serialize)]
pub(super) struct CreatedDocument {
    ids: Vec<String>,
}

/// A file of a job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileBody {
    url: String,
    path: PathBuf,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    secret_headers: Vec<(String, String)>,
    #[serde(default)]
    checksum: Option<String>,
    #[serde(default)]
    ranges: Option<Vec<FileRange>>,
}

/// Files to add.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBody {
    files: Vec<FileBody>,
}

/// What an application says of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidateBody {
    good: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompleteBody {
    #[serde(default)]
    placed: bool,
    #[serde(default)]
    files: Vec<usize>,
}

type Answer = Result<Json<JobDocument>, Problem>;

fn document(job: Arc<JobDocument>) -> Json<JobDocument> {
    Json(Arc::unwrap_or_clone(job))
}

pub(super) async fn create(
    by: Caller,
    Shared(state): Shared<State>,
    body: Result<Json<CreateBody>, JsonRejection>,
) -> Result<(StatusCode, Json<JobDocument>), Problem> {
    let job = new_job(body?.0)?;
    Ok((
        StatusCode::CREATED,
        document(state.jobs.create(by, job).await?),
    ))
}

pub(super) async fn create_many(
    by: Caller,
    Shared(state): Shared<State>,
    body: Result<Json<CreateManyBody>, JsonRejection>,
) -> Result<(StatusCode, Json<CreatedDocument>), Problem> {
    let jobs: Result<_, _> = body?.0.jobs.into_iter().map(new_job).collect();
    let ids = state.jobs.create_many(by, jobs?).await?;
    let ids = ids.iter().map(ToString::to_string).collect();
    Ok((StatusCode::CREATED, Json(CreatedDocument { ids })))
}

fn new_job(body: CreateBody) -> Result<NewJob, Problem> {
    if let Some(kind) = body.kind.filter(|kind| kind != "download") {
        return Err(Problem::invalid(format!(
            "there are no jobs of type {kind}: only download"
        )));
    }
    Ok(NewJob {
        changes: Change::read(body.properties)?,
        files: files(body.files)?,
        start: body.start,
        detached: body.detached,
        ..NewJob::default()
    })
}

pub(super) async fn show(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    let turn = state.long_answers.wait(by.uid).await?;
    let job = state.jobs.show(by, job).await?;
    let document = serde_json::to_vec(&*job);
    let document = document.map_err(|error| Problem::internal(error.to_string()))?;
    Ok(long_answer(document, turn))
}

pub(super) async fn add(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
    body: Result<Json<AddBody>, JsonRejection>,
) -> Answer {
    let Json(body) = body?;
    Ok(document(state.jobs.add(by, job, files(body.files)?).await?))
}

pub(super) async fn change(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
    body: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Answer {
    let Json(body) = body?;
    let changes = Change::read(body)?;
    Ok(document(state.jobs.set(by, job, changes).await?))
}

/// Makes it root's.
pub(super) async fn take_over(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
) -> Answer {
    Ok(document(state.jobs.take_over(by, job).await?))
}

/// Says whether a finished file is what it should be.
pub(super) async fn validate(
    by: Caller,
    Shared(state): Shared<State>,
    Path((job, file)): Path<(String, usize)>,
    body: Result<Json<ValidateBody>, JsonRejection>,
) -> Answer {
    let Json(body) = body?;
    Ok(document(
        state.jobs.validate(by, job, file, body.good).await?,
    ))
}

pub(super) async fn resume(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
) -> Answer {
    Ok(document(state.jobs.resume(by, job).await?))
}

pub(super) async fn suspend(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
) -> Answer {
    Ok(document(state.jobs.suspend(by, job).await?))
}

pub(super) async fn cancel(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
) -> Answer {
    Ok(document(state.jobs.cancel(by, job).await?))
}

pub(super) async fn complete(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
    body: Result<Json<CompleteBody>, JsonRejection>,
) -> Answer {
    let Json(body) = body?;
    let placed = body.placed.then_some(body.files);
    Ok(document(state.jobs.complete(by, job, placed).await?))
}

pub(super) async fn why(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
) -> Result<Json<Why>, Problem> {
    Ok(Json(state.jobs.why(by, job).await?))
}

/// One line for each change, until the job is over.
pub(super) async fn watch(
    by: Caller,
    Shared(state): Shared<State>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    let mut watch = state.jobs.watch(by, job).await?;
    watch.mark_changed();
    let lines = futures::stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        // An error means that the job is over and its task has let go of it.
        watch.changed().await.ok()?;
        let document = Arc::clone(&watch.borrow_and_update());
        let line = json_line(&*document);
        let more = (!document.state.is_final()).then_some(watch);
        Some((line, more))
    });
    Ok(lines_of(Body::from_stream(lines)))
}

/// The bytes of a finished file.
pub(super) async fn content(
    by: Caller,
    Shared(state): Shared<State>,
    Path((job, file)): Path<(String, usize)>,
) -> Result<Response, Problem> {
    let turn = state.readings.wait(by.uid).await?;
    let taken = state.jobs.take(by, job, file).await?;
    state.handed_over.count_bytes();
    let size = taken.lease.size();
    let reading = Reading {
        lease: taken.lease,
        at: 0,
        turn,
    };
    let body = futures::stream::try_unfold(reading, Reading::next);
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, size.into());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Some(mtime) = taken.mtime
        && let Ok(value) = httpdate::fmt_http_date(mtime).parse()
    {
        headers.insert(header::LAST_MODIFIED, value);
    }
    Ok(response)
}

/// A content that is read from its start to its end, as fast as it is taken. Between two
/// chunks it keeps no thread.
struct Reading {
    lease: Lease,
    at: u64,
    turn: OwnedSemaphorePermit,
}

impl Reading {
    async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        let left = self.lease.size() - self.at;
        if left == 0 {
            return Ok(None);
        }
        let Self { lease, at, turn } = self;
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
            let read = lease.read_at(&mut buffer, at)?;
            buffer.truncate(read);
            Ok::<_, io::Error>((buffer, lease))
        });
        let (buffer, lease) = read.await.map_err(io::Error::other)??;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let at = at + buffer.len() as u64;
        Ok(Some((buffer.into(), Self { lease, at, turn })))
    }
}

/// A response of one JSON object per line.
pub(super) fn lines_of(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// One JSON object and its end of line.
pub(super) fn json_line(document: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    Ok(line.into())
}

fn files(bodies: Vec<FileBody>) -> Result<Vec<NewFile>, Problem> {
    let file = |body: FileBody| {
        let checksum = body.checksum.map(|text| text.parse::<Digest>()).transpose();
        Ok(NewFile {
            url: body.url,
            path: body.path,
            headers: body.headers,
            secret_headers: body.secret_headers,
            ranges: body.ranges.unwrap_or_default(),
            checksum: checksum.map_err(|error| Problem::invalid(error.to_string()))?,
        })
    };
    bodies.into_iter().map(file).collect()
}
