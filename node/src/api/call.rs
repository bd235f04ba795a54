//! What every call of the control API goes through.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::caller::SocketPeer;
use super::gate::Busy;
use super::problem::Problem;
use super::{MAX_BODY, State};

/// How long the body of a request may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// A user may send only some of the longer bodies at once.
const LONG: u64 = 64 << 10;

/// Keeps in mind that the connection has a request under way, and reads the whole of it
/// before anything is done with it.
pub(super) async fn take(
    ConnectInfo(peer): ConnectInfo<SocketPeer>,
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Response {
    let busy = peer.activity.begin();
    let response = match read(&peer, &state, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    until_sent(response, busy)
}

/// The request is under way until all of the response is sent.
pub(super) fn until_sent(response: Response, busy: Busy) -> Response {
    response.map(|body| Body::new(BusyBody { body, _busy: busy }))
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

/// The body of a response, and what ends with it.
struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
