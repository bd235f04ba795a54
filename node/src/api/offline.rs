//! Joining and renewing by files: a request, its signature, the answer.

use axum::Json;
use axum::extract::State as Shared;
use axum::extract::rejection::JsonRejection;
use potluck_discovery::{AnswerError, SigningRequest, accept_answer, make_request, sign_request};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::caller::Administrator;
use super::domain::{document, node_name};
use super::problem::{Problem, blocking};
use super::{DomainDocument, State};

/// A request for a certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestDocument {
    /// The text to carry to the authority.
    pub request: String,
    /// What the node is to be called.
    pub node: String,
    /// The PeerId of the node, to compare.
    pub peer_id: String,
}

/// The answer to such a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnswerDocument {
    /// The text to carry to the node.
    pub answer: String,
    /// What the node will be called.
    pub node: String,
    /// The PeerId of the node.
    pub peer_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestBody {
    node_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignBody {
    request: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerBody {
    answer: String,
}

pub(super) async fn request(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<RequestBody>, JsonRejection>,
) -> Result<Json<RequestDocument>, Problem> {
    let Json(body) = body?;
    let name = node_name(&state, body.node_name)?;
    let data_dir = state.settings.data_dir.clone();
    let text = blocking(move || {
        make_request(&data_dir, &name).map_err(|error| Problem::conflict(error.to_string()))
    });
    RequestDocument::of(text.await?).map(Json)
}

pub(super) async fn sign(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<SignBody>, JsonRejection>,
) -> Result<Json<AnswerDocument>, Problem> {
    let Json(body) = body?;
    let request = SigningRequest::parse(&body.request)
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let data_dir = state.settings.data_dir.clone();
    let asked = request.clone();
    let answer = blocking(move || {
        sign_request(&data_dir, &asked).map_err(|error| Problem::conflict(error.to_string()))
    })
    .await?;
    let document = AnswerDocument::of(answer, &request);
    let fields = json!({ "id": document.peer_id, "name": document.node });
    state.events.record("domain_signed", None, fields);
    Ok(Json(document))
}

pub(super) async fn answer(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<AnswerBody>, JsonRejection>,
) -> Result<Json<DomainDocument>, Problem> {
    let Json(body) = body?;
    let data_dir = state.settings.data_dir.clone();
    blocking(move || {
        accept_answer(&data_dir, &body.answer).map_err(|error| match error {
            AnswerError::Form => Problem::invalid(error.to_string()),
            _ => Problem::conflict(error.to_string()),
        })
    })
    .await?;
    state.peering.membership_changed().await;
    document(state).await
}

impl RequestDocument {
    /// A request that was just made.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub fn of(request: String) -> Result<Self, Problem> {
        let read = SigningRequest::parse(&request)
            .map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Self {
            node: read.name().to_string(),
            peer_id: read.peer_id().to_string(),
            request,
        })
    }
}

impl AnswerDocument {
    /// An answer that was just made.
    #[must_use]
    pub fn of(answer: String, request: &SigningRequest) -> Self {
        Self {
            answer,
            node: request.name().to_string(),
            peer_id: request.peer_id().to_string(),
        }
    }
}
