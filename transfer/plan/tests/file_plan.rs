//! The promises of a file plan, whatever happens in whatever order.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::{Bitfield, Layout, MIN_PIECE_LEN, PieceIndex};
use potluck_plan::{
    Action, FilePlan, FilePlanConfig, Holding, OriginFailure, OriginUse, Outcome, PeerFault,
    PeerKey, PieceUse, Priority, Rate, RequestId, Source,
};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use world::{End, Giver, Manner, World};

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        4 => prop::strategy::Just(Manner::Honest),
        1 => prop::strategy::Just(Manner::Silent),
        1 => (0..5_000_000u64).prop_map(Manner::Stalls),
        1 => (0..5_000_000u64).prop_map(Manner::Breaks),
        1 => prop::strategy::Just(Manner::Lies),
        1 => prop::strategy::Just(Manner::Refuses),
        1 => (0..60_000u64).prop_map(|ms| Manner::Queues(Duration::from_millis(ms))),
        1 => prop::strategy::Just(Manner::Forgot),
    ]
}

/// A speed, a manner, what is held (`None` for all of it) and when it joins.
type Guest = (u64, Manner, Option<Vec<bool>>, u64);

fn guest() -> impl Strategy<Value = Guest> {
    let speed = prop_oneof![
        prop::strategy::Just(50_000u64),
        prop::strategy::Just(1_000_000),
        prop::strategy::Just(50_000_000)
    ];
    let held = prop::option::of(prop::collection::vec(any::<bool>(), 100));
    (speed, manner(), held, 0..3_000u64)
}

fn world_of(size: u64, config: FilePlanConfig, guests: &[Guest]) -> World {
    let mut world = World::new(size, config);
    let pieces = world.layout.pieces();
    for (key, (speed, manner, held, joins)) in (0..).zip(guests) {
        let holding = held.as_ref().map_or(Holding::Whole, |held| {
            let mut field = Bitfield::empty(pieces);
            for index in (0..pieces).filter(|index| held[*index as usize]) {
                field.set(PieceIndex(index));
            }
            Holding::Pieces(field)
        });
        let giver = Giver::new(*speed, *manner)
            .holding(holding)
            .joins(Duration::from_millis(*joins));
        world = world.peer(key, giver);
    }
    world
}

proptest! {
    /// Nobody can keep a working origin from finishing the file, and not for long.
    #[test]
    fn with_a_working_origin_it_always_finishes(
        size in 1..100 * MIN_PIECE_LEN,
        guests in prop::collection::vec(guest(), 0..6),
        stream in any::<bool>(),
        prove_size in any::<bool>(),
    ) {
        let origin = if stream { OriginUse::Stream } else { OriginUse::Ranges };
        let config = FilePlanConfig { origin, prove_size, ..FilePlanConfig::default() };
        let mut world = world_of(size, config, &guests).origin(2_000_000, Manner::Honest);
        let end = world.run(Duration::from_secs(90));
        prop_assert_eq!(end, End::Finished);
        let pieces = world.layout.pieces();
        prop_assert_eq!(world.kept.values().sum::<u32>(), pieces);
        prop_assert!(world.discarded <= 2 * pieces, "{} discarded", world.discarded);
    }

    /// Without the origin it finishes when one good peer has everything, and says so
    /// when nobody can.
    #[test]
    fn without_the_origin_it_finishes_or_says_that_it_is_stuck(
        size in 1..40 * MIN_PIECE_LEN,
        guests in prop::collection::vec(guest(), 0..6),
        failing in prop::option::of(0..1_000_000u64),
    ) {
        let origin = if failing.is_some() { OriginUse::Ranges } else { OriginUse::Never };
        let config = FilePlanConfig { origin, ..FilePlanConfig::default() };
        let good = guests.iter().any(|(_, manner, held, _)| {
            held.is_none() && matches!(manner, Manner::Honest | Manner::Queues(_))
        });
        // One that refuses is asked again and again: that is not stuck.
        let busy = guests.iter().any(|(_, manner, ..)| *manner == Manner::Refuses);
        let mut world = world_of(size, config, &guests)
            .origin(1_000_000, Manner::Stalls(failing.unwrap_or(0)));
        let end = world.run(Duration::from_secs(1200));
        match end {
            End::Finished => {}
            End::Stuck(_) => prop_assert!(!good, "{end:?} beside a good peer"),
            End::OutOfTime => prop_assert!(!good && busy, "neither finished nor stuck"),
        }
    }

    /// Events in any order, sensible or not.
    #[test]
    fn promises_hold_whatever_is_reported(
        size in 1..40 * MIN_PIECE_LEN,
        origin in prop_oneof![
            prop::strategy::Just(OriginUse::Never),
            prop::strategy::Just(OriginUse::Ranges),
            prop::strategy::Just(OriginUse::Stream),
        ],
        steps in prop::collection::vec((0..17u8, 0..64u32, 0..64u32, 0..4_000u64), 0..300),
    ) {
        let mut chaos = Chaos::new(size, origin);
        for (what, one, two, ms) in steps {
            chaos.step(what, one, two, ms);
        }
        chaos.bring_to_an_end();
    }
}

