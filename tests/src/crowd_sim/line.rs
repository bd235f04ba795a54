//! A line: one block after the other, in turns.

use std::collections::VecDeque;
use std::time::Duration;

use super::flow::FlowId;

/// A line out of a host or of the origin.
#[derive(Debug)]
pub(super) struct LineUp {
    rate: u64,
    /// The flow whose block is on the line, with its bytes.
    pub(super) sending: Option<(FlowId, u64)>,
    /// The flows that have something to send; each sends one block and goes to the end.
    pub(super) turns: VecDeque<FlowId>,
    /// Bytes that it sent.
    pub(super) bytes: u64,
    /// How long it had nothing to send while it was wanted.
    pub(super) busy: Duration,
}

impl LineUp {
    pub(super) const fn new(rate: u64) -> Self {
        Self {
            rate,
            sending: None,
            turns: VecDeque::new(),
            bytes: 0,
            busy: Duration::ZERO,
        }
    }

    /// Puts a block on the line. Says how long it takes.
    pub(super) fn send(&mut self, flow: FlowId, bytes: u64) -> Duration {
        let time = time_for(bytes, self.rate);
        self.sending = Some((flow, bytes));
        self.bytes += bytes;
        self.busy += time;
        time
    }
}

/// A line into a host.
#[derive(Debug)]
pub(super) struct LineDown {
    rate: u64,
    free_at: Duration,
}

impl LineDown {
    pub(super) const fn new(rate: u64) -> Self {
        Self {
            rate,
            free_at: Duration::ZERO,
        }
    }

    /// When a block is through that comes to it at this time.
    pub(super) fn arrival(&mut self, bytes: u64, at: Duration) -> Duration {
        self.free_at = self.free_at.max(at) + time_for(bytes, self.rate);
        self.free_at
    }
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
}
