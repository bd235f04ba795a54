//! The one owner of all rates of a node.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{JobKey, Priority, Rate, TokenBucket};

/// The caps of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GovernorConfig {
    /// Everything given to peers, together (`max_bandwidth_served`). 1 Mbps unless
    /// changed, as BITS.
    pub served: Rate,
    /// Everything downloaded, from peers and origins together (`max_bandwidth`).
    pub downloads: Rate,
}

impl Default for GovernorConfig {
    fn default() -> Self {
        Self {
            served: Rate::Bits(1_000_000),
            downloads: Rate::Unlimited,
        }
    }
}

/// Says how long bytes must wait so that every cap holds.
///
/// A download passes several buckets (its job's, the background's, the node's) and
/// waits for the slowest. Take about [`Governor::served_quantum`] or
/// [`Governor::download_quantum`] bytes at a time, after they were read from the
/// socket or before they are written; several users of one class take in turn.
///
/// Yielding to other people's traffic belongs here: whatever measures the network
/// sets [`Governor::set_background_rate`] to what is left over, and every background
/// download follows at its next helping.
#[derive(Debug)]
pub struct Governor {
    served: TokenBucket,
    downloads: TokenBucket,
    background: TokenBucket,
    /// Only jobs with a cap of their own, so never more than there are jobs.
    jobs: BTreeMap<JobKey, TokenBucket>,
}

impl Governor {
    /// A governor with these caps, no cap on background transfers and none on jobs.
    #[must_use]
    pub const fn new(config: GovernorConfig, now: Instant) -> Self {
        Self {
            served: TokenBucket::new(config.served, now),
            downloads: TokenBucket::new(config.downloads, now),
            background: TokenBucket::new(Rate::Unlimited, now),
            jobs: BTreeMap::new(),
        }
    }

    /// How long to wait before `bytes` may go to a peer. See [`TokenBucket::take`].
    #[must_use = "the bytes may flow only after this time"]
    pub fn take_served(&mut self, bytes: u64, now: Instant) -> Duration {
        self.served.take(bytes, now)
    }

    /// How long a download of this job must wait after it read `bytes`.
    ///
    /// Where a cap is 0 nothing is taken from any bucket and the answer is
    /// [`Duration::MAX`].
    #[must_use = "the bytes may flow only after this time"]
    pub fn take_download(
        &mut self,
        job: JobKey,
        priority: Priority,
        bytes: u64,
        now: Instant,
    ) -> Duration {
        if self.download_rate_of(job, priority) == Rate::ZERO {
            return Duration::MAX;
        }
        let mut wait = self.downloads.take(bytes, now);
        if priority.is_background() {
            wait = wait.max(self.background.take(bytes, now));
        }
        if let Some(bucket) = self.jobs.get_mut(&job) {
            wait = wait.max(bucket.take(bytes, now));
        }
        wait
    }

    /// The lowest cap on downloads of this job. A plan's minimum peer rate is best
    /// kept below it, else a cap looks like a slow peer.
    #[must_use]
    pub fn download_rate_of(&self, job: JobKey, priority: Priority) -> Rate {
        let mut rate = self.downloads.rate();
        if priority.is_background() {
            rate = rate.min(self.background.rate());
        }
        self.jobs
            .get(&job)
            .map_or(rate, |bucket| rate.min(bucket.rate()))
    }

    /// The cap on everything given to peers.
    #[must_use]
    pub const fn served_rate(&self) -> Rate {
        self.served.rate()
    }

    /// The cap on everything downloaded.
    #[must_use]
    pub const fn download_rate(&self) -> Rate {
        self.downloads.rate()
    }

    /// How many bytes to give at a time, so that the flow is smooth.
    #[must_use]
    pub fn served_quantum(&self) -> u64 {
        self.served.quantum()
    }

    /// How many bytes of this job to read at a time, so that the flow is smooth.
    #[must_use]
    pub fn download_quantum(&self, job: JobKey, priority: Priority) -> u64 {
        let mut quantum = self.downloads.quantum();
        if priority.is_background() {
            quantum = quantum.min(self.background.quantum());
        }
        self.jobs
            .get(&job)
            .map_or(quantum, |bucket| quantum.min(bucket.quantum()))
    }

    /// Changes the cap on everything given to peers.
    pub fn set_served_rate(&mut self, rate: Rate, now: Instant) {
        self.served.set_rate(rate, now);
    }

    /// Changes the cap on everything downloaded.
    pub fn set_download_rate(&mut self, rate: Rate, now: Instant) {
        self.downloads.set_rate(rate, now);
    }

    /// What all background downloads may use together: the place for yielding.
    pub fn set_background_rate(&mut self, rate: Rate, now: Instant) {
        self.background.set_rate(rate, now);
    }

    /// Changes the cap of one job; [`Rate::Unlimited`] forgets it.
    pub fn set_job_rate(&mut self, job: JobKey, rate: Rate, now: Instant) {
        if rate == Rate::Unlimited {
            self.jobs.remove(&job);
            return;
        }
        self.jobs
            .entry(job)
            .and_modify(|bucket| bucket.set_rate(rate, now))
            .or_insert_with(|| TokenBucket::new(rate, now));
    }

    /// Forgets a job that is over.
    pub fn remove_job(&mut self, job: JobKey) {
        self.jobs.remove(&job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobKey = JobKey(1);
    const OTHER: JobKey = JobKey(2);

    fn governor(downloads: Rate) -> (Governor, Instant) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to start from"
        )]
        let now = Instant::now();
        let config = GovernorConfig {
            downloads,
            ..GovernorConfig::default()
        };
        (Governor::new(config, now), now)
    }

    #[test]
    fn the_lowest_cap_decides() {
        let (mut governor, now) = governor(Rate::Bits(80_000));
        governor.set_job_rate(JOB, Rate::Bits(8_000), now);
        let wait = governor.take_download(JOB, Priority::Normal, 1_000, now);
        assert_eq!(wait, Duration::from_millis(980));
        let wait = governor.take_download(OTHER, Priority::Normal, 1_000, now);
        assert_eq!(
            wait,
            Duration::from_millis(180),
            "both jobs share the node's cap"
        );
        governor.remove_job(JOB);
        assert_eq!(
            governor.download_rate_of(JOB, Priority::Normal),
            Rate::Bits(80_000)
        );
    }

    #[test]
    fn yielding_holds_background_and_spares_foreground() {
        let (mut governor, now) = governor(Rate::Unlimited);
        governor.set_background_rate(Rate::ZERO, now);
        assert_eq!(
            governor.take_download(JOB, Priority::Low, 1, now),
            Duration::MAX
        );
        assert_eq!(
            governor.take_download(JOB, Priority::Foreground, 1 << 30, now),
            Duration::ZERO
        );
        governor.set_background_rate(Rate::Bits(8_000), now);
        assert_eq!(
            governor.take_download(JOB, Priority::Low, 1_000, now),
            Duration::from_millis(980)
        );
    }

    #[test]
    fn serving_has_its_own_cap() {
        let (mut governor, now) = governor(Rate::ZERO);
        assert_eq!(governor.served_rate(), Rate::Bits(1_000_000));
        assert_eq!(governor.served_quantum(), 2_500);
        assert_eq!(
            governor.take_served(125_000, now),
            Duration::from_millis(980)
        );
    }
}
