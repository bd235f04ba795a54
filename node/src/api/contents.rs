//! The content cache.

use std::path::PathBuf;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use potluck_cache::CacheError;
use serde::Deserialize;

use super::State;
use super::caller::Administrator;
use super::problem::{Problem, blocking};
use crate::contents::{
    CacheDocument, ClearedDocument, ContentDocument, Contents, ContentsError, InvalidatedDocument,
    PageQuery, PartialDocument, VerifiedDocument,
};
use crate::jobs::Caller;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBody {
    path: PathBuf,
    #[serde(default)]
    pinned: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody {
    pinned: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClearQuery {
    #[serde(default)]
    pinned: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyQuery {
    after: Option<String>,
}

pub(super) async fn show_cache(
    _: Caller,
    Shared(state): Shared<State>,
) -> Result<Json<CacheDocument>, Problem> {
    answer(state, Contents::overview).await
}

pub(super) async fn list(
    _: Administrator,
    Shared(state): Shared<State>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Vec<ContentDocument>>, Problem> {
    let Query(query) = query?;
    answer(state, move |contents| contents.page(&query)).await
}

pub(super) async fn partials(
    _: Administrator,
    Shared(state): Shared<State>,
) -> Result<Json<Vec<PartialDocument>>, Problem> {
    answer(state, Contents::partials).await
}

pub(super) async fn show(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(name): Path<String>,
) -> Result<Json<ContentDocument>, Problem> {
    answer(state, move |contents| contents.show(&name)).await
}

pub(super) async fn add(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<AddBody>, JsonRejection>,
) -> Result<(StatusCode, Json<ContentDocument>), Problem> {
    let Json(AddBody { path, pinned }) = body?;
    if !path.is_absolute() {
        let path = path.display();
        return Err(Problem::invalid(format!("{path} is no full path")));
    }
    let added = answer(state, move |contents| contents.add(&path, pinned)).await?;
    Ok((StatusCode::CREATED, added))
}

pub(super) async fn change(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(name): Path<String>,
    body: Result<Json<ChangeBody>, JsonRejection>,
) -> Result<Json<ContentDocument>, Problem> {
    let Json(ChangeBody { pinned }) = body?;
    answer(state, move |contents| contents.pin(&name, pinned)).await
}

pub(super) async fn verify(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(name): Path<String>,
) -> Result<Json<VerifiedDocument>, Problem> {
    answer(state, move |contents| contents.verify(&name)).await
}

pub(super) async fn verify_next(
    _: Administrator,
    Shared(state): Shared<State>,
    query: Result<Query<VerifyQuery>, QueryRejection>,
) -> Result<Json<Option<VerifiedDocument>>, Problem> {
    let Query(VerifyQuery { after }) = query?;
    answer(state, move |contents| {
        contents.verify_next(after.as_deref())
    })
    .await
}

pub(super) async fn validate(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(name): Path<String>,
) -> Result<Json<ContentDocument>, Problem> {
    answer(state, move |contents| contents.validate(&name)).await
}

pub(super) async fn invalidate(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(name): Path<String>,
) -> Result<Json<InvalidatedDocument>, Problem> {
    let jobs = state.jobs.clone();
    let Json(id) = answer(state, move |contents| contents.invalidate(&name)).await?;
    let jobs = jobs.invalidate(id).await?;
    Ok(Json(InvalidatedDocument {
        content_id: id.to_string(),
        jobs: jobs.iter().map(ToString::to_string).collect(),
    }))
}

pub(super) async fn remove(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let _ = answer(state, move |contents| contents.remove(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn clear(
    _: Administrator,
    Shared(state): Shared<State>,
    query: Result<Query<ClearQuery>, QueryRejection>,
) -> Result<Json<ClearedDocument>, Problem> {
    let Query(ClearQuery { pinned }) = query?;
    answer(state, move |contents| contents.clear(pinned)).await
}

pub(super) async fn rebuild(
    _: Administrator,
    Shared(state): Shared<State>,
) -> Result<Json<CacheDocument>, Problem> {
    answer(state, Contents::rebuild).await
}

/// Does it on a thread that may block.
async fn answer<T: Send + 'static>(
    state: State,
    work: impl FnOnce(&Contents) -> Result<T, ContentsError> + Send + 'static,
) -> Result<Json<T>, Problem> {
    blocking(move || {
        let contents = Contents::new(state.cache, state.events);
        work(&contents).map(Json).map_err(|error| refused(&error))
    })
    .await
}

fn refused(error: &ContentsError) -> Problem {
    let detail = error.to_string();
    match error {
        ContentsError::NotHeld(_) => Problem::not_found(detail),
        ContentsError::Ambiguous { .. } => Problem::conflict(detail),
        ContentsError::Invalid(_) => Problem::invalid(detail),
        ContentsError::Cache(error) => match error {
            CacheError::Busy { .. } | CacheError::Changed { .. } => Problem::conflict(detail),
            CacheError::NotAFile { .. }
            | CacheError::LargerThanCache { .. }
            | CacheError::TooLarge { .. } => Problem::invalid(detail),
            CacheError::NoSpace { .. } | CacheError::NoRoom { .. } => {
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail)
            }
            _ => Problem::internal(detail),
        },
    }
}
