//! Errors as problem documents (RFC 9457).

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::jobs::Refusal;

/// The `type` of the problem that only the caller may write a job's files.
pub const CALLER_PLACES: &str = "urn:potluck:caller-places";

/// The `type` of the problem that others are in the way: nothing was done, and the same call
/// may be made again.
pub const CROWDED: &str = "urn:potluck:crowded";

/// Why a call was not carried out. Its `detail` is the one line for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem: `about:blank` where the status says it all.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What failed, on what, and what to do.
    detail: String,
}

impl Problem {
    /// What kind of problem, for programs: the word after `urn:potluck:`, else nothing.
    #[must_use]
    pub fn code(&self) -> &str {
        self.kind.strip_prefix("urn:potluck:").unwrap_or_default()
    }

    /// A problem of no special kind.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    pub(super) fn crowded(detail: impl Into<String>) -> Self {
        Self {
            kind: CROWDED.to_owned(),
            ..Self::too_many(detail)
        }
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NoSuchJob(_) | Refusal::NoSuchFile(_) => Self::not_found(detail),
            Refusal::Ambiguous(_) | Refusal::State(_) | Refusal::Busy | Refusal::Once => {
                Self::conflict(detail)
            }
            Refusal::Limit(_) => Self::too_many(detail),
            Refusal::Invalid(_) | Refusal::Destination(_) => Self::invalid(detail),
            Refusal::CallerPlaces => Self {
                kind: CALLER_PLACES.to_owned(),
                ..Self::conflict(detail)
            },
            Refusal::NotAllowed(_) => Self::forbidden(detail),
            Refusal::Store(_) => Self::internal(detail),
            Refusal::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// Runs work that blocks; a panic in it is a problem of this call only.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Problem::internal(format!("the node broke down: {error}"))))
}
