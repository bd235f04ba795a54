//! Whole transfers on a made-up clock.

mod world;

use std::time::Duration;

use potluck_content::{Bitfield, PieceIndex};
use potluck_plan::{
    FilePlanConfig, Holding, OriginUse, PeerKey, Priority, Rate, Source, StuckReason,
};
use world::{End, Giver, Manner, World};

const MB: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(3600);

fn config() -> FilePlanConfig {
    FilePlanConfig::default()
}

fn pieces(pieces: u32, range: std::ops::Range<u32>) -> Holding {
    let mut field = Bitfield::empty(pieces);
    range.map(PieceIndex).for_each(|index| {
        field.set(index);
    });
    Holding::Pieces(field)
}

#[test]
fn a_fast_peer_leaves_nothing_to_the_origin() {
    for speed in [MB, 10 * MB, 100 * MB, 1000 * MB] {
        for size in [100_000, 3 * MB, 200 * MB] {
            for priority in [Priority::Foreground, Priority::Low] {
                let config = FilePlanConfig {
                    priority,
                    ..config()
                };
                let mut world = World::new(size, config)
                    .origin(50 * MB, Manner::Honest)
                    .peer(1, Giver::new(speed, Manner::Honest));
                assert_eq!(world.run(LIMIT), End::Finished);
                assert_eq!(world.kept_from_origin(), 0, "{size} at {speed}");
                assert_eq!(world.discarded, 0);
            }
        }
    }
}

#[test]
fn several_peers_share_the_work() {
    let mut world = World::new(400 * MB, config()).origin(50 * MB, Manner::Honest);
    for key in 0..4 {
        world = world.peer(key, Giver::new(10 * MB, Manner::Honest));
    }
    assert_eq!(world.run(LIMIT), End::Finished);
    assert_eq!(world.kept_from_origin(), 0);
    assert_eq!(world.kept.len(), 4);
    // 10 s is what four of them need at best.
    assert!(
        world.took() < Duration::from_millis(12_000),
        "{:?}",
        world.took()
    );
}

#[test]
fn peers_of_many_speeds_end_together() {
    let mut world = World::new(400 * MB, config()).origin(50 * MB, Manner::Honest);
    for (key, speed) in [(0, 1), (1, 2), (2, 5), (3, 32)] {
        world = world.peer(key, Giver::new(speed * MB, Manner::Honest));
    }
    assert_eq!(world.run(LIMIT), End::Finished);
    assert_eq!(world.kept_from_origin(), 0);
    assert!(
        world.took() < Duration::from_millis(14_000),
        "{:?}",
        world.took()
    );
}

#[test]
fn the_origin_tops_up_a_slow_peer() {
    let mut world = World::new(100 * MB, config())
        .origin(20 * MB, Manner::Honest)
        .peer(1, Giver::new(125_000, Manner::Honest));
    assert_eq!(world.run(LIMIT), End::Finished);
    assert!(world.kept_from_origin() > 0);
    // The origin alone needs 5 s.
    assert!(
        world.took() < Duration::from_millis(7_500),
        "{:?}",
        world.took()
    );
}

#[test]
fn without_a_minimum_rate_a_slow_peer_does_it_alone() {
    let config = FilePlanConfig {
        min_peer_rate: Rate::ZERO,
        ..config()
    };
    let mut world = World::new(20 * MB, config)
        .origin(20 * MB, Manner::Honest)
        .peer(1, Giver::new(125_000, Manner::Honest));
    assert_eq!(world.run(LIMIT), End::Finished);
    assert_eq!(world.kept_from_origin(), 0);
    // One that delivers nothing is another matter.
    let mut world = World::new(20 * MB, config)
        .origin(20 * MB, Manner::Honest)
        .peer(1, Giver::new(MB, Manner::Stalls(3 * MB)));
    assert_eq!(world.run(LIMIT), End::Finished);
    assert!(world.kept_from_origin() > 0);
    assert!(world.took() < Duration::from_secs(12), "{:?}", world.took());
}

