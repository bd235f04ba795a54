//! The event log.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::jobs::{json_line, lines_of};
use super::problem::Problem;
use super::{State, Turns};
use crate::events::{Event, EventLog, EventReader};
use crate::jobs::Caller;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// The id of a job or a prefix of it.
    job: Option<String>,
    #[serde(default)]
    follow: bool,
    /// Only those after the event of this number.
    #[serde(default)]
    since: u64,
    /// No more than so many.
    limit: Option<usize>,
}

/// Which events a caller gets.
#[derive(Clone)]
struct Filter {
    by: Caller,
    job: Option<String>,
}

/// Events that are sent as fast as they are taken.
struct Telling {
    log: EventLog,
    filter: Filter,
    /// What is in the log already, and the turn to read it: it keeps files open.
    past: Option<(EventReader, OwnedSemaphorePermit)>,
    /// How many more of these are wanted.
    left: usize,
    heard: Option<broadcast::Receiver<Event>>,
    last: u64,
    turns: Arc<Turns>,
}

pub(super) async fn events(
    by: Caller,
    Shared(state): Shared<State>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    if query.follow && query.limit.is_some() {
        return Err(Problem::invalid("limit and follow do not go together"));
    }
    let mut telling = Telling {
        // Heard from before the log is read, so that nothing falls between the two.
        heard: query.follow.then(|| state.events.follow()),
        log: state.events,
        filter: Filter { by, job: query.job },
        past: None,
        left: query.limit.unwrap_or(usize::MAX),
        last: query.since,
        turns: state.readings,
    };
    let failed = |error| Problem::internal(format!("the event log cannot be read: {error}"));
    let turn = telling.turns.wait(by.uid).await?;
    telling.look_back(turn).await.map_err(failed)?;
    let lines = futures::stream::try_unfold(telling, Telling::next);
    use futures::StreamExt as _;
    // An end in order, so that whoever follows knows that nothing was cut off.
    let lines = lines.take_until(state.stopping.cancelled_owned());
    Ok(lines_of(Body::from_stream(lines)))
}

impl Telling {
    /// Goes on with what is in the log after the last event.
    async fn look_back(&mut self, turn: OwnedSemaphorePermit) -> io::Result<()> {
        let (log, last) = (self.log.clone(), self.last);
        let opening = tokio::task::spawn_blocking(move || log.reader(last));
        let reader = opening.await.map_err(io::Error::other)??;
        self.past = Some((reader, turn));
        Ok(())
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            let lines = match self.past.take() {
                Some((reader, turn)) => self.recall(reader, turn).await?,
                None => match self.hear().await? {
                    Some(lines) => lines,
                    None => return Ok(None),
                },
            };
            if !lines.is_empty() {
                return Ok(Some((lines.into(), self)));
            }
        }
    }

    /// The next lines from the log; none where nobody wants these, or at the end.
    async fn recall(
        &mut self,
        mut reader: EventReader,
        turn: OwnedSemaphorePermit,
    ) -> io::Result<Vec<u8>> {
        let reading = tokio::task::spawn_blocking(move || (reader.read(), reader));
        let (events, reader) = reading.await.map_err(io::Error::other)?;
        let events = events?;
        self.last = reader.last();
        let mut lines = Vec::new();
        let wanted = events.iter().filter(|event| self.filter.takes(event));
        for event in wanted.take(self.left) {
            lines.extend(json_line(event)?);
            self.left -= 1;
        }
        if !events.is_empty() && self.left > 0 {
            self.past = Some((reader, turn));
        }
        Ok(lines)
    }

    /// The line of the next event; none where nobody wants it. Nothing at the end.
    async fn hear(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(heard) = &mut self.heard else {
            return Ok(None);
        };
        match heard.recv().await {
            Ok(event) if event.id > self.last => {
                self.last = event.id;
                if self.filter.takes(&event) {
                    return Ok(Some(json_line(&event)?.into()));
                }
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "somebody who follows the events reads slowly");
                let uid = self.filter.by.uid;
                let turn = self.turns.wait(uid).await.map_err(io::Error::other)?;
                self.look_back(turn).await?;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(None),
        }
        Ok(Some(Vec::new()))
    }
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
