//! The settings of a file plan.

use std::time::Duration;

use crate::{Priority, Rate};

/// How the origin may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginUse {
    /// Not at all.
    Never,
    /// It answers ranges.
    Ranges,
    /// It sends the content from its first byte to its last, over one connection.
    Stream,
}

/// The settings of a file plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePlanConfig {
    /// Of the job: for foreground jobs the origin tops up at once.
    pub priority: Priority,
    /// How the origin may be used.
    pub origin: OriginUse,
    /// Requests to the origin at once.
    pub origin_connections: u32,
    /// The shortest range asked of the origin, in bytes, unless less is missing there.
    /// Short ranges cost the origin more than they bring.
    pub min_origin_range: u64,
    /// The longest, in bytes. Bounds what a broken connection costs.
    pub max_origin_range: u64,
    /// While peers together deliver less, the origin tops up. Rate 0: it tops up only
    /// while they deliver nothing at all. Keep it below a cap on the job, or the cap
    /// looks like slow peers.
    pub min_peer_rate: Rate,
    /// How long background jobs leave it to the peers alone.
    pub origin_delay: Duration,
    /// Requests to one peer at once. Two, so that it need not wait for the next while
    /// the end of one is on its way.
    pub requests_per_peer: u32,
    /// The first run asked of a peer whose rate is not known, in bytes. Short: at the
    /// 1 Mbit/s that a node serves by default, a long one would hold a slot for minutes.
    pub first_run: u64,
    /// The shortest run asked of a peer while more is missing, in bytes.
    pub min_run: u64,
    /// The longest, in bytes. Long runs are what makes a fast peer fast.
    pub max_run: u64,
    /// How long a run is meant to take: its length is this times the peer's rate.
    pub run_time: Duration,
    /// The time over which rates are measured.
    pub rate_window: Duration,
    /// How long a peer that was just asked is not judged: connecting takes a moment.
    pub grace: Duration,
    /// A request that began to deliver and then brings nothing for so long is asked
    /// elsewhere.
    pub stall_timeout: Duration,
    /// The same for a request to the origin, from its start on.
    pub origin_stall_timeout: Duration,
    /// How long a request may wait for its first byte without a sign of life. Long,
    /// because waiting for a turn in the peer's queue is no fault.
    pub wait_timeout: Duration,
    /// So many requests in a row that bring nothing end a peer's part in the plan; and
    /// so many failures of the origin, its.
    pub max_failures: u32,
    /// Peers in the plan at once; more are ignored.
    pub max_peers: usize,
    /// Ask for the last piece alone before anything else: it proves a size that only a
    /// manifest names.
    pub prove_size: bool,
}

const MIB: u64 = 1024 * 1024;

impl Default for FilePlanConfig {
    fn default() -> Self {
        Self {
            priority: Priority::Normal,
            origin: OriginUse::Ranges,
            origin_connections: 4,
            min_origin_range: 4 * MIB,
            max_origin_range: 64 * MIB,
            min_peer_rate: Rate::from_bytes_per_second(500_000),
            origin_delay: Duration::ZERO,
            requests_per_peer: 2,
            first_run: MIB,
            min_run: MIB,
            max_run: 64 * MIB,
            run_time: Duration::from_secs(2),
            rate_window: Duration::from_secs(3),
            grace: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(5),
            origin_stall_timeout: Duration::from_secs(60),
            wait_timeout: Duration::from_secs(120),
            max_failures: 3,
            max_peers: 64,
            prove_size: false,
        }
    }
}