#[test]
fn background_leaves_it_to_slow_peers_for_a_while_and_foreground_does_not() {
    let run = |priority| {
        let config = FilePlanConfig {
            priority,
            origin_delay: Duration::from_secs(60),
            ..config()
        };
        let mut world = World::new(40 * MB, config)
            .origin(20 * MB, Manner::Honest)
            .peer(1, Giver::new(125_000, Manner::Honest));
        assert_eq!(world.run(LIMIT), End::Finished);
        world.took()
    };
    assert!(run(Priority::Foreground) < Duration::from_secs(5));
    let background = run(Priority::Normal);
    assert!(background > Duration::from_secs(60) && background < Duration::from_secs(66));
}

#[test]
fn without_peers_the_origin_gives_everything_at_once() {
    let mut world = World::new(100 * MB, config()).origin(20 * MB, Manner::Honest);
    assert_eq!(world.run(LIMIT), End::Finished);
    assert!(
        world.took() < Duration::from_millis(5_300),
        "{:?}",
        world.took()
    );
    assert_eq!(world.discarded, 0);
}

#[test]
fn partial_holders_are_combined_and_the_origin_gives_the_rest() {
    let mut world = World::new(100 * MB, config());
    let all = world.layout.pieces();
    world = world
        .origin(20 * MB, Manner::Honest)
        .peer(
            1,
            Giver::new(20 * MB, Manner::Honest).holding(pieces(all, 0..200)),
        )
        .peer(
            2,
            Giver::new(20 * MB, Manner::Honest).holding(pieces(all, 150..300)),
        );
    assert_eq!(world.run(LIMIT), End::Finished);
    assert_eq!(world.kept_from_origin(), all - 300);
    assert_eq!(world.kept_from_peers(), 300);
}

#[test]
fn bad_peers_never_hold_up_a_working_origin() {
    for manner in [
        Manner::Silent,
        Manner::Stalls(5 * MB),
        Manner::Stalls(0),
        Manner::Breaks(MB),
        Manner::Breaks(0),
        Manner::Lies,
        Manner::Refuses,
        Manner::Forgot,
        Manner::Queues(Duration::from_secs(1000)),
    ] {
        for origin in [OriginUse::Ranges, OriginUse::Stream] {
            let config = FilePlanConfig { origin, ..config() };
            let mut world = World::new(50 * MB, config)
                .origin(10 * MB, Manner::Honest)
                .peer(1, Giver::new(10 * MB, manner))
                .peer(2, Giver::new(10 * MB, manner));
            assert_eq!(world.run(LIMIT), End::Finished);
            // The origin alone needs 5 s.
            let took = world.took();
            assert!(
                took < Duration::from_secs(14),
                "{manner:?} {origin:?}: {took:?}"
            );
        }
    }
}

#[test]
fn a_dead_peer_among_good_ones_costs_little() {
    for manner in [
        Manner::Silent,
        Manner::Stalls(5 * MB),
        Manner::Lies,
        Manner::Breaks(0),
    ] {
        let mut world = World::new(100 * MB, config())
            .origin(10 * MB, Manner::Honest)
            .peer(1, Giver::new(10 * MB, manner))
            .peer(2, Giver::new(10 * MB, Manner::Honest))
            .peer(3, Giver::new(10 * MB, Manner::Honest));
        assert_eq!(world.run(LIMIT), End::Finished);
        assert_eq!(world.kept_from_origin(), 0, "{manner:?}");
        assert!(
            world.took() < Duration::from_secs(8),
            "{manner:?}: {:?}",
            world.took()
        );
    }
}

