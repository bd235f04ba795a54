//! A made-up network around one file plan: sources of given speeds and manners, on a
//! clock that only moves when it is told to. It checks the plan's promises as it goes.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "shared by several tests, each of which uses a part; a failed step is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::{Bitfield, Layout, PieceIndex};
use potluck_plan::{
    Action, DropReason, FilePlan, FilePlanConfig, Holding, OriginFailure, OriginUse, Outcome,
    PeerFault, PeerKey, PieceUse, RequestId, ServeLimits, Source, StuckReason,
};

/// One step of the made-up clock.
const STEP: Duration = Duration::from_millis(10);

/// Some instant to start from.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
pub fn start() -> Instant {
    Instant::now()
}

/// What a source does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Delivers.
    Honest,
    /// Takes the question and says nothing, ever.
    Silent,
    /// Delivers so many bytes in all and then nothing more.
    Stalls(u64),
    /// Breaks every connection after so many bytes.
    Breaks(u64),
    /// Delivers pieces that do not verify.
    Lies,
    /// Says that its queue is full.
    Refuses,
    /// Makes every request wait so long before its first byte.
    Queues(Duration),
    /// Has lost what it held.
    Forgot,
}

/// A source of bytes.
#[derive(Debug, Clone)]
pub struct Giver {
    /// Bytes per second, shared by its requests.
    pub speed: u64,
    pub manner: Manner,
    pub holding: Option<Holding>,
    /// When it joins the plan, after the start.
    pub joins: Duration,
    /// What it says that it serves at most.
    pub limits: Option<ServeLimits>,
    given: u64,
}

impl Giver {
    pub fn new(speed: u64, manner: Manner) -> Self {
        Self {
            speed,
            manner,
            holding: Some(Holding::Whole),
            joins: Duration::ZERO,
            limits: None,
            given: 0,
        }
    }

    pub fn holding(self, holding: Holding) -> Self {
        Self {
            holding: Some(holding),
            ..self
        }
    }

    pub fn joins(self, joins: Duration) -> Self {
        Self { joins, ..self }
    }

    pub fn says(self, limits: ServeLimits) -> Self {
        let limits = Some(limits);
        Self { limits, ..self }
    }
}

struct Running {
    run: Range<u32>,
    since: Instant,
    /// Bytes of the run that came.
    came: u64,
    next: u32,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Finished,
    Stuck(StuckReason),
    OutOfTime,
}

pub struct World {
    pub plan: FilePlan,
    pub layout: Layout,
    config: FilePlanConfig,
    pub start: Instant,
    pub now: Instant,
    givers: BTreeMap<Source, Giver>,
    running: BTreeMap<RequestId, Running>,
    pub held: Bitfield,
    /// Pieces kept, by source.
    pub kept: BTreeMap<Source, u32>,
    pub discarded: u32,
    pub dropped: BTreeMap<PeerKey, DropReason>,
    asked: BTreeSet<RequestId>,
    end: Option<End>,
    stream: bool,
}

impl World {
    pub fn new(size: u64, config: FilePlanConfig) -> Self {
        let layout = Layout::for_size(size).unwrap();
        let held = Bitfield::empty(layout.pieces());
        let start = start();
        Self {
            plan: FilePlan::new(layout, &held, config, start),
            layout,
            config,
            start,
            now: start,
            givers: BTreeMap::new(),
            running: BTreeMap::new(),
            held,
            kept: BTreeMap::new(),
            discarded: 0,
            dropped: BTreeMap::new(),
            asked: BTreeSet::new(),
            end: None,
            stream: config.origin == OriginUse::Stream,
        }
    }

    pub fn origin(mut self, speed: u64, manner: Manner) -> Self {
        let giver = Giver::new(speed, manner);
        self.givers.insert(Source::Origin, giver);
        self
    }

    pub fn peer(mut self, key: u32, giver: Giver) -> Self {
        self.givers.insert(Source::Peer(PeerKey(key)), giver);
        self
    }

