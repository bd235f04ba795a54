//! How many answers a node gives to strangers on one link: a few at once, few in the
//! long run.

use std::time::{Duration, Instant};

/// Answers at once.
const BURST: u32 = 20;
/// One more after this time.
const PACE: Duration = Duration::from_millis(100);

/// Counts the answers on one link, to whomever.
#[derive(Debug)]
pub(crate) struct SeekPace {
    /// When all that was given will have been made good.
    even: Option<Instant>,
}

impl SeekPace {
    pub(crate) const fn new() -> Self {
        Self { even: None }
    }

    /// Whether one more may be given at `now`. If so, it counts.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let even = self.even.map_or(now, |even| even.max(now));
        if even.duration_since(now) + PACE > PACE * BURST {
            return false;
        }
        self.even = Some(even + PACE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_no_more_than_the_pace() {
        let mut pace = SeekPace::new();
        let start = Instant::now();
        let at_once = (0..1000).filter(|_| pace.take(start)).count();
        assert_eq!(at_once, 20);
        let later = (0..100_000u64).filter(|i| pace.take(start + Duration::from_micros(i * 100)));
        assert_eq!(later.count(), 99, "ten seconds, one in a tenth");
        assert!(pace.take(start + Duration::from_secs(60)));
    }
}
