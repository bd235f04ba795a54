//! For what a plan waits before it asks the origin for a file of one piece.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use potluck_content::{Bitfield, EntityKey, Layout};
use potluck_plan::{
    Action, FilePlan, FilePlanConfig, Holding, MemberId, News, NewsKind, PeerKey, RequestId,
};

const TICK: Duration = Duration::from_millis(250);
const ENTITY: EntityKey = EntityKey::from_bytes([7; 32]);
const SIZE: u64 = 100_000;
const PEER: PeerKey = PeerKey(0);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
fn start() -> Instant {
    Instant::now()
}

fn plan(now: Instant) -> FilePlan {
    let layout = Layout::for_size(SIZE).unwrap();
    let held = Bitfield::empty(layout.pieces());
    FilePlan::new(layout, &held, FilePlanConfig::default(), now)
}

/// The peer's part in the swarm: it asks the origin for the piece.
fn fetching() -> News {
    News {
        entity: ENTITY,
        size: SIZE,
        kind: NewsKind::State,
        epoch: 1,
        got: Vec::new(),
        fetching: std::iter::once(0..1).collect(),
        fetched: 0,
        limits: None,
        leader: None,
        doubts: Vec::new(),
    }
}

/// What the plan asks while time goes by, until this time.
fn asked(
    plan: &mut FilePlan,
    now: &mut Instant,
    until: Instant,
    mut each: impl FnMut(&mut FilePlan, Instant),
) -> Vec<RequestId> {
    let mut asked = Vec::new();
    loop {
        while let Some(action) = plan.poll_action() {
            if let Action::Ask { request, .. } | Action::AskOrigin { request, .. } = action {
                asked.push(request);
            }
        }
        if *now >= until {
            return asked;
        }
        *now += TICK;
        each(plan, *now);
        plan.handle_timeout(*now);
    }
}

fn of_origin(asked: &[RequestId]) -> usize {
    let is_origin = |id: &&RequestId| id.source() == potluck_plan::Source::Origin;
    asked.iter().filter(is_origin).count()
}

#[test]
fn what_was_not_sent_yet_is_not_late() {
    let begun = start();
    let mut now = begun;
    let mut plan = plan(now);
    plan.handle_peer_joined(PEER, Holding::Whole, None, now);
    plan.handle_window_closed(now);
    let first = asked(&mut plan, &mut now, begun, |_, _| {});
    assert_eq!((first.len(), of_origin(&first)), (1, 0));
    let waits = begun + Duration::from_secs(20);
    let more = asked(&mut plan, &mut now, waits, |plan, now| {
        plan.handle_held_back(first[0], now);
    });
    assert!(more.is_empty(), "{more:?}");
    // Sent, and not answered.
    let late = waits + Duration::from_secs(2);
    let more = asked(&mut plan, &mut now, late, |_, _| {});
    assert_eq!(of_origin(&more), 1);
}

#[test]
fn who_waits_for_the_origin_is_late_after_three_seconds() {
    let begun = start();
    let mut now = begun;
    let mut plan = plan(now);
    plan.join_swarm(MemberId([1; 16]), ENTITY, now);
    plan.handle_news(PEER, MemberId([2; 16]), &fetching(), now);
    plan.handle_window_closed(now);
    let patient = begun + Duration::from_millis(2750);
    let early = asked(&mut plan, &mut now, patient, |_, _| {});
    assert!(early.is_empty(), "{early:?}");
    let late = begun + Duration::from_millis(5250);
    let more = asked(&mut plan, &mut now, late, |_, _| {});
    assert_eq!(of_origin(&more), 1);
    assert_eq!(plan.taken_over(), 1);
}
