//! How long a transfer waits for peers before the first origin byte.

use std::time::{Duration, Instant};

/// Open while peers may still answer the question who holds a content.
///
/// It closes at once when a full holder answers, when everybody who was asked has
/// answered or failed, and in any case 150 ms after the question. Once closed it
/// stays closed. Peers that answer later still join the plan.
#[derive(Debug, Clone)]
pub struct DiscoveryWindow {
    closes: Instant,
    outstanding: usize,
    open: bool,
}

impl DiscoveryWindow {
    /// The longest a transfer waits, however many peers stay silent.
    pub const LONGEST: Duration = Duration::from_millis(150);

    /// Opens when `asked` peers have been sent the question. With none it is closed.
    #[must_use]
    pub fn new(asked: usize, now: Instant) -> Self {
        Self {
            closes: now + Self::LONGEST,
            outstanding: asked,
            open: asked > 0,
        }
    }

    /// A peer answered: `holds_all` when it has the whole content.
    pub fn handle_answer(&mut self, holds_all: bool, now: Instant) {
        self.handle_silence(now);
        if holds_all {
            self.open = false;
        }
    }

    /// A peer that was asked will not answer: it failed, or its own time ran out.
    pub fn handle_silence(&mut self, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding == 0 {
            self.open = false;
        }
        self.handle_timeout(now);
    }

    /// Time went by.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.closes {
            self.open = false;
        }
    }

    /// Whether the transfer still waits.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// When it closes by itself; `None` once closed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open.then_some(self.closes)
    }
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

    #[test]
    fn a_full_holder_closes_it_at_once() {
        let now = start();
        let mut window = DiscoveryWindow::new(3, now);
        window.handle_answer(false, now);
        assert!(window.is_open());
        window.handle_answer(true, now);
        assert!(!window.is_open());
        assert_eq!(window.poll_timeout(), None);
    }

    #[test]
    fn it_closes_when_all_have_answered_or_failed() {
        let now = start();
        let mut window = DiscoveryWindow::new(2, now);
        window.handle_answer(false, now);
        window.handle_silence(now);
        assert!(!window.is_open());
        assert!(!DiscoveryWindow::new(0, now).is_open());
    }

    #[test]
    fn silence_costs_150_ms_at_most() {
        let now = start();
        let mut window = DiscoveryWindow::new(5, now);
        let closes = window.poll_timeout().unwrap();
        assert_eq!(closes, now + Duration::from_millis(150));
        window.handle_timeout(closes - Duration::from_millis(1));
        assert!(window.is_open());
        window.handle_timeout(closes);
        assert!(!window.is_open());
    }
}
