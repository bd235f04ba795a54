//! Which refusals are written to the event log: enough to see who knocks and how often,
//! and never so many that they push everything else out.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Refusals of a new kind that are written at once, and how soon there is one more.
const BURST: u32 = 60;
const PACE: Duration = Duration::from_secs(10);
/// A kind that was not seen for this long is new again. With the pace this bounds how
/// many are known.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Counts refusals by who was refused and the reason.
#[derive(Debug)]
pub(crate) struct RefusalLog<W> {
    seen: HashMap<(W, String), Seen>,
    /// Until when the new kinds so far are paid.
    paid: Instant,
}

#[derive(Debug)]
struct Seen {
    count: u64,
    last: Instant,
}

impl<W: Copy + Eq + Hash> RefusalLog<W> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            seen: HashMap::new(),
            paid: now,
        }
    }

    /// Counts one; the answer is how many there were, if that is to be written: the
    /// first, the tenth, the hundredth and so on.
    pub(crate) fn note(&mut self, from: W, reason: &str, now: Instant) -> Option<u64> {
        if let Some(seen) = self.seen.get_mut(&(from, reason.to_owned())) {
            let forgotten = now.saturating_duration_since(seen.last) >= FORGET_AFTER;
            seen.count = if forgotten { 1 } else { seen.count + 1 };
            seen.last = now;
            let telling = seen.count.ilog10() != (seen.count - 1).checked_ilog10().unwrap_or(9);
            return telling.then_some(seen.count);
        }
        let paid = self.paid.max(now);
        if paid > now + PACE * BURST {
            return None;
        }
        self.paid = paid + PACE;
        self.seen
            .retain(|_, seen| now.saturating_duration_since(seen.last) < FORGET_AFTER);
        let first = Seen {
            count: 1,
            last: now,
        };
        self.seen.insert((from, reason.to_owned()), first);
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    #[test]
    fn one_that_knocks_on_and_on_is_told_ever_more_rarely() {
        let now = Instant::now();
        let mut log = RefusalLog::new(now);
        let told: Vec<_> = (0..1500)
            .filter_map(|_| log.note(address(1), "wrong", now))
            .collect();
        assert_eq!(told, [1, 10, 100, 1000]);
        assert_eq!(log.note(address(1), "another", now), Some(1));
        assert_eq!(log.note(address(2), "wrong", now), Some(1));
        assert_eq!(log.note(address(1), "wrong", now + FORGET_AFTER), Some(1));
    }

    #[test]
    fn many_kinds_keep_a_pace_and_are_forgotten() {
        let now = Instant::now();
        let mut log = RefusalLog::new(now);
        let told = (0..5000).filter_map(|n| log.note(address(n), "wrong", now));
        assert_eq!(told.count() as u32, BURST + 1);
        let later = now + PACE;
        assert_eq!(log.note(address(9000), "wrong", later), Some(1));
        assert_eq!(log.note(address(9001), "wrong", later), None);
        let much_later = now + 2 * FORGET_AFTER;
        assert_eq!(log.note(address(9002), "wrong", much_later), Some(1));
        assert_eq!(log.seen.len(), 1);
    }
}
