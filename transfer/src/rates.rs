//! Keeping to the caps of the governor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use potluck_plan::{Governor, GovernorConfig, JobKey, Priority, Rate};
use tokio::sync::Notify;

/// The node's one [`Governor`], shared by everything that moves bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    governor: Mutex<Governor>,
    changed: Notify,
}

impl Rates {
    /// Starts with these caps.
    #[must_use]
    pub fn new(config: GovernorConfig) -> Self {
        Self(Arc::new(Inner {
            governor: Mutex::new(Governor::new(config, now())),
            changed: Notify::new(),
        }))
    }

    /// Reads or changes the governor. Whoever waits at a rate of 0 looks again.
    pub fn with<T>(&self, act: impl FnOnce(&mut Governor, Instant) -> T) -> T {
        let result = act(&mut self.lock(), now());
        self.0.changed.notify_waiters();
        result
    }

    /// Bytes to give to a peer at a time; `None` without a cap.
    #[must_use]
    pub fn served_quantum(&self) -> Option<usize> {
        let governor = self.lock();
        match governor.served_rate() {
            Rate::Unlimited => None,
            Rate::Bits(_) => usize::try_from(governor.served_quantum()).ok(),
        }
    }

    /// Waits until `bytes` may go to a peer.
    pub async fn wait_to_serve(&self, bytes: u64) {
        self.wait(|governor, now| governor.take_served(bytes, now))
            .await;
    }

    /// Waits until a download may go on after it received `bytes`.
    pub async fn wait_to_download(&self, job: JobKey, priority: Priority, bytes: u64) {
        self.wait(|governor, now| governor.take_download(job, priority, bytes, now))
            .await;
    }

    async fn wait(&self, take: impl Fn(&mut Governor, Instant) -> Duration) {
        loop {
            let changed = self.0.changed.notified();
            let wait = take(&mut self.lock(), now());
            if wait == Duration::MAX {
                changed.await;
                continue;
            }
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            return;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Governor> {
        self.0
            .governor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time, on the clock that tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn three_takers_together_keep_to_the_cap() {
        let rates = Rates::new(GovernorConfig::default());
        let quantum = rates.served_quantum().unwrap() as u64;
        let mut tasks = tokio::task::JoinSet::new();
        let start = now();
        for _ in 0..3 {
            let rates = rates.clone();
            tasks.spawn(async move {
                let mut sent = 0;
                loop {
                    rates.wait_to_serve(quantum).await;
                    if now() - start >= Duration::from_secs(10) {
                        return sent;
                    }
                    sent += quantum;
                }
            });
        }
        let sent: u64 = tasks.join_all().await.into_iter().sum();
        assert!(sent.abs_diff(1_250_000) <= 25_000, "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_nothing_waits_for_a_change() {
        let config = GovernorConfig {
            served: Rate::ZERO,
            ..GovernorConfig::default()
        };
        let rates = Rates::new(config);
        let waiting = tokio::spawn({
            let rates = rates.clone();
            async move { rates.wait_to_serve(10).await }
        });
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!waiting.is_finished());
        rates.with(|governor, now| governor.set_served_rate(Rate::Unlimited, now));
        waiting.await.unwrap();
    }
}
