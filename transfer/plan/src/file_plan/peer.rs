//! What a file plan knows of one peer, of the origin and of one request.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::rate_meter::RateMeter;
use crate::{FilePlanConfig, Holding, PeerKey, Rate, ServeLimits};

/// The first pause after a failure; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A request in flight.
#[derive(Debug)]
pub(super) struct Request {
    /// As it was asked. Which of these pieces it still has to bring is in the table.
    pub(super) run: Range<u32>,
    /// How many of the run's pieces are its to bring.
    pub(super) owned: u32,
    /// The piece that comes next: pieces come in order.
    pub(super) next: u32,
    /// Bytes that came of that piece.
    pub(super) partial: u64,
    /// Whether a first byte came. Until then it may wait in the peer's queue.
    pub(super) started: bool,
    pub(super) asked_at: Instant,
    /// When the last sign of life came.
    pub(super) alive_at: Instant,
    /// Asked for pieces that another was asked for already.
    pub(super) duplicate: bool,
    /// Asked of the origin because the member that claims it was late, those who hold it are
    /// slow, or nobody brings anything: that a member says once more that it fetches it
    /// changes nothing.
    pub(super) taken_over: bool,
    /// Asked of the origin in place of this member, which is slow with it: that it fetches
    /// it changes nothing.
    pub(super) relieves: Option<PeerKey>,
}

impl Request {
    pub(super) const fn new(run: Range<u32>, owned: u32, duplicate: bool, now: Instant) -> Self {
        Self {
            next: run.start,
            run,
            owned,
            partial: 0,
            started: false,
            asked_at: now,
            alive_at: now,
            duplicate,
            taken_over: false,
            relieves: None,
        }
    }

    /// The pieces it has not begun to deliver: others may take these over at no loss.
    pub(super) fn untouched(&self) -> Range<u32> {
        let first = self.next + u32::from(self.started);
        first.min(self.run.end)..self.run.end
    }
}

/// How somebody delivers, measured while requests to it are in flight.
#[derive(Debug)]
pub(super) struct Performance {
    meter: RateMeter,
    busy: bool,
    /// The rate when it was last busy.
    remembered: Option<Rate>,
}

impl Performance {
    pub(super) fn new(config: &FilePlanConfig, now: Instant) -> Self {
        Self {
            meter: RateMeter::new(config.rate_window, now),
            busy: false,
            remembered: None,
        }
    }

    pub(super) fn add(&mut self, bytes: u64, now: Instant) {
        self.meter.add(bytes, now);
    }

    /// Tells whether requests are in flight now.
    pub(super) fn set_busy(&mut self, busy: bool, grace: Duration, now: Instant) {
        if busy && !self.busy {
            self.meter.restart(now);
        }
        if !busy && self.busy {
            self.remember(grace, now);
        }
        self.busy = busy;
    }

    /// How fast it is; `None` while it was asked too recently to tell. Within the grace
    /// what it did before counts, so a fast peer is not slow for having had a pause.
    pub(super) fn rate(&self, grace: Duration, now: Instant) -> Option<Rate> {
        if !self.busy {
            return self.remembered;
        }
        let measured = self.meter.rate(now);
        if self.meter.measured_for(now) >= grace {
            Some(measured)
        } else {
            self.remembered.map(|before| before.max(measured))
        }
    }

    /// It failed: until it delivers again, nothing is expected of it.
    pub(super) fn disappoint(&mut self, now: Instant) {
        self.meter.restart(now);
        self.remembered = Some(Rate::ZERO);
    }

    /// This node was held up from `since` to `now`: judge it as it was, and anew.
    pub(super) fn excuse(&mut self, since: Instant, grace: Duration, now: Instant) {
        if self.busy {
            self.remember(grace, since);
            self.meter.restart(now);
        }
    }

    fn remember(&mut self, grace: Duration, now: Instant) {
        let measured = self.meter.rate(now);
        // A short time tells that it is at least so fast, not how fast it is.
        if self.meter.measured_for(now) >= grace || self.remembered.is_some_and(|r| measured > r) {
            self.remembered = Some(measured);
        }
    }
}

/// Failures in a row, and the pause after each.
#[derive(Debug, Default)]
pub(super) struct Patience {
    pub(super) failures: u32,
    /// Not asked before then.
    pub(super) not_before: Option<Instant>,
}

impl Patience {
    /// Counts a failure and pauses. Failures within a pause belong to the one that
    /// began it: the requests of a broken connection all break at once.
    pub(super) fn fail(&mut self, pause: Duration, now: Instant) {
        if self.not_before.is_none() {
            let doubled = FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(6));
            self.failures += 1;
            self.not_before = Some(now + doubled.max(pause));
        }
    }

    /// Pauses without blame.
    pub(super) fn pause(&mut self, pause: Duration, now: Instant) {
        self.not_before = self.not_before.max(Some(now + pause));
    }

    pub(super) fn succeed(&mut self) {
        self.failures = 0;
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if self.not_before.is_some_and(|at| at <= now) {
            self.not_before = None;
        }
    }
}

/// A peer of the plan.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) holding: Holding,
    pub(super) performance: Performance,
    pub(super) patience: Patience,
    pub(super) in_flight: u32,
    /// How much it serves at most, where it said so.
    pub(super) limits: Option<ServeLimits>,
    /// It had nothing of what was missing when this count of
    /// [`reopened`](super::pieces::PieceTable::reopened) pieces stood, and got nothing since.
    pub(super) barren: Option<u64>,
}

impl Peer {
    /// A peer whose last request brought nothing is asked last and for little.
    pub(super) const fn is_demoted(&self) -> bool {
        self.patience.failures > 0
    }

    /// Whether it gives so little that a second request would only wait.
    pub(super) const fn is_capped(&self) -> bool {
        matches!(&self.limits, Some(limits) if !matches!(limits.rate, Rate::Unlimited))
    }

    /// What it leaves one of its clients when it has as many as it serves; `None` where it
    /// named no limit.
    pub(super) fn promised(&self) -> Option<Rate> {
        let limits = self.limits.as_ref()?;
        let bits = limits.rate.bits()?;
        Some(Rate::Bits(bits / u64::from(limits.clients.max(1))))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.holding == Holding::Whole
    }

    /// How many requests it may have in flight.
    pub(super) const fn slots(&self, config: &FilePlanConfig) -> u32 {
        if self.patience.not_before.is_some() {
            0
        } else if self.is_demoted() || self.is_capped() {
            1
        } else {
            config.requests_per_peer
        }
    }
}

/// The origin, as the plan knows it.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) performance: Performance,
    pub(super) patience: Patience,
    pub(super) in_flight: u32,
    /// It is of no more use to this plan.
    pub(super) failed: bool,
}
