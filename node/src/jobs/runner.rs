//! Fetches the files of one job, one after the other; small ones a few at a time.
//!
//! Files are begun in the order in which they stand in the job. Small files take round
//! trips and syncs rather than bandwidth, so as long as files turn out to be small, ever
//! more of the next ones are begun ahead. A large one that was begun ahead is put back
//! until its turn comes: large files never share the line.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use potluck_content::Validator;
use potluck_plan::JobError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::JobId;
use super::fetch::{Fetch, FetchError, FetchProgress, FetchRequest, Fetched, Fetcher};
use super::recheck::has_changed;

/// How often the progress of a file is told at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Files on their way at once, at most: as many as `aria2c -j16`.
const MAX_AHEAD: usize = 16;
/// A file of more bytes is worth a line of its own.
const SMALL: u64 = 1 << 20;

/// So many files that came are made durable while the next ones come.
const SYNC_EVERY: usize = 128;

/// What a run has to tell.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) job: JobId,
    /// Which run of the job: news of a run that was stopped no longer counts.
    pub(super) run: u64,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// This file is on its way.
    Started(usize),
    Progress(usize, FetchProgress),
    Fetched(usize, Box<Fetched>),
    Failed(usize, FetchError),
    /// This file is here, and its origin has another version of it now.
    Changed(usize),
    /// All files are here, and the disk fails.
    Unsynced(JobError),
    /// All files are here.
    Finished,
}

/// One run of a job.
pub(super) struct Runner {
    pub(super) job: JobId,
    pub(super) run: u64,
    pub(super) files: Vec<FetchRequest>,
    /// Where all files are to be of one time: those that are here, with their versions.
    pub(super) finished: Option<Vec<(FetchRequest, Option<Validator>)>>,
    /// Whether what came must be durable before all are said to be here: otherwise it is
    /// put in its place at once, and durable there.
    pub(super) syncs: bool,
    pub(super) fetcher: Arc<dyn Fetcher>,
    pub(super) updates: mpsc::Sender<Update>,
}

/// The files that are on their way.
#[derive(Default)]
struct Flights {
    /// Which file of the job, and whether its beginning was told, by the place in the line.
    told: BTreeMap<usize, (usize, bool)>,
    next: FuturesUnordered<BoxFuture<'static, (Flight, Step)>>,
}

/// One file on its way.
struct Flight {
    place: usize,
    request: FetchRequest,
    fetch: Fetch,
    /// Before this, progress is not looked at again.
    rest: Option<Instant>,
}

enum Step {
    Progress(FetchProgress),
    Ended(Result<Fetched, FetchError>),
}

