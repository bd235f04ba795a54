//! A question for pieces of an entity, and its answer.

use std::ops::Range;
use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderName};
use http_body_util::BodyExt;
use potluck_content::EntityKey;

use crate::peer_server::exchange::{Answer, Exchange, empty, set};
use crate::peer_server::served_body::ServedBody;

/// The most pieces of one question.
const MAX_PIECES: u32 = 1024;

/// How many bytes of an answer come before those of the pieces.
const PREFACE: HeaderName = HeaderName::from_static("potluck-preface");

const CONTENT_TYPE: &str = "application/vnd.potluck.pieces";

/// Which pieces of what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PiecesQuestion {
    entity: EntityKey,
    run: Range<u32>,
}

impl PiecesQuestion {
    /// Reads `/v1/swarms/<64 digits>/pieces/<first>-<last>`.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (entity, run) = path.strip_prefix("/v1/swarms/")?.split_once("/pieces/")?;
        let (first, last) = run.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let count = last.checked_sub(first)?.checked_add(1)?;
        (count <= MAX_PIECES).then_some(Self {
            entity: entity.parse().ok()?,
            run: first..first.checked_add(count)?,
        })
    }
}

/// Digits and nothing else, which `parse` alone does not ask for.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

impl Exchange {
    /// Gives a run of pieces, in turn as contents are given.
    pub(super) async fn answer_pieces(&self, question: PiecesQuestion, head: bool) -> Answer {
        let PiecesQuestion { entity, run } = question;
        let (shelf, asked) = (Arc::clone(&self.shelf), run.clone());
        let taking = tokio::task::spawn_blocking(move || shelf.take_pieces(&entity, asked));
        let Ok(Some(taken)) = taking.await else {
            return empty(StatusCode::NOT_FOUND);
        };
        let mut answer = empty(StatusCode::OK);
        let headers = answer.headers_mut();
        let preface = taken.preface.len() as u64;
        let len = preface + (taken.bytes.end - taken.bytes.start);
        set(headers, header::CONTENT_LENGTH, len.to_string());
        set(headers, header::CONTENT_TYPE, CONTENT_TYPE.to_owned());
        set(headers, PREFACE, preface.to_string());
        if head {
            return answer;
        }
        let turn = match self.wait_for_turn().await {
            Ok(turn) => turn,
            Err(busy) => return *busy,
        };
        tracing::debug!(peer = %self.peer, ?entity, ?run, "serving pieces");
        let shared = Arc::clone(&self.shared);
        let body = ServedBody::new(taken.content, taken.bytes, self.peer, shared, turn);
        *answer.body_mut() = body.after(taken.preface).boxed();
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_run_of_pieces_or_nothing() {
        let entity = EntityKey::from_bytes([0xa5; 32]);
        let parse = |rest: &str| PiecesQuestion::parse(&format!("/v1/swarms/{entity}{rest}"));
        let run = |rest: &str| parse(rest).map(|question| question.run);
        assert_eq!(run("/pieces/0-0"), Some(0..1));
        assert_eq!(run("/pieces/7-1030"), Some(7..1031));
        assert_eq!(parse("/pieces/3-4").map(|it| it.entity), Some(entity));
        for nothing in [
            "",
            "/pieces",
            "/pieces/",
            "/pieces/1",
            "/pieces/-",
            "/pieces/-1",
            "/pieces/+1-+2",
            "/pieces/2-1",
            "/pieces/7-1031",
            "/pieces/0-4294967295",
            "/pieces/4294967295-4294967295",
            "/pieces/0-0/",
            "/contents/0-0",
        ] {
            assert_eq!(run(nothing), None, "{nothing}");
        }
        assert_eq!(PiecesQuestion::parse("/v1/swarms/a5/pieces/0-0"), None);
    }
}
