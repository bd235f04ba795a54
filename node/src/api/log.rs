//! The event log.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::broadcast;

use super::State;
use super::jobs::{json_line, lines_of};
use super::problem::{Problem, blocking};
use crate::events::Event;
use crate::jobs::Caller;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// The id of a job or a prefix of it.
    job: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// Which events a caller gets.
#[derive(Clone)]
struct Filter {
    by: Caller,
    job: Option<String>,
}

pub(super) async fn events(
    by: Caller,
    Shared(state): Shared<State>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    let filter = Filter { by, job: query.job };
    // Heard from before the log is read, so that nothing falls between the two.
    let heard = query.follow.then(|| state.events.follow());
    let wanted = filter.clone();
    let events = blocking(move || {
        let events = state.events.read(|event| wanted.takes(event));
        events.map_err(|error| Problem::internal(format!("the event log cannot be read: {error}")))
    })
    .await?;
    let last = events.last().map_or(0, |event| event.id);
    let past = futures::stream::iter(events.into_iter().map(|event| json_line(&event)));
    let Some(heard) = heard else {
        return Ok(lines_of(Body::from_stream(past)));
    };
    let coming = futures::stream::unfold((heard, filter), move |(mut heard, filter)| async move {
        loop {
            match heard.recv().await {
                Ok(event) if event.id > last && filter.takes(&event) => {
                    return Some((json_line(&event), (heard, filter)));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "somebody who follows the events reads too slowly");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    use futures::StreamExt as _;
    // An end in order, so that whoever follows knows that nothing was cut off.
    let coming = coming.take_until(state.stopping.cancelled_owned());
    Ok(lines_of(Body::from_stream(past.chain(coming))))
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        let of_job = match &self.job {
            Some(wanted) => event
                .job
                .as_ref()
                .is_some_and(|job| job.starts_with(wanted)),
            None => true,
        };
        let visible = event
            .owner
            .is_none_or(|owner| self.by.uid == 0 || self.by.uid == owner);
        of_job && visible
    }
}
