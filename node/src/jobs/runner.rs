//! Fetches the files of one job, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::JobId;
use super::fetch::{FetchError, FetchProgress, FetchRequest, Fetched, Fetcher};

/// How often progress is told at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

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
    /// This file is next.
    Started(usize),
    Progress(usize, FetchProgress),
    Fetched(usize, Box<Fetched>),
    Failed(usize, FetchError),
    /// All files are here.
    Finished,
}

/// One run of a job.
pub(super) struct Runner {
    pub(super) job: JobId,
    pub(super) run: u64,
    pub(super) files: Vec<FetchRequest>,
    pub(super) fetcher: Arc<dyn Fetcher>,
    pub(super) updates: mpsc::Sender<Update>,
}

impl Runner {
    /// Runs to the end or to the first file that fails. Stopping it is dropping it.
    pub(super) async fn run(mut self) {
        for request in std::mem::take(&mut self.files) {
            let file = request.file;
            self.tell(News::Started(file)).await;
            match self.fetch(request).await {
                Ok(fetched) => self.tell(News::Fetched(file, Box::new(fetched))).await,
                Err(error) => return self.tell(News::Failed(file, error)).await,
            }
        }
        self.tell(News::Finished).await;
    }

    async fn fetch(&self, request: FetchRequest) -> Result<Fetched, FetchError> {
        let file = request.file;
        let mut fetch = self.fetcher.fetch(request);
        loop {
            tokio::select! {
                biased;
                outcome = &mut fetch.outcome => return outcome,
                Ok(()) = fetch.progress.changed() => {
                    let progress = fetch.progress.borrow_and_update().clone();
                    self.tell(News::Progress(file, progress)).await;
                }
            }
            tokio::select! {
                biased;
                outcome = &mut fetch.outcome => return outcome,
                () = tokio::time::sleep(PROGRESS_EVERY) => {}
            }
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