    pub fn kept_from_peers(&self) -> u32 {
        self.kept
            .iter()
            .filter(|(source, _)| **source != Source::Origin)
            .map(|(_, pieces)| pieces)
            .sum()
    }

    pub fn kept_from_origin(&self) -> u32 {
        self.kept.get(&Source::Origin).copied().unwrap_or(0)
    }

    pub fn took(&self) -> Duration {
        self.now - self.start
    }

    /// Lets time pass until the plan finishes, is stuck for good or `limit` is over.
    pub fn run(&mut self, limit: Duration) -> End {
        let mut window_open = true;
        while self.now < self.start + limit {
            self.join();
            if window_open && self.now >= self.start + Duration::from_millis(50) {
                window_open = false;
                self.plan.handle_window_closed(self.now);
            }
            self.drain();
            let due: Vec<RequestId> = self.running.keys().copied().collect();
            for id in due {
                self.advance(id);
                self.drain();
            }
            if self
                .plan
                .poll_timeout()
                .is_some_and(|(at, _)| at <= self.now)
            {
                self.plan.handle_timeout(self.now);
                self.drain();
                let again = self.plan.poll_timeout();
                assert!(
                    again.is_none_or(|(at, _)| at > self.now),
                    "{again:?} is over"
                );
            }
            let more_to_join = self.givers.values().any(|giver| giver.holding.is_some());
            match self.end {
                Some(End::Finished) => return End::Finished,
                Some(end) if !more_to_join => return end,
                _ => {}
            }
            // It looks at every piece, so not at every step.
            if self.took().as_millis().is_multiple_of(200) {
                self.plan.check();
            }
            self.now += STEP;
        }
        End::OutOfTime
    }

    fn join(&mut self) {
        for (source, giver) in &mut self.givers {
            let Source::Peer(key) = source else {
                giver.holding = None;
                continue;
            };
            if self.now >= self.start + giver.joins
                && let Some(holding) = giver.holding.take()
            {
                self.plan
                    .handle_peer_joined(*key, holding, giver.limits, self.now);
            }
        }
    }

    /// Does what the plan decided and checks that it may.
    fn drain(&mut self) {
        while let Some(action) = self.plan.poll_action() {
            match action {
                Action::Ask { request, peer, run } => {
                    assert_eq!(request.source(), Source::Peer(peer));
                    assert!(
                        !self.dropped.contains_key(&peer),
                        "asked the dropped {peer:?}"
                    );
                    self.begin(request, run, self.config.requests_per_peer);
                }
                Action::AskOrigin { request, run } => {
                    assert_ne!(self.config.origin, OriginUse::Never);
                    let most = if self.stream {
                        1
                    } else {
                        self.config.origin_connections
                    };
                    self.begin(request, run, most);
                }
                Action::Cancel { request } => {
                    assert!(
                        self.running.remove(&request).is_some(),
                        "{request:?} is over"
                    );
                }
                Action::DropPeer { peer, reason } => {
                    assert!(self.dropped.insert(peer, reason).is_none());
                    let running = self.running.keys();
                    assert_eq!(
                        running
                            .filter(|id| id.source() == Source::Peer(peer))
                            .count(),
                        0
                    );
                }
                Action::Finished => {
                    assert!(self.held.is_full());
                    assert!(self.running.is_empty());
                    self.end = Some(End::Finished);
                }
                Action::Stuck { reason } => {
                    assert!(self.running.is_empty());
                    assert!(!self.held.is_full());
                    self.end = Some(End::Stuck(reason));
                }
            }
        }
    }

