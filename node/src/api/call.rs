//! What every call of the control API goes through.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::caller::SocketPeer;
use super::problem::Problem;
use super::{MAX_BODY, State};

/// How long the body of a request may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// A user may send only some of the longer bodies at once.
const LONG: u64 = 64 << 10;

/// Reads the whole of a request before anything is done with it.
pub(super) async fn take(
    ConnectInfo(peer): ConnectInfo<SocketPeer>,
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Response {
    match read(&peer, &state, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn read(
    peer: &SocketPeer,
    state: &State,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let length = body.size_hint().exact().unwrap_or(u64::MAX);
    let _turn = match peer.uid {
        Some(uid) if length > LONG => Some(state.long_bodies.wait(uid).await?),
        _ => None,
    };
    let whole = timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await;
    let whole = whole.map_err(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body of the request took too long",
        )
    })?;
    let body = whole.map_err(|error| not_read(&*error))?.to_bytes();
    let request = Request::from_parts(parts, Body::from(body));
    Ok(next.run(request).await)
}

fn not_read(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Problem {
    if error.is::<LengthLimitError>() {
        let message = format!("the body of a request has at most {MAX_BODY} bytes");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message);
    }
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!("the body of the request broke off: {error}"),
    )
}