/// A driver that reports anything.
struct Chaos {
    plan: FilePlan,
    layout: Layout,
    config: FilePlanConfig,
    now: Instant,
    held: Bitfield,
    /// Every request ever sent.
    sent: Vec<RequestId>,
    /// Those in flight for certain, with the run and the piece that comes next.
    running: BTreeMap<RequestId, (Range<u32>, u32)>,
    dropped: BTreeSet<PeerKey>,
    finished: bool,
    stream: bool,
}

impl Chaos {
    fn new(size: u64, origin: OriginUse) -> Self {
        let layout = Layout::for_size(size).expect("a small size");
        let config = FilePlanConfig {
            origin,
            max_peers: 5,
            first_run: MIN_PIECE_LEN * 4,
            min_run: MIN_PIECE_LEN * 2,
            min_origin_range: MIN_PIECE_LEN * 3,
            ..FilePlanConfig::default()
        };
        let held = Bitfield::empty(layout.pieces());
        let now = world::start();
        Self {
            plan: FilePlan::new(layout, &held, config, now),
            layout,
            config,
            now,
            held,
            sent: Vec::new(),
            running: BTreeMap::new(),
            dropped: BTreeSet::new(),
            finished: false,
            stream: origin == OriginUse::Stream,
        }
    }

    fn step(&mut self, what: u8, one: u32, two: u32, ms: u64) {
        let (plan, now) = (&mut self.plan, self.now);
        let pieces = self.layout.pieces();
        let key = PeerKey(one % 8);
        let request = self
            .sent
            .get(one as usize % self.sent.len().max(1))
            .copied();
        match (what, request) {
            (0, _) => plan.handle_peer_joined(key, Holding::Whole, None, now),
            (1, _) => {
                let mut field = Bitfield::empty(pieces);
                for index in (0..pieces).filter(|index| index % (two % 5 + 1) == 0) {
                    field.set(PieceIndex(index));
                }
                plan.handle_peer_joined(key, Holding::Pieces(field), None, now);
            }
            (2, _) => plan.handle_peer_pieces(key, &[PieceIndex(two), PieceIndex(two / 2)], now),
            (3, _) => {
                plan.handle_peer_left(key, now);
            }
            (4, _) => {
                plan.handle_fault(key, PeerFault::WrongContent, now);
            }
            (5, _) => plan.handle_window_closed(now),
            (6, _) => {
                self.now += Duration::from_millis(ms);
                plan.handle_timeout(self.now);
            }
            (7, _) => {
                let origin = [OriginUse::Never, OriginUse::Ranges, OriginUse::Stream];
                self.config.origin = origin[two as usize % 3];
                self.stream |= self.config.origin == OriginUse::Stream;
                plan.set_origin(self.config.origin, now);
            }
            (8, _) => {
                let index = PieceIndex(two);
                if two < pieces && self.held.has(index) {
                    self.held.clear(index);
                    self.finished = false;
                }
                plan.forget(&[index], now);
            }
            (9, _) => plan.set_priority(Priority::ALL[two as usize % 4], now),
            (10, _) => plan.set_min_peer_rate(Rate::Bits(u64::from(two) * 200_000), now),
            (11, Some(request)) => plan.handle_progress(request, ms * 1000, now),
            (12, Some(request)) => self.deliver(request, PieceIndex(two)),
            (13 | 14, Some(request)) => {
                for _ in 0..=two % 4 {
                    if let Some((run, next)) = self.running.get(&request)
                        && *next < run.end
                    {
                        self.deliver(request, PieceIndex(*next));
                    }
                }
            }
            (15, Some(request)) => {
                let outcome = match two % 5 {
                    0 => Outcome::Complete,
                    1 => Outcome::Failed,
                    2 => Outcome::NotHeld,
                    3 => Outcome::Unwanted,
                    _ => Outcome::Refused {
                        retry_after: Duration::from_millis(ms),
                    },
                };
                self.running.remove(&request);
                plan.handle_request_ended(request, outcome, now);
            }
            (16, Some(request)) => {
                let failure = match two % 4 {
                    0 => OriginFailure::Final,
                    1 => OriginFailure::NoRanges,
                    _ => OriginFailure::Transient {
                        retry_after: Some(Duration::from_millis(ms)),
                    },
                };
                if request.source() == Source::Origin {
                    self.stream |= failure == OriginFailure::NoRanges;
                    self.running.remove(&request);
                }
                plan.handle_origin_failed(request, failure, now);
            }
            _ => {}
        }
        self.drain();
        self.plan.check();
    }

