//! The authority that lives on this node: giving its key to the daemon and taking it
//! away again.

use axum::Json;
use axum::extract::State as Shared;
use axum::extract::rejection::JsonRejection;
use potluck_discovery::{
    AuthorityError, Passphrase, PassphraseError, change_passphrase, lock_authority,
    unlock_authority,
};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::caller::Administrator;
use super::domain::document;
use super::problem::{Problem, blocking};
use super::{DomainDocument, State};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnlockBody {
    passphrase: Zeroizing<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PassphraseBody {
    present: Option<Zeroizing<String>>,
    next: Option<Zeroizing<String>>,
}

pub(super) async fn unlock(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<UnlockBody>, JsonRejection>,
) -> Result<Json<DomainDocument>, Problem> {
    let Json(body) = body?;
    let passphrase = passphrase(body.passphrase)?;
    let data_dir = state.settings.data_dir.clone();
    blocking(move || unlock_authority(&data_dir, &passphrase).map_err(|error| refused(&error)))
        .await?;
    changed(state, "authority_unlocked").await
}

pub(super) async fn lock(
    _: Administrator,
    Shared(state): Shared<State>,
) -> Result<Json<DomainDocument>, Problem> {
    let data_dir = state.settings.data_dir.clone();
    blocking(move || lock_authority(&data_dir).map_err(|error| refused(&error))).await?;
    changed(state, "authority_locked").await
}

pub(super) async fn change(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<PassphraseBody>, JsonRejection>,
) -> Result<Json<DomainDocument>, Problem> {
    let Json(body) = body?;
    let present = body.present.map(passphrase).transpose()?;
    let next = body.next.map(passphrase).transpose()?;
    let data_dir = state.settings.data_dir.clone();
    blocking(move || {
        change_passphrase(&data_dir, present.as_ref(), next.as_ref())
            .map_err(|error| refused(&error))
    })
    .await?;
    changed(state, "authority_passphrase_changed").await
}

/// Takes a passphrase out of a request.
pub(super) fn passphrase(text: Zeroizing<String>) -> Result<Passphrase, Problem> {
    Passphrase::new(text).map_err(|error: PassphraseError| Problem::invalid(error.to_string()))
}

async fn changed(state: State, event: &'static str) -> Result<Json<DomainDocument>, Problem> {
    state.events.record(event, None, json!({}));
    state.peering.authority_changed();
    document(state).await
}

fn refused(error: &AuthorityError) -> Problem {
    match error {
        AuthorityError::WrongPassphrase => Problem::forbidden(error.to_string()),
        _ => Problem::conflict(error.to_string()),
    }
}