    fn begin(&mut self, request: RequestId, run: Range<u32>, most: u32) {
        assert!(self.asked.insert(request), "{request:?} was used before");
        assert!(!run.is_empty() && run.end <= self.layout.pieces());
        if !(self.stream && request.source() == Source::Origin) {
            let held = run.clone().find(|index| self.held.has(PieceIndex(*index)));
            assert_eq!(held, None, "asked for a held piece");
        }
        for index in run.clone() {
            let twice = self.running.iter().filter(|(id, running)| {
                let stream = self.stream && id.source() == Source::Origin;
                !stream && (running.next..running.run.end).contains(&index)
            });
            // Runs keep their length when their tail is taken over, so what counts is
            // checked at the end: hardly anything is discarded.
            assert!(twice.count() < 8, "{index} is asked of too many");
        }
        self.end = None;
        let since = self.now;
        let next = run.start;
        let running = Running {
            run,
            since,
            came: 0,
            next,
        };
        self.running.insert(request, running);
        let source = request.source();
        let in_flight = self
            .running
            .keys()
            .filter(|id| id.source() == source)
            .count();
        assert!(
            in_flight <= most as usize,
            "{in_flight} requests to {source:?}"
        );
    }

    /// Lets one request bring what it brings in one step.
    fn advance(&mut self, id: RequestId) {
        let source = id.source();
        let sharing = self
            .running
            .keys()
            .filter(|id| id.source() == source)
            .count();
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let giver = self
            .givers
            .get_mut(&source)
            .expect("only known sources are asked");
        let waited = self.now.duration_since(running.since);
        let mut bytes = u64::try_from(u128::from(giver.speed) * STEP.as_nanos() / 1_000_000_000)
            .unwrap()
            .div_ceil(sharing as u64);
        match giver.manner {
            Manner::Silent => return,
            Manner::Queues(time) if waited < time => return,
            Manner::Stalls(most) => bytes = bytes.min(most.saturating_sub(giver.given)),
            Manner::Breaks(most) if running.came >= most => {
                return self.fail(id, Outcome::Failed);
            }
            Manner::Refuses => {
                let retry_after = Duration::from_secs(2);
                return self.fail(id, Outcome::Refused { retry_after });
            }
            Manner::Forgot => return self.fail(id, Outcome::NotHeld),
            _ => {}
        }
        if bytes == 0 {
            return;
        }
        let span = self.layout.span_of_run(running.run.clone());
        bytes = bytes.min(span.end - span.start - running.came);
        running.came += bytes;
        giver.given += bytes;
        let (at, lies) = (span.start + running.came, giver.manner == Manner::Lies);
        self.plan.handle_progress(id, bytes, self.now);
        self.drain();
        while let Some(running) = self.running.get_mut(&id)
            && running.next < running.run.end
            && self.layout.span(PieceIndex(running.next)).end <= at
        {
            let piece = PieceIndex(running.next);
            running.next += 1;
            if lies {
                if let Source::Peer(key) = source {
                    self.plan
                        .handle_fault(key, PeerFault::BadPiece(piece), self.now);
                }
                return;
            }
            let wanted = self.plan.wants(piece);
            let verdict = self.plan.handle_piece(id, piece, self.now);
            assert_eq!(wanted, verdict == PieceUse::Keep);
            match verdict {
                PieceUse::Keep => {
                    assert!(self.held.set(piece), "{piece} was kept twice");
                    *self.kept.entry(source).or_default() += 1;
                }
                PieceUse::Discard => self.discarded += 1,
            }
            // A request that brought its whole run is over for the plan.
            if let Some(running) = self.running.get(&id)
                && running.next == running.run.end
            {
                self.running.remove(&id);
                self.plan
                    .handle_request_ended(id, Outcome::Complete, self.now);
            }
            self.drain();
        }
    }

    fn fail(&mut self, id: RequestId, outcome: Outcome) {
        self.running.remove(&id);
        if id.source() == Source::Origin {
            let failure = OriginFailure::Transient { retry_after: None };
            self.plan.handle_origin_failed(id, failure, self.now);
        } else {
            self.plan.handle_request_ended(id, outcome, self.now);
        }
    }
}
