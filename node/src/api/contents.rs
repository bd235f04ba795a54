//! The content cache.

use std::path::PathBuf;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use potluck_cache::CacheError;
use potluck_content::ContentId;
use serde::Deserialize;

use super::caller::Administrator;
use super::problem::{Problem, blocking};
use super::{CacheDocument, ContentDocument, State};
use crate::jobs::Caller;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddBody {
    path: PathBuf,
}

pub(super) async fn show_cache(
    _: Caller,
    Shared(state): Shared<State>,
) -> Result<Json<CacheDocument>, Problem> {
    blocking(move || {
        let (limits, usage) = (state.cache.limits(), state.cache.usage());
        Ok(Json(CacheDocument {
            bytes: usage.bytes,
            max_size: limits.max_size,
            contents: usage.contents,
            max_age_seconds: limits.max_age.as_secs(),
        }))
    })
    .await
}

pub(super) async fn list(
    _: Administrator,
    Shared(state): Shared<State>,
) -> Result<Json<Vec<ContentDocument>>, Problem> {
    blocking(move || {
        Ok(Json(
            state
                .cache
                .list()
                .iter()
                .map(ContentDocument::from)
                .collect(),
        ))
    })
    .await
}

pub(super) async fn show(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(id): Path<String>,
) -> Result<Json<ContentDocument>, Problem> {
    let id = content_id(&id)?;
    blocking(move || {
        let record = state.cache.show(&id).ok_or_else(|| not_held(&id))?;
        Ok(Json(ContentDocument::from(&record)))
    })
    .await
}

pub(super) async fn add(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<AddBody>, JsonRejection>,
) -> Result<(StatusCode, Json<ContentDocument>), Problem> {
    let Json(AddBody { path }) = body?;
    if !path.is_absolute() {
        return Err(Problem::invalid(format!(
            "{} is no full path",
            path.display()
        )));
    }
    blocking(move || {
        let record = state
            .cache
            .add_file(&path, |_| {})
            .map_err(|error| refused(&error))?;
        state.events.record(
            "content_added",
            None,
            serde_json::json!({
                "content_id": record.id.to_string(),
                "size": record.size,
                "path": path.display().to_string(),
            }),
        );
        Ok((StatusCode::CREATED, Json(ContentDocument::from(&record))))
    })
    .await
}

pub(super) async fn remove(
    _: Administrator,
    Shared(state): Shared<State>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = content_id(&id)?;
    blocking(move || {
        if !state.cache.remove(&id).map_err(|error| refused(&error))? {
            return Err(not_held(&id));
        }
        let fields = serde_json::json!({ "content_id": id.to_string() });
        state.events.record("content_removed", None, fields);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn content_id(text: &str) -> Result<ContentId, Problem> {
    text.parse()
        .map_err(|error: potluck_content::IdError| Problem::invalid(error.to_string()))
}

fn not_held(id: &ContentId) -> Problem {
    Problem::not_found(format!("the cache does not hold {id}"))
}

fn refused(error: &CacheError) -> Problem {
    let detail = error.to_string();
    match error {
        CacheError::Busy { .. } | CacheError::Changed { .. } => Problem::conflict(detail),
        CacheError::NotHeld { .. } => Problem::not_found(detail),
        CacheError::NotAFile { .. }
        | CacheError::LargerThanCache { .. }
        | CacheError::TooLarge { .. } => Problem::invalid(detail),
        CacheError::NoSpace { .. } | CacheError::NoRoom { .. } => {
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail)
        }
        _ => Problem::internal(detail),
    }
}