#[test]
fn a_liar_is_dropped_and_its_pieces_come_from_others() {
    let mut world = World::new(10 * MB, config())
        .origin(10 * MB, Manner::Honest)
        .peer(1, Giver::new(10 * MB, Manner::Lies))
        .peer(2, Giver::new(10 * MB, Manner::Honest));
    assert_eq!(world.run(LIMIT), End::Finished);
    assert!(world.dropped.contains_key(&PeerKey(1)));
    assert_eq!(world.kept.get(&Source::Peer(PeerKey(1))), None);
    assert_eq!(world.kept_from_origin(), 0);
}

#[test]
fn a_peer_that_comes_late_relieves_the_origin() {
    let late = Giver::new(50 * MB, Manner::Honest).joins(Duration::from_secs(2));
    let mut world = World::new(200 * MB, config())
        .origin(5 * MB, Manner::Honest)
        .peer(1, late);
    assert_eq!(world.run(LIMIT), End::Finished);
    let origin = u64::from(world.kept_from_origin()) * world.layout.piece_len();
    assert!(origin < 30 * MB, "{origin}");
    assert!(world.took() < Duration::from_secs(8), "{:?}", world.took());
}

#[test]
fn a_queue_is_waited_for_when_there_is_nobody_else() {
    let config = FilePlanConfig {
        origin: OriginUse::Never,
        ..config()
    };
    let mut world = World::new(10 * MB, config).peer(
        1,
        Giver::new(10 * MB, Manner::Queues(Duration::from_secs(60))),
    );
    assert_eq!(world.run(LIMIT), End::Finished);
    assert!(world.dropped.is_empty());
}

#[test]
fn it_says_when_nobody_is_left() {
    let never = FilePlanConfig {
        origin: OriginUse::Never,
        ..config()
    };
    let mut alone = World::new(10 * MB, never);
    assert_eq!(alone.run(LIMIT), End::Stuck(StuckReason::OriginNotAllowed));
    for manner in [
        Manner::Silent,
        Manner::Stalls(MB),
        Manner::Lies,
        Manner::Breaks(0),
    ] {
        let mut world = World::new(10 * MB, never).peer(1, Giver::new(MB, manner));
        assert_eq!(world.run(LIMIT), End::Stuck(StuckReason::OriginNotAllowed));
        assert_eq!(world.dropped.len(), 1);
    }
    for manner in [Manner::Silent, Manner::Stalls(MB), Manner::Breaks(0)] {
        let mut world = World::new(10 * MB, config()).origin(MB, manner);
        assert_eq!(
            world.run(LIMIT),
            End::Stuck(StuckReason::OriginFailed),
            "{manner:?}"
        );
    }
}

#[test]
fn a_stream_tops_up_too() {
    let config = FilePlanConfig {
        origin: OriginUse::Stream,
        ..config()
    };
    let mut world = World::new(100 * MB, config)
        .origin(20 * MB, Manner::Honest)
        .peer(1, Giver::new(125_000, Manner::Honest));
    assert_eq!(world.run(LIMIT), End::Finished);
    assert!(
        world.took() < Duration::from_millis(7_500),
        "{:?}",
        world.took()
    );
    let mut world = World::new(100 * MB, config)
        .origin(20 * MB, Manner::Honest)
        .peer(1, Giver::new(20 * MB, Manner::Honest));
    assert_eq!(world.run(LIMIT), End::Finished);
    assert_eq!(world.kept_from_origin(), 0);
}

#[test]
fn the_last_piece_can_prove_the_size_first() {
    let config = FilePlanConfig {
        prove_size: true,
        ..config()
    };
    let mut world = World::new(10 * MB, config)
        .origin(MB, Manner::Honest)
        .peer(1, Giver::new(10 * MB, Manner::Honest));
    assert_eq!(world.run(Duration::from_millis(40)), End::OutOfTime);
    let held: Vec<_> = world.held.held().collect();
    assert_eq!(
        held.first().map(|index| index.0),
        Some(world.layout.pieces() - 1)
    );
    assert_eq!(world.run(LIMIT), End::Finished);
}
