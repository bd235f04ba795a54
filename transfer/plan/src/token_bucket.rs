//! An exact cap on a flow of bytes.

use std::time::{Duration, Instant};

use crate::Rate;

/// How much may flow at once after a pause, as time at the full rate. Small, so that
/// a cap is exact over 10 s (0.2 %) and a queue on the way stays short.
const BURST: Duration = Duration::from_millis(20);

/// The smallest helping that [`TokenBucket::quantum`] proposes: about one segment on
/// the wire, below which headers cost more than they smooth.
const SMALLEST_QUANTUM: u64 = 1_400;

/// The largest: keeps buffers small where the cap is far away.
const LARGEST_QUANTUM: u64 = 256 * 1024;

/// Caps a flow: over any time `t` at most `rate × (t + 20 ms)` bytes and one helping.
///
/// It keeps a debt instead of a stock: taking always succeeds and says how long to
/// wait before the bytes may flow. So rounding never adds up, and a helping larger
/// than the burst is merely paid for longer. Fairness among several users is in the
/// order in which their owner calls: each waits behind those who took before.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Rate,
    /// Everything taken until now is paid for at this instant.
    paid_at: Instant,
}

impl TokenBucket {
    /// A bucket that owes nothing.
    #[must_use]
    pub const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, paid_at: now }
    }

    /// The cap.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Changes the cap. What was taken and not yet paid is paid at the new rate.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        if rate == self.rate {
            return;
        }
        let debt = self.paid_at.saturating_duration_since(now);
        let bytes = match self.rate {
            Rate::Unlimited => 0,
            limited => limited.bytes_in(debt),
        };
        self.rate = rate;
        self.paid_at = later(now, rate.time_for(bytes).min(LONGEST_DEBT));
    }

    /// Takes `bytes` and says how long to wait before they may flow.
    ///
    /// At rate 0 nothing is taken and the answer is [`Duration::MAX`]: ask again when
    /// the rate has changed.
    #[must_use = "the bytes may flow only after this time"]
    pub fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let cost = match self.rate {
            Rate::Unlimited => return Duration::ZERO,
            Rate::ZERO => return Duration::MAX,
            limited => limited.time_for(bytes).min(LONGEST_DEBT),
        };
        self.paid_at = later(self.paid_at.max(now), cost);
        self.paid_at
            .saturating_duration_since(now)
            .saturating_sub(BURST)
    }

    /// Gives back what was taken and will not flow after all.
    pub fn give_back(&mut self, bytes: u64, now: Instant) {
        if let limited @ Rate::Bits(1..) = self.rate {
            let cost = limited.time_for(bytes);
            self.paid_at = self
                .paid_at
                .checked_sub(cost)
                .map_or(now, |paid_at| paid_at.max(now));
        }
    }

    /// How many bytes to take at a time, so that the flow is smooth: about 20 ms of
    /// the rate, between 1,400 bytes and 256 KiB.
    #[must_use]
    pub fn quantum(&self) -> u64 {
        self.rate
            .bytes_in(BURST)
            .clamp(SMALLEST_QUANTUM, LARGEST_QUANTUM)
    }
}

/// A debt beyond this changes nothing any more, and instants end somewhere.
const LONGEST_DEBT: Duration = Duration::from_secs(365 * 24 * 3600);

fn later(instant: Instant, by: Duration) -> Instant {
    instant.checked_add(by).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to start from"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    /// Bytes that flow in `time` to somebody who always wants more.
    fn flow(bucket: &mut TokenBucket, from: Instant, time: Duration, helping: u64) -> u64 {
        let (mut now, mut sent) = (from, 0);
        loop {
            now += bucket.take(helping, now);
            if now >= from + time {
                return sent;
            }
            sent += helping;
        }
    }

    #[test]
    fn a_cap_is_exact_over_ten_seconds() {
        for bits in [100_000, 1_000_000, 8_000_000, 1_000_000_000, 40_000_000_000] {
            let now = start();
            let mut bucket = TokenBucket::new(Rate::Bits(bits), now);
            let helping = bucket.quantum();
            let sent = flow(&mut bucket, now, Duration::from_secs(10), helping);
            let exact = bits * 10 / 8;
            assert!(
                sent.abs_diff(exact) * 50 <= exact,
                "{bits}: {sent} of {exact}"
            );
        }
    }

    #[test]
    fn a_pause_saves_up_no_more_than_a_small_burst() {
        let now = start();
        let mut bucket = TokenBucket::new(Rate::Bits(1_000_000), now);
        let later = now + Duration::from_secs(3600);
        let sent = flow(&mut bucket, later, Duration::from_millis(1), 100);
        assert!(sent <= 2_700, "{sent}");
    }

    #[test]
    fn a_new_rate_counts_at_once() {
        let now = start();
        let mut bucket = TokenBucket::new(Rate::Bits(8_000), now);
        assert_eq!(bucket.take(1_000, now), Duration::from_millis(980));
        bucket.set_rate(Rate::Bits(80_000), now);
        assert_eq!(bucket.take(0, now), Duration::from_millis(80));
        bucket.set_rate(Rate::Unlimited, now);
        assert_eq!(bucket.take(1 << 40, now), Duration::ZERO);
        bucket.set_rate(Rate::ZERO, now);
        assert_eq!(bucket.take(1, now), Duration::MAX);
        bucket.set_rate(Rate::Bits(8_000), now);
        assert_eq!(bucket.take(10, now), Duration::ZERO);
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let now = start();
        let mut bucket = TokenBucket::new(Rate::Bits(8_000), now);
        let _ = bucket.take(10_000, now);
        bucket.give_back(10_000, now);
        bucket.give_back(10_000, now);
        assert_eq!(bucket.take(1_000, now), Duration::from_millis(980));
    }
}
