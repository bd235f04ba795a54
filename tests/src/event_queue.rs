//! What happens when, on a made-up clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// The made-up clock with all that is still to come.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    start: Instant,
    now: Duration,
    waiting: BinaryHeap<Reverse<Due<E>>>,
    count: u64,
}

#[derive(Debug)]
struct Due<E> {
    at: Duration,
    /// What was put in first comes out first.
    number: u64,
    event: E,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            // Only differences matter; some of them reach back before the start.
            start: Instant::now() + Duration::from_secs(3600),
            now: Duration::ZERO,
            waiting: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Since the start.
    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    /// The same, as those who are simulated read it.
    pub(crate) fn instant(&self) -> Instant {
        self.start + self.now
    }

    /// Both.
    pub(crate) fn clock(&self) -> (Duration, Instant) {
        (self.now, self.instant())
    }

    /// Since the start, for a moment that they named.
    pub(crate) fn since_start(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.start)
    }

    pub(crate) fn put(&mut self, at: Duration, event: E) {
        self.count += 1;
        let number = self.count;
        self.waiting.push(Reverse(Due { at, number, event }));
    }

    pub(crate) fn put_in(&mut self, wait: Duration, event: E) {
        self.put(self.now + wait, event);
    }

    /// The next event up to a time, at which the clock stands then.
    pub(crate) fn next_until(&mut self, end: Duration) -> Option<E> {
        if self.waiting.peek().is_none_or(|Reverse(due)| due.at > end) {
            self.now = end;
            return None;
        }
        let Reverse(due) = self.waiting.pop()?;
        self.now = due.at;
        Some(due.event)
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Due<E> {}
