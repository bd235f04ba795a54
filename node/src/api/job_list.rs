//! The list of jobs, page by page.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State as Shared};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Serializer as _;

use super::State;
use super::long_answer::long_answer;
use super::problem::Problem;
use crate::jobs::{Caller, JobQuery};

pub(super) async fn page(
    by: Caller,
    Shared(state): Shared<State>,
    RawQuery(asked): RawQuery,
    query: Result<Query<JobQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    let turn = state.long_answers.wait(by.uid).await?;
    let page = state.jobs.list(by, query).await?;
    let next = page.next().and_then(|id| link_to_next(asked, id));
    let mut array = Vec::new();
    serde_json::Serializer::new(&mut array)
        .collect_seq(page.jobs.iter().map(AsRef::as_ref))
        .map_err(|error: serde_json::Error| Problem::internal(error.to_string()))?;
    let mut response = long_answer(array, turn);
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}

/// Where the rest of a list is (RFC 8288): the same question for what comes after this job.
fn link_to_next(asked: Option<String>, id: &str) -> Option<HeaderValue> {
    let asked = asked.unwrap_or_default();
    let words = asked.split('&');
    let words = words.filter(|word| !word.is_empty() && !word.starts_with("after="));
    let after = format!("after={id}");
    let words: Vec<&str> = words.chain([after.as_str()]).collect();
    HeaderValue::try_from(format!("</v1/jobs?{}>; rel=\"next\"", words.join("&"))).ok()
}
