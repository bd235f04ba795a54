//! The control API: HTTP/1.1 and JSON on a Unix socket, under `/v1/`.
//!
//! Who calls is known from the socket itself (the peer credentials of the kernel):
//! jobs are for their owner and for root, the cache and the domain are for whom the
//! daemon runs as and for root. Errors are problem documents (RFC 9457). The document
//! at `/v1/openapi.json` describes every route.

mod activity;
mod authority;
mod call;
mod caller;
mod caller_stream;
mod contents;
pub mod descriptors;
mod doctor;
mod documents;
mod domain;
mod gate;
mod job_list;
mod jobs;
mod log;
mod long_answer;
mod metrics;
mod offline;
mod peers;
mod problem;
mod revocations;
mod room;
mod serving;

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use potluck_cache::Cache;
use potluck_transfer::EngineHandle;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

pub use documents::{
    BeaconDocument, DomainDocument, InvitationDocument, PeerDocument, RejectedDocument,
    StatsDocument, StatusDocument,
};

pub use offline::{AnswerDocument, RequestDocument};

use crate::config::{Settings, Users};
use crate::events::EventLog;
use crate::jobs::JobsHandle;
use crate::peering::Peering;
pub use crate::revocation::{RevocationDocument, RevocationsDocument};
use crate::stats::{SoFar, Stats};
pub(crate) use caller::is_administrator;
use descriptors::HandedOver;
use gate::Gate;
pub use problem::{CALLER_PLACES, CROWDED, Problem};
use room::Room;
pub use room::Turns;
use serving::answer;

/// The most bytes of a request's body: 200 files of 2,200 characters and then some.
const MAX_BODY: usize = 4 << 20;

/// How long callers that are being answered may hold up the end of the node.
const CUT_OFF: Duration = Duration::from_millis(500);

/// Connections to the control socket at once.
const CONNECTIONS: usize = 512;
/// Of these, for root and the user of the daemon alone.
const RESERVE: usize = 64;
/// Connections of one other user.
const CONNECTIONS_OF_ONE: usize = 128;
/// Connections that wait until others end.
const WAITING: usize = 256;
/// Of these, for root and the user of the daemon alone.
const WAITING_RESERVE: usize = 64;
/// Connections of one other user that wait.
const WAITING_OF_ONE: usize = 96;
/// Connections to the port for metrics.
const SCRAPERS: usize = 32;
/// The same, waiting.
const SCRAPERS_WAITING: usize = 8;
/// Finished files at once that one user reads through the control socket; each takes a
/// buffer or two.
pub const READINGS: usize = 16;
/// Requests with long bodies at once of one user.
pub const LONG_BODIES: usize = 4;
/// Lists of jobs and whole jobs at once that one user is being sent.
pub const LONG_ANSWERS: usize = 4;

/// What the API speaks for. Cheap to clone.
#[derive(Clone)]
pub struct State {
    /// The jobs.
    pub jobs: JobsHandle,
    /// The domain and its peers.
    pub peering: Peering,
    /// The contents.
    pub cache: Cache,
    /// The transfers.
    pub engine: EngineHandle,
    /// The counters.
    pub stats: Stats,
    /// The event log.
    pub events: EventLog,
    /// How finished files came to their owners.
    pub handed_over: Arc<HandedOver>,
    /// Callers who read finished files.
    pub readings: Arc<Turns>,
    /// Callers with much to say.
    pub long_bodies: Arc<Turns>,
    /// Callers who are told much.
    pub long_answers: Arc<Turns>,
    /// What holds.
    pub settings: Arc<Settings>,
    /// Cancelled when the node stops: streams that are followed end then.
    pub stopping: CancellationToken,
}

impl State {
    /// Brings the counters up to what peers were given until now.
    pub fn count_served(&self) {
        let so_far = SoFar {
            served: self.engine.traffic().served(),
            manifests: self.engine.manifest_bytes(),
        };
        self.stats.add_so_far(so_far, SystemTime::now());
    }
}

