//! What a scene came to.

use std::time::Duration;

/// The figures of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Bytes out of the origin's link over those of one plain download.
    pub copies: f64,
    /// Bytes of bodies in the origin's log over the bytes of the files.
    pub body_copies: f64,
    /// Bytes of bodies in the origin's log.
    pub body_bytes: u64,
    /// From the beginning of the scene until each host that counts had everything, the
    /// first first.
    pub finishes: Vec<Duration>,
    /// The same of hosts that do not count and were not killed.
    pub apart: Vec<Duration>,
    /// The time before which the last of `finishes` cannot be.
    pub bound: Duration,
    /// Processor seconds of all programs on the hosts for each GiB that was wanted
    /// and came.
    pub cpu_per_gib: f64,
    /// Most memory in bytes that a program on a host had at once, where it runs on after
    /// the download.
    pub memory: Option<u64>,
    /// Where the bytes came from, where the programs tell.
    pub sources: Option<Sources>,
}

/// Bytes of all hosts together, as the nodes count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sources {
    /// From peers.
    pub peers: u64,
    /// From the origin.
    pub origin: u64,
    /// From the node's own cache.
    pub cache: u64,
    /// Received and thrown away.
    pub discarded: u64,
}

impl Outcome {
    /// When the last host that counts had everything.
    pub fn last(&self) -> Duration {
        self.finishes.last().copied().unwrap_or_default()
    }

    /// When half of those that count had everything.
    pub fn median(&self) -> Duration {
        let middle = self.finishes.len().saturating_sub(1) / 2;
        self.finishes.get(middle).copied().unwrap_or_default()
    }

    /// The last finish over the bound.
    pub fn times_bound(&self) -> f64 {
        self.last().as_secs_f64() / self.bound.as_secs_f64()
    }
}
