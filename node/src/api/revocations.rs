//! The revoked nodes of the domain.

use axum::Json;
use axum::extract::State as Shared;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use potluck_discovery::Revocations;
use serde::Deserialize;

use super::State;
use super::caller::Administrator;
use super::problem::{Problem, blocking};
use crate::jobs::Caller;
use crate::revocation::{Known, RevocationDocument, RevocationsDocument, RevokeError, revoke};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeBody {
    node: String,
    reason: Option<String>,
}

pub(super) async fn list(
    _: Caller,
    Shared(state): Shared<State>,
) -> Result<Json<RevocationsDocument>, Problem> {
    let list = revocations(&state)?.current();
    Ok(Json(RevocationsDocument::of(&list)))
}

pub(super) async fn add(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<RevokeBody>, JsonRejection>,
) -> Result<(StatusCode, Json<RevocationDocument>), Problem> {
    let Json(body) = body?;
    let revocations = revocations(&state)?;
    let known = known(&state);
    let revoked = blocking(move || {
        let reason = body.reason.unwrap_or_default();
        revoke(&revocations, &body.node, &reason, &known).map_err(|error| match error {
            RevokeError::Unknown(_) => Problem::not_found(error.to_string()),
            _ => Problem::conflict(error.to_string()),
        })
    });
    Ok((StatusCode::CREATED, Json(revoked.await?)))
}

fn revocations(state: &State) -> Result<Revocations, Problem> {
    let revocations = state.peering.revocations();
    revocations.ok_or_else(|| Problem::conflict("this node is in no domain"))
}

/// Everybody whom this node knows by name: peers, and who was turned away.
fn known(state: &State) -> Vec<Known> {
    let Some(discovery) = state.peering.discovery() else {
        return Vec::new();
    };
    let peers = discovery.peers().into_iter().map(|peer| Known {
        id: peer.id,
        name: peer.name,
    });
    let rejected = discovery.rejected().into_iter().filter_map(|rejected| {
        Some(Known {
            id: rejected.id?,
            name: rejected.name.unwrap_or_default(),
        })
    });
    peers.chain(rejected).collect()
}