    fn deliver(&mut self, request: RequestId, index: PieceIndex) {
        let verdict = self.plan.handle_piece(request, index, self.now);
        let source = request.source();
        let trusted = !matches!(source, Source::Peer(key) if self.dropped.contains(&key));
        let wanted = index.0 < self.layout.pieces() && !self.held.has(index) && trusted;
        assert_eq!(verdict == PieceUse::Keep, wanted);
        if wanted {
            self.held.set(index);
        }
        if let Some((run, next)) = self.running.get_mut(&request) {
            *next = index.0.saturating_add(1).max(*next);
            // It may be over for the plan now.
            if *next >= run.end {
                self.running.remove(&request);
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.plan.poll_action() {
            // That the whole is wrong may turn out after the end.
            let late_fault = matches!(action, Action::DropPeer { .. });
            assert!(!self.finished || late_fault, "{action:?} after the end");
            match action {
                Action::Ask { request, peer, run } => {
                    assert!(!self.dropped.contains(&peer));
                    assert_eq!(request.source(), Source::Peer(peer));
                    self.begin(request, run, self.config.requests_per_peer);
                }
                Action::AskOrigin { request, run } => {
                    assert_ne!(self.config.origin, OriginUse::Never);
                    self.begin(request, run, self.config.origin_connections);
                }
                Action::Cancel { request } => {
                    self.running.remove(&request);
                }
                Action::DropPeer { peer, .. } => {
                    assert!(self.dropped.insert(peer));
                    let source = Source::Peer(peer);
                    assert!(self.running.keys().all(|id| id.source() != source));
                }
                Action::Finished => {
                    assert!(self.held.is_full());
                    self.running.clear();
                    self.finished = true;
                }
                Action::Stuck { .. } => assert!(!self.held.is_full()),
            }
        }
    }

    fn begin(&mut self, request: RequestId, run: Range<u32>, most: u32) {
        let stream = self.stream && request.source() == Source::Origin;
        for index in run.clone() {
            assert!(
                stream || !self.held.has(PieceIndex(index)),
                "{index} is held"
            );
        }
        assert!(!self.sent.contains(&request));
        self.sent.push(request);
        let next = run.start;
        self.running.insert(request, (run, next));
        let source = request.source();
        let count = self
            .running
            .keys()
            .filter(|id| id.source() == source)
            .count();
        assert!(count <= most as usize);
    }

    /// From any state a working origin finishes the file.
    fn bring_to_an_end(&mut self) {
        self.plan.handle_window_closed(self.now);
        self.config.origin = OriginUse::Ranges;
        self.plan.set_origin(OriginUse::Ranges, self.now);
        self.drain();
        for _ in 0..4_000 {
            if self.finished || self.held.is_full() {
                return;
            }
            let origin: Vec<_> = self
                .running
                .iter()
                .filter(|(id, _)| id.source() == Source::Origin)
                .map(|(id, (run, next))| (*id, *next..run.end))
                .collect();
            for (id, rest) in origin {
                for index in rest {
                    self.deliver(id, PieceIndex(index));
                }
                self.plan
                    .handle_request_ended(id, Outcome::Complete, self.now);
                self.drain();
            }
            self.plan.check();
            self.now += Duration::from_millis(100);
            if self
                .plan
                .poll_timeout()
                .is_some_and(|(at, _)| at <= self.now)
            {
                self.plan.handle_timeout(self.now);
                self.drain();
            }
        }
        panic!(
            "a working origin did not finish {:?}: {:#?}",
            self.held, self.plan
        );
    }
}
