//! JSON that may be long, for callers who may take their time.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that are handed over at once.
const CHUNK: usize = 64 << 10;

/// JSON as an answer. The turn is over when nearly all of it is taken: what is left then is a
/// copy, so nobody can keep the whole of many answers here.
pub(super) fn long_answer(json: Vec<u8>, turn: OwnedSemaphorePermit) -> Response {
    let length = json.len();
    let kind = header::HeaderValue::from_static("application/json");
    if length <= CHUNK {
        return ([(header::CONTENT_TYPE, kind)], json).into_response();
    }
    let chunks = stream::unfold((json, 0, turn), |(json, at, turn)| async move {
        let rest = json.get(at..).filter(|rest| !rest.is_empty())?;
        let chunk = Bytes::copy_from_slice(rest.get(..CHUNK).unwrap_or(rest));
        let at = at + chunk.len();
        Some((Ok::<_, std::io::Error>(chunk), (json, at, turn)))
    });
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_LENGTH, length.into()),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}