/// Opens the control socket for these users. One that nobody listens on any more is
/// replaced.
///
/// # Errors
/// When somebody listens there, when something else is there, or when it cannot be made.
pub fn bind(path: &Path, users: Users) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it exists and is no socket",
            ));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another daemon answers there",
            ));
        }
        Ok(_) => std::fs::remove_file(path)?,
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let listener = UnixListener::bind(path)?;
    // Whoever may call has only their own jobs: the kernel says who it is.
    let mode = if is_open(users) { 0o666 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Whether everybody may call.
fn is_open(users: Users) -> bool {
    match users {
        Users::Auto => rustix::process::geteuid().is_root(),
        Users::Own => false,
        Users::All => true,
    }
}

/// Answers on the control socket until `stop`.
pub async fn serve(listener: UnixListener, state: State) {
    let stop = state.stopping.clone();
    let room = Room::new(CONNECTIONS, RESERVE, CONNECTIONS_OF_ONE);
    let queue = Room::new(WAITING, WAITING_RESERVE, WAITING_OF_ONE);
    let gate = Gate::new(listener, room, queue);
    until_cut_off(answer(gate, router(state), stop.clone()), stop).await;
}

/// Answers `/metrics` over TCP until `stop`: the only thing that may be asked without
/// the socket.
pub async fn serve_metrics(listener: TcpListener, state: State) {
    let stop = state.stopping.clone();
    let router = Router::new()
        .route("/metrics", get(metrics::show))
        .with_state(state);
    let room = Room::new(SCRAPERS, 0, SCRAPERS);
    let queue = Room::new(SCRAPERS_WAITING, 0, SCRAPERS_WAITING);
    let gate = Gate::new(listener, room, queue);
    until_cut_off(answer(gate, router, stop.clone()), stop).await;
}

/// Answers to the end, but not for ever after `stop`: a caller that is stuck would hold
/// up the end of the node.
async fn until_cut_off(answering: impl Future<Output = ()>, stop: CancellationToken) {
    tokio::select! {
        () = answering => {}
        () = async {
            stop.cancelled().await;
            tokio::time::sleep(CUT_OFF).await;
        } => {}
    }
}

fn router(state: State) -> Router {
    Router::new()
        .route("/v1/status", get(domain::status))
        .route("/v1/jobs", get(job_list::page).post(jobs::create))
        .route("/v1/jobs/batch", post(jobs::create_many))
        .route("/v1/jobs/{id}", get(jobs::show).patch(jobs::change))
        .route("/v1/jobs/{id}/watch", get(jobs::watch))
        .route("/v1/jobs/{id}/why", get(jobs::why))
        .route("/v1/jobs/{id}/files", post(jobs::add))
        .route("/v1/jobs/{id}/files/{file}/content", get(jobs::content))
        .route("/v1/jobs/{id}/files/{file}/validate", post(jobs::validate))
        .route("/v1/jobs/{id}/takeover", post(jobs::take_over))
        .route("/v1/jobs/{id}/resume", post(jobs::resume))
        .route("/v1/jobs/{id}/suspend", post(jobs::suspend))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{id}/complete", post(jobs::complete))
        .route("/v1/peers", get(peers::list))
        .route("/v1/peers/rejected", get(peers::rejected))
        .route("/v1/stats", get(peers::stats))
        .route("/v1/cache", get(contents::show_cache))
        .route(
            "/v1/cache/contents",
            get(contents::list)
                .post(contents::add)
                .delete(contents::clear),
        )
        .route(
            "/v1/cache/contents/{name}",
            get(contents::show)
                .patch(contents::change)
                .delete(contents::remove),
        )
        .route("/v1/cache/contents/{name}/verify", post(contents::verify))
        .route(
            "/v1/cache/contents/{name}/validate",
            post(contents::validate),
        )
        .route(
            "/v1/cache/contents/{name}/invalidate",
            post(contents::invalidate),
        )
        .route("/v1/cache/partials", get(contents::partials))
        .route("/v1/cache/verify", post(contents::verify_next))
        .route("/v1/cache/rebuild", post(contents::rebuild))
        .route("/v1/events", get(log::events))
        .route("/v1/doctor", post(doctor::examine))
        .route("/v1/domain", get(domain::show).post(domain::create))
        .route("/v1/domain/invitations", post(domain::invite))
        .route("/v1/domain/join", post(domain::join))
        .route("/v1/domain/renew", post(domain::renew))
        .route("/v1/domain/leave", post(domain::leave))
        .route("/v1/domain/request", post(offline::request))
        .route("/v1/domain/sign", post(offline::sign))
        .route("/v1/domain/answer", post(offline::answer))
        .route(
            "/v1/domain/revocations",
            get(revocations::list).post(revocations::add),
        )
        .route("/v1/domain/authority/unlock", post(authority::unlock))
        .route("/v1/domain/authority/lock", post(authority::lock))
        .route("/v1/domain/authority/passphrase", post(authority::change))
        .route("/v1/openapi.json", get(openapi))
        .route("/metrics", get(metrics::show))
        .fallback(async || Problem::not_found("there is no such resource"))
        .layer(from_fn_with_state(state.clone(), domain::refuse_given))
        .layer(from_fn_with_state(state.clone(), call::take))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
}

/// The description of this API.
const OPENAPI: &str = include_str!("api/openapi.json");

async fn openapi() -> impl axum::response::IntoResponse {
    (
        [(axum::http::header::CONTENT_TYPE, "application/json")],
        OPENAPI,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every route with its methods, as written above.
    fn routes() -> BTreeMap<String, Vec<String>> {
        let source = include_str!("api.rs");
        let parts = source.split(".route(").skip(1);
        let parts = parts.filter_map(|part| part.trim_start().strip_prefix('"'));
        let parts = parts.filter(|part| part.starts_with('/'));
        parts
            .map(|part| {
                let (path, rest) = part.split_once('"').unwrap();
                let handlers = rest.split(".fallback").next().unwrap();
                let methods = ["get", "post", "patch", "delete"];
                let used = methods
                    .iter()
                    .filter(|method| handlers.contains(&format!("{method}(")));
                (path.to_owned(), used.map(ToString::to_string).collect())
            })
            .collect()
    }

    #[test]
    fn the_description_names_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let routes = routes();
        assert!(routes.len() > 20, "the routes were read");
        for (path, methods) in &routes {
            let described = paths
                .get(path)
                .unwrap_or_else(|| panic!("{path} is not described"));
            for method in methods {
                assert!(
                    described.get(method).is_some(),
                    "{method} {path} is not described"
                );
            }
            assert_eq!(
                described
                    .as_object()
                    .unwrap()
                    .keys()
                    .filter(|key| *key != "parameters")
                    .count(),
                methods.len(),
                "{path}"
            );
        }
        assert_eq!(paths.len(), routes.len());
    }

    #[tokio::test]
    async fn a_live_socket_is_refused_and_a_stale_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/socket");
        let first = bind(&path, Users::Auto).unwrap();
        assert_eq!(
            bind(&path, Users::Auto).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        assert!(path.exists());
        drop(bind(&path, Users::Auto).unwrap());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(
            bind(&file, Users::Auto).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }
}