impl Runner {
    /// Runs to the end or to the first file that fails. Stopping it is dropping it.
    pub(super) async fn run(mut self) {
        let files = std::mem::take(&mut self.files);
        let mut line: VecDeque<_> = files.into_iter().enumerate().collect();
        let mut flights = Flights::default();
        let mut failed: Option<(usize, usize, FetchError)> = None;
        let mut ahead = 1;
        let mut came = 0_usize;
        // Whether a file that was begun ahead may be put back and asked for again.
        let asks = line.iter().all(|(_, it)| it.options.method.is_none());
        let most = if asks { MAX_AHEAD } else { 1 };
        loop {
            while failed.is_none()
                && flights.told.len() < ahead
                && let Some((place, request)) = line.pop_front()
            {
                let fetch = self.fetcher.fetch(request.clone());
                flights.begin(place, request, fetch);
            }
            // The first in line is on its way for all to see.
            let first = flights.told.keys().next().copied();
            if let Some(first) = first {
                self.started(&mut flights, first).await;
            }
            if let Some((place, file, error)) =
                failed.take_if(|(place, ..)| first.is_none_or(|first| *place < first))
            {
                tracing::debug!(place, "a file failed");
                return self.tell(News::Failed(file, error)).await;
            }
            let Some((mut flight, step)) = flights.next.next().await else {
                return self.finish().await;
            };
            let (place, file) = (flight.place, flight.request.file);
            match step {
                Step::Progress(progress) => {
                    let is_first = first == Some(place);
                    let known = progress.size.unwrap_or(0).max(progress.accounting.total());
                    if known > SMALL {
                        ahead = 1;
                    }
                    if known > SMALL && !is_first {
                        flights.told.remove(&place);
                        let at = line.partition_point(|(other, _)| *other < place);
                        // What came of it so far came.
                        flight.request.before = progress.accounting;
                        flight.request.swarm_before = progress.swarm;
                        line.insert(at, (place, flight.request));
                        self.tell(News::Progress(file, progress)).await;
                        continue;
                    }
                    if is_first || progress.size.is_some() {
                        self.started(&mut flights, place).await;
                        self.tell(News::Progress(file, progress)).await;
                    }
                    flight.rest = Some(Instant::now() + PROGRESS_EVERY);
                    flights.next.push(Box::pin(flight.step()));
                }
                Step::Ended(result) => {
                    self.started(&mut flights, place).await;
                    flights.told.remove(&place);
                    match result {
                        Ok(fetched) => {
                            self.remember(flight.request, &fetched);
                            came += 1;
                            if came.is_multiple_of(SYNC_EVERY) {
                                self.sync_meanwhile();
                            }
                            let small = fetched.lease.size() <= SMALL;
                            ahead = if small { (ahead * 2).min(most) } else { 1 };
                            self.tell(News::Fetched(file, Box::new(fetched))).await;
                        }
                        Err(error) => {
                            // Told when everything before it is here.
                            if failed.as_ref().is_none_or(|(other, ..)| place < *other) {
                                failed = Some((place, file, error));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Keeps in mind in which version a file came.
    fn remember(&mut self, request: FetchRequest, fetched: &Fetched) {
        if let Some(finished) = &mut self.finished {
            let request = FetchRequest {
                use_peers: false,
                before: fetched.accounting,
                destination: None,
                ..request
            };
            finished.push((request, fetched.validator.clone()));
        }
    }

    /// All files are here. Where they are to be of one time, each must still be what its
    /// origin has: then there was a moment at which all were.
    async fn finish(mut self) {
        for (request, version) in self.finished.take().unwrap_or_default() {
            let file = request.file;
            match has_changed(&*self.fetcher, request, &version).await {
                Ok(false) => {}
                Ok(true) => return self.tell(News::Changed(file)).await,
                Err(error) => return self.tell(News::Failed(file, error)).await,
            }
        }
        if self.syncs
            && let Err(failed) = self.sync().await
        {
            return self.tell(failed).await;
        }
        self.tell(News::Finished).await;
    }

    /// Has what came made durable, so that at the end little is left to be. Where that
    /// fails, it does so at the end again.
    fn sync_meanwhile(&self) {
        if self.syncs {
            let fetcher = Arc::clone(&self.fetcher);
            tokio::task::spawn_blocking(move || fetcher.sync());
        }
    }

    /// Makes what came durable.
    async fn sync(&self) -> Result<(), News> {
        let fetcher = Arc::clone(&self.fetcher);
        let synced = tokio::task::spawn_blocking(move || fetcher.sync()).await;
        match synced {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(News::Unsynced(error)),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Tells that a file is on its way, once.
    async fn started(&self, flights: &mut Flights, place: usize) {
        if let Some((file, told @ false)) = flights.told.get_mut(&place) {
            *told = true;
            self.tell(News::Started(*file)).await;
        }
    }

    async fn tell(&self, news: News) {
        let update = Update {
            job: self.job,
            run: self.run,
            news,
        };
        // The task that owns the jobs has gone only when the node stops.
        let _ = self.updates.send(update).await;
    }
}

impl Flights {
    fn begin(&mut self, place: usize, request: FetchRequest, fetch: Fetch) {
        self.told.insert(place, (request.file, false));
        let flight = Flight {
            place,
            request,
            fetch,
            rest: None,
        };
        self.next.push(Box::pin(flight.step()));
    }
}

impl Flight {
    /// Waits for what happens next to the file.
    async fn step(mut self) -> (Self, Step) {
        if let Some(rest) = self.rest.take() {
            tokio::select! {
                biased;
                outcome = &mut self.fetch.outcome => return (self, Step::Ended(outcome)),
                () = tokio::time::sleep_until(rest) => {}
            }
        }
        tokio::select! {
            biased;
            outcome = &mut self.fetch.outcome => (self, Step::Ended(outcome)),
            Ok(()) = self.fetch.progress.changed() => {
                let progress = self.fetch.progress.borrow_and_update().clone();
                (self, Step::Progress(progress))
            }
        }
    }
}
