//! How large a crowd is that starts together.

use std::time::{Duration, Instant};

/// What a node hears so early tells how fast others start.
const SAMPLE: Duration = Duration::from_millis(200);
/// Fewer than this are no crowd.
const MIN_HEARD: u32 = 12;
/// Machines that are switched on together start within about this time.
const START_TIME: Duration = Duration::from_secs(1);
/// By then they have said more than once that they are there, and can be counted.
const COUNTED_AFTER: Duration = Duration::from_secs(5);

/// Guesses at those who started before this node and were not heard: one that is among
/// the last of a thousand has heard a dozen others, and as many more in each moment.
pub(crate) struct Crowd {
    since: Instant,
    last: Instant,
    heard: u32,
}

impl Crowd {
    /// From the moment on when this node listens.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            last: now,
            heard: 0,
        }
    }

    /// A node that was not known introduces itself.
    pub(crate) fn hear(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) < SAMPLE {
            self.heard = self.heard.saturating_add(1);
            self.last = now;
        }
    }

    /// How many start together; 0 when this is no crowd, or was one.
    pub(crate) fn size(&self, now: Instant) -> u32 {
        let over = now.saturating_duration_since(self.since) >= COUNTED_AFTER;
        if over || self.heard < MIN_HEARD {
            return 0;
        }
        let taken = self.last.saturating_duration_since(self.since);
        let per_start = START_TIME.as_micros() / taken.as_micros().max(1);
        let size = u128::from(self.heard).saturating_mul(per_start.max(1));
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(count: u32, apart: Duration) -> (Crowd, Instant) {
        let start = Instant::now();
        let mut crowd = Crowd::new(start);
        for number in 1..=count {
            crowd.hear(start + apart * number);
        }
        (crowd, start)
    }

    #[test]
    fn one_of_the_last_guesses_as_well_as_one_of_the_first() {
        for count in [20, 100, 900] {
            let (crowd, start) = heard(count, Duration::from_millis(1));
            let size = crowd.size(start + Duration::from_millis(900));
            assert!((900..=1100).contains(&size), "{size} after {count}");
        }
    }

    #[test]
    fn a_few_are_no_crowd_and_a_crowd_is_counted_soon() {
        let (few, start) = heard(MIN_HEARD - 1, Duration::from_millis(1));
        assert_eq!(few.size(start), 0);
        let (crowd, start) = heard(100, Duration::ZERO);
        assert!(crowd.size(start) > 100);
        assert_eq!(crowd.size(start + COUNTED_AFTER), 0);
    }
}
