//! The domain, and the daemon itself.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use potluck_discovery::{
    DomainOptions, InviteOptions, JoinCode, JoinError, JoinOptions, Name, RenewalError,
    create_domain, join_addresses,
};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::authority::passphrase;
use super::caller::Administrator;
use super::problem::{Problem, blocking};
use super::{DomainDocument, InvitationDocument, State, StatusDocument};
use crate::jobs::Caller;
use crate::peering::{join_address, seek_config};
use crate::timestamp::rfc3339;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    name: String,
    node_name: Option<String>,
    certificate_lifetime_seconds: Option<u64>,
    passphrase: Option<Zeroizing<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteBody {
    expires_in_seconds: Option<u64>,
    uses: Option<u32>,
    #[serde(default)]
    no_addresses: bool,
    #[serde(default)]
    authority: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinBody {
    code: String,
    node_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaveBody {
    #[serde(default)]
    force: bool,
}

/// Lets nobody change a domain whose certificates an authority of the site's own gives.
pub(super) async fn refuse_given(
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let changes =
        request.method() == Method::POST && request.uri().path().starts_with("/v1/domain");
    match state.settings.given_elsewhere().filter(|_| changes) {
        Some(elsewhere) => Err(Problem::conflict(elsewhere)),
        None => Ok(next.run(request).await),
    }
}

pub(super) async fn status(_: Caller, Shared(state): Shared<State>) -> Json<StatusDocument> {
    let membership = state.peering.membership();
    Json(StatusDocument {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uid: rustix::process::geteuid().as_raw(),
        data_dir: state.settings.data_dir.display().to_string(),
        domain: membership.map(|membership| membership.domain_name().to_string()),
        trouble: state.peering.trouble(),
    })
}

pub(super) async fn show(
    _: Caller,
    Shared(state): Shared<State>,
) -> Result<Json<DomainDocument>, Problem> {
    document(state).await
}

pub(super) async fn create(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<CreateBody>, JsonRejection>,
) -> Result<(StatusCode, Json<DomainDocument>), Problem> {
    let Json(body) = body?;
    let mut options = DomainOptions::new(name(&body.name)?);
    options.node_name = node_name(&state, body.node_name)?;
    if let Some(seconds) = body.certificate_lifetime_seconds {
        options.certificate_lifetime = Duration::from_secs(seconds);
    }
    options.passphrase = body.passphrase.map(passphrase).transpose()?;
    let data_dir = state.settings.data_dir.clone();
    blocking(move || {
        create_domain(&data_dir, &options).map_err(|error| Problem::conflict(error.to_string()))
    })
    .await?;
    state.peering.membership_changed().await;
    Ok((StatusCode::CREATED, document(state).await?))
}

pub(super) async fn invite(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<InviteBody>, JsonRejection>,
) -> Result<(StatusCode, Json<InvitationDocument>), Problem> {
    let Json(body) = body?;
    let mut options = InviteOptions {
        authority: body.authority,
        ..InviteOptions::default()
    };
    if !body.no_addresses {
        options.addresses = join_addresses(join_address(state.settings.peering.listen));
    }
    if let Some(seconds) = body.expires_in_seconds {
        options.expires_in = Duration::from_secs(seconds);
    }
    options.uses = body.uses.unwrap_or(options.uses);
    let (uses, authority) = (options.uses, options.authority);
    let data_dir = state.settings.data_dir.clone();
    let code = blocking(move || {
        potluck_discovery::invite(&data_dir, &options)
            .map_err(|error| Problem::conflict(error.to_string()))
    })
    .await?;
    let expires = rfc3339(code.expires());
    state.events.record(
        "domain_invited",
        None,
        json!({ "expires": expires, "uses": uses, "authority": authority }),
    );
    Ok((
        StatusCode::CREATED,
        Json(InvitationDocument {
            code: code.to_text(),
            expires,
            uses,
            authority,
        }),
    ))
}

pub(super) async fn join(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<JoinBody>, JsonRejection>,
) -> Result<Json<DomainDocument>, Problem> {
    let Json(body) = body?;
    let code: JoinCode = body
        .code
        .parse()
        .map_err(|error: potluck_discovery::JoinCodeError| Problem::invalid(error.to_string()))?;
    let options = JoinOptions {
        seek: seek_config(&state.settings.peering),
        ..JoinOptions::new(node_name(&state, body.node_name)?)
    };
    potluck_discovery::join(&state.settings.data_dir, &code, &options)
        .await
        .map_err(|error| refused(&error))?;
    state.peering.membership_changed().await;
    document(state).await
}

pub(super) async fn renew(
    _: Administrator,
    Shared(state): Shared<State>,
) -> Result<Json<DomainDocument>, Problem> {
    let options = crate::peering::renewal::options(&state.settings);
    let renewed = potluck_discovery::renew(&state.settings.data_dir, &options)
        .await
        .map_err(|error| not_renewed(&error))?;
    crate::peering::renewal::record(&state.events, &renewed);
    state.peering.membership_changed().await;
    document(state).await
}

pub(super) async fn leave(
    _: Administrator,
    Shared(state): Shared<State>,
    body: Result<Json<LeaveBody>, JsonRejection>,
) -> Result<Json<DomainDocument>, Problem> {
    let Json(body) = body?;
    let data_dir = state.settings.data_dir.clone();
    blocking(move || {
        potluck_discovery::leave(&data_dir, body.force)
            .map_err(|error| Problem::conflict(error.to_string()))
    })
    .await?;
    state.events.record("domain_left", None, json!({}));
    state.peering.membership_changed().await;
    document(state).await
}

/// What is known of the domain.
pub(super) async fn document(state: State) -> Result<Json<DomainDocument>, Problem> {
    let trouble = state.peering.trouble();
    blocking(move || {
        let document = DomainDocument::read(&state.settings, trouble);
        document.map(Json).map_err(Problem::internal)
    })
    .await
}

fn name(text: &str) -> Result<Name, Problem> {
    text.parse()
        .map_err(|error: potluck_discovery::NameError| Problem::invalid(error.to_string()))
}

/// What this node is to be called: as asked for, as configured, or as its machine is.
pub(super) fn node_name(state: &State, wanted: Option<String>) -> Result<Name, Problem> {
    match wanted.filter(|wanted| !wanted.is_empty()) {
        Some(wanted) => name(&wanted),
        None => Ok(match state.settings.peering.node_name.as_str() {
            "" => Name::of_this_machine(),
            configured => Name::nearest(configured),
        }),
    }
}

fn not_renewed(error: &RenewalError) -> Problem {
    match error {
        RenewalError::Unreachable { .. } => {
            Problem::new(StatusCode::BAD_GATEWAY, error.to_string())
        }
        _ => Problem::conflict(error.to_string()),
    }
}

fn refused(error: &JoinError) -> Problem {
    match error {
        JoinError::Unreachable { .. } | JoinError::NotFound => {
            Problem::new(StatusCode::BAD_GATEWAY, error.to_string())
        }
        _ => Problem::conflict(error.to_string()),
    }
}
