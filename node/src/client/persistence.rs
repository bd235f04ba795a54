//! Calls that are made again, where others were in the way.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Client, ClientError};

/// How long a call is made again and again.
const PERSISTENCE: Duration = Duration::from_secs(60);
/// How often one that broke off is made, where that is safe.
const SAFE_TRIES: u32 = 3;
/// How long to wait after the first try, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Client {
    /// Makes a call until the daemon has room for it. One that broke off without an answer is
    /// made again only where that is safe.
    pub(super) async fn persist<T, F>(
        &self,
        is_safe: bool,
        call: impl Fn() -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let end = Instant::now() + PERSISTENCE;
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let error = match self.in_time(self.patience, call()).await {
                Err(error) if error.may_pass(is_safe && tries < SAFE_TRIES) => error,
                other => return other,
            };
            if Instant::now() + pause > end {
                return Err(error);
            }
            tries += 1;
            sleep(pause + own_share()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    pub(super) async fn in_time<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(limit, call)
            .await
            .unwrap_or_else(|_| Err(ClientError::Silent(self.socket.clone())))
    }
}

/// So that processes that began together do not all come back together.
fn own_share() -> Duration {
    Duration::from_millis(u64::from(std::process::id() % 100))
}
