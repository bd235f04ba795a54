//! One question of a peer and its answer.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use potluck_content::ContentId;
use potluck_discovery::PeerId;
use tokio_util::sync::CancellationToken;

use crate::peer_server::pieces_question::PiecesQuestion;
use crate::peer_server::served_body::{ServedBody, ServedShared};
use crate::peer_server::turnstile::{Turn, Turnstile};
use crate::shelf::Shelf;

pub(crate) type Answer = Response<BoxBody<Bytes, io::Error>>;

/// What an answer is made from.
pub(crate) struct Exchange {
    pub(crate) shelf: Arc<dyn Shelf>,
    pub(crate) turnstile: Turnstile,
    pub(crate) shared: Arc<ServedShared>,
    pub(crate) peer: PeerId,
    /// Ends the connection.
    pub(crate) evict: CancellationToken,
}

impl Exchange {
    /// Answers. Dropping the future, as when the peer hangs up, frees its place.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let head = request.method() == Method::HEAD;
        if !head && request.method() != Method::GET {
            let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(answer);
        }
        let path = request.uri().path();
        if let Some(question) = PiecesQuestion::parse(path) {
            return Ok(self.answer_pieces(question, head).await);
        }
        let Some(content) = named_content(path) else {
            return Ok(empty(StatusCode::NOT_FOUND));
        };
        let shelf = Arc::clone(&self.shelf);
        let taken = tokio::task::spawn_blocking(move || shelf.take(&content)).await;
        let Ok(Some(taken)) = taken else {
            return Ok(empty(StatusCode::NOT_FOUND));
        };
        let size = taken.size();
        let (range, part) = match wanted_range(request.headers(), size) {
            Wanted::Whole => (0..size, false),
            Wanted::Part(range) => (range, true),
            Wanted::Nothing => {
                let mut answer = empty(StatusCode::RANGE_NOT_SATISFIABLE);
                set(
                    answer.headers_mut(),
                    header::CONTENT_RANGE,
                    format!("bytes */{size}"),
                );
                return Ok(answer);
            }
        };
        let mut answer = empty(if part {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        });
        let headers = answer.headers_mut();
        if part {
            let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            set(headers, header::CONTENT_RANGE, text);
        }
        set(
            headers,
            header::CONTENT_LENGTH,
            (range.end - range.start).to_string(),
        );
        set(headers, header::ETAG, format!("\"{content}\""));
        set(headers, header::ACCEPT_RANGES, "bytes".to_owned());
        set(
            headers,
            header::CONTENT_TYPE,
            "application/octet-stream".to_owned(),
        );
        if head || range.is_empty() {
            return Ok(answer);
        }
        let turn = match self.wait_for_turn().await {
            Ok(turn) => turn,
            Err(busy) => return Ok(*busy),
        };
        tracing::debug!(peer = %self.peer, ?content, ?range, "serving");
        let body = ServedBody::new(taken, range, self.peer, Arc::clone(&self.shared), turn);
        *answer.body_mut() = body.boxed();
        Ok(answer)
    }

    /// Waits for a turn, or says when to come back.
    pub(super) async fn wait_for_turn(&self) -> Result<Turn, Box<Answer>> {
        let entered = self.turnstile.enter(self.peer, self.evict.clone()).await;
        entered.map_err(|refused| {
            let mut answer = empty(StatusCode::SERVICE_UNAVAILABLE);
            let seconds = refused.retry_after.as_secs().max(1);
            let headers = answer.headers_mut();
            set(headers, header::RETRY_AFTER, seconds.to_string());
            Box::new(answer)
        })
    }
}

enum Wanted {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// One range only; several, and units that nobody knows, get the whole, as HTTP has it.
fn wanted_range(headers: &HeaderMap, size: u64) -> Wanted {
    let range = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let Some((first, last)) = range
        .and_then(|range| range.trim().strip_prefix("bytes="))
        .and_then(|span| span.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let (start, end) = match (first.trim().parse::<u64>(), last.trim()) {
        (Ok(start), "") => (start, size),
        (Ok(start), last) => match last.parse::<u64>() {
            Ok(last) if last >= start => (start, last.saturating_add(1).min(size)),
            _ => return Wanted::Whole,
        },
        (Err(_), last) if first.trim().is_empty() => match last.parse::<u64>() {
            Ok(suffix) => (size.saturating_sub(suffix), size),
            Err(_) => return Wanted::Whole,
        },
        (Err(_), _) => return Wanted::Whole,
    };
    if start < end {
        Wanted::Part(start..end)
    } else {
        Wanted::Nothing
    }
}

fn named_content(path: &str) -> Option<ContentId> {
    let digits = path.strip_prefix("/v1/contents/")?;
    (digits.len() == 64).then(|| digits.parse().ok())?
}

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    answer
}

pub(super) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: String) {
    headers.insert(
        name,
        HeaderValue::try_from(value).expect("digits and plain words"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_it() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RANGE, text.parse().unwrap())]);
            match wanted_range(&headers, 100) {
                Wanted::Whole => None,
                Wanted::Part(range) => Some(range),
                Wanted::Nothing => Some(0..0),
            }
        };
        assert_eq!(read("bytes=0-9"), Some(0..10));
        assert_eq!(read("bytes=90-"), Some(90..100));
        assert_eq!(read("bytes=90-500"), Some(90..100));
        assert_eq!(read("bytes=-10"), Some(90..100));
        assert_eq!(read("bytes=100-"), Some(0..0));
        assert_eq!(read("bytes=-0"), Some(0..0));
        for whole in [
            "bytes=9-0",
            "bytes=0-1,5-6",
            "lines=0-9",
            "bytes=x-1",
            "bytes=-",
        ] {
            assert_eq!(read(whole), None, "{whole}");
        }
    }

    #[test]
    fn a_path_names_a_content_or_nothing() {
        let id = ContentId::of(b"x");
        assert_eq!(
            named_content(&format!("/v1/contents/{}", id.to_hex())),
            Some(id)
        );
        for other in [
            "/",
            "/v1/contents/",
            "/v1/contents/ab",
            &format!("/v1/contents/{id}"),
        ] {
            assert_eq!(named_content(other), None, "{other}");
        }
    }
}
