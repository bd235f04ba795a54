//! Measuring how fast somebody delivers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Rate;

/// Into how many slices the window is cut; the measure is exact to one slice.
const SLICES: u32 = 16;

/// Bytes within a sliding window of time.
#[derive(Debug, Clone)]
pub(crate) struct RateMeter {
    window: Duration,
    since: Instant,
    /// Start of a slice and the bytes in it, oldest first. At most [`SLICES`] and one.
    slices: VecDeque<(Instant, u64)>,
}

impl RateMeter {
    pub(crate) fn new(window: Duration, now: Instant) -> Self {
        Self {
            window,
            since: now,
            slices: VecDeque::new(),
        }
    }

    /// Forgets everything and measures from now on.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.slices.clear();
    }

    /// How long it has measured.
    pub(crate) fn measured_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(crate) fn add(&mut self, bytes: u64, now: Instant) {
        match self.slices.back_mut() {
            Some((start, sum)) if now < *start + self.window / SLICES => *sum += bytes,
            _ => self.slices.push_back((now, bytes)),
        }
        while let Some((start, _)) = self.slices.front()
            && *start + self.window < now
        {
            self.slices.pop_front();
        }
    }

    /// The average over the window, or over the time since the start when that is
    /// shorter; over no less than a slice, because less says little.
    pub(crate) fn rate(&self, now: Instant) -> Rate {
        let bytes = self
            .slices
            .iter()
            .filter(|(start, _)| *start + self.window >= now)
            .map(|(_, bytes)| bytes)
            .sum();
        let time = self.measured_for(now).min(self.window);
        Rate::average(bytes, time.max(self.window / SLICES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_a_flow_and_its_end() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to start from"
        )]
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let mut meter = RateMeter::new(Duration::from_secs(2), start);
        assert_eq!(meter.rate(start), Rate::ZERO);
        for at in 1..=4_000 {
            meter.add(125, ms(at));
        }
        let Rate::Bits(bits) = meter.rate(ms(4_000)) else {
            panic!("a measured rate is a number");
        };
        assert!(bits.abs_diff(1_000_000) < 80_000, "{bits}");
        assert!(meter.slices.len() <= SLICES as usize + 1);
        assert!(meter.rate(ms(5_000)) < Rate::Bits(600_000));
        assert_eq!(meter.rate(ms(6_200)), Rate::ZERO);
        meter.restart(ms(7_000));
        assert_eq!(meter.measured_for(ms(7_500)), Duration::from_millis(500));
    }
}
