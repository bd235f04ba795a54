//! Peers that say how little they serve, on a made-up clock.

mod world;

use std::time::Duration;

use potluck_plan::{FilePlanConfig, Rate, ServeLimits};
use world::{End, Giver, Manner, World};

const MB: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(3600);
/// As nodes serve unless they are told otherwise.
const LITTLE: ServeLimits = ServeLimits {
    clients: 3,
    rate: Rate::Bits(1_000_000),
};

/// Some peers that have the whole after a while and serve a third of what one of them
/// serves to all.
fn world(size: u64, origin: u64, peers: u32, join: Duration) -> World {
    let world = World::new(size, FilePlanConfig::default()).origin(origin, Manner::Honest);
    (0..peers).fold(world, |world, key| {
        let giver = Giver::new(125_000 / 3, Manner::Honest).joins(join);
        world.peer(key, giver.says(LITTLE))
    })
}

fn time_of(mut world: World) -> Duration {
    assert_eq!(world.run(LIMIT), End::Finished);
    world.took()
}

#[test]
fn who_serves_little_keeps_nobody_from_the_origin() {
    for origin in [MB / 2, MB, 4 * MB] {
        let alone = time_of(world(8 * MB, origin, 0, Duration::ZERO));
        for peers in [1, 3, 7] {
            // When it is known what the origin gives.
            for tenths in [6, 8, 9] {
                let took = time_of(world(8 * MB, origin, peers, alone * tenths / 10));
                assert!(
                    took <= alone + Duration::from_millis(250),
                    "{peers} peers after {tenths} tenths: {took:?}, alone {alone:?} at {origin}"
                );
            }
        }
    }
}

#[test]
fn who_has_it_from_the_start_gives_it_however_little_it_serves() {
    let mut world = world(30_000, 10 * MB, 1, Duration::ZERO);
    assert_eq!(world.run(LIMIT), End::Finished);
    assert_eq!((world.kept_from_peers(), world.kept_from_origin()), (1, 0));
}
