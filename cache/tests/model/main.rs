//! The cache beside a simple model of it: whatever happens in whatever order, both hold
//! the same contents, and every lease reads the right bytes; and whenever it crashes, what
//! it finds afterwards is what it had, or was about to have.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod crash;
mod recorder;
mod reference;
mod restart;
mod world;

use proptest::prelude::*;

use crash::Crash;
use reference::{PARTIALS, SIZES};
use world::World;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Finish(usize),
    /// Puts a piece of an unfinished content, which is begun or resumed if need be.
    Put(usize, u32),
    /// Finds a piece of it to be wrong.
    Discard(usize, u32),
    Checkpoint(usize),
    Close(usize),
    Abandon(usize),
    /// Finishes it, if it has all pieces.
    Complete(usize),
    AddFile(usize),
    Lease(usize),
    Release(usize),
    Validate(usize, bool),
    /// Vouches for what came, and makes the entity lead there.
    Vouch(usize),
    /// Makes contents durable.
    Sync,
    /// The same, with the index.
    Flush,
    Pin(usize, bool),
    /// Makes the one entity there is lead here.
    Link(usize),
    Remove(usize),
    DropUnclaimed,
    Rebuild,
    Reopen,
    /// Opens a copy of the files as a crash would leave them.
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let which = 0..SIZES.len();
    prop_oneof![
        4 => which.clone().prop_map(Op::Finish),
        2 => which.clone().prop_map(Op::AddFile),
        4 => which.clone().prop_map(Op::Lease),
        4 => which.clone().prop_map(Op::Release),
        1 => (which.clone(), any::<bool>()).prop_map(|(i, on)| Op::Validate(i, on)),
        2 => which.clone().prop_map(Op::Vouch),
        1 => Just(Op::Sync),
        1 => Just(Op::Flush),
        1 => (which.clone(), any::<bool>()).prop_map(|(i, on)| Op::Pin(i, on)),
        1 => which.clone().prop_map(Op::Link),
        1 => which.prop_map(Op::Remove),
        1 => Just(Op::DropUnclaimed),
        1 => Just(Op::Rebuild),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
    ]
}

/// The same, and unfinished contents on their way.
fn op_of_any_kind() -> impl Strategy<Value = Op> {
    let partial = 0..PARTIALS.len();
    prop_oneof![
        20 => op(),
        6 => (partial.clone(), 0..4_u32).prop_map(|(k, n)| Op::Put(k, n)),
        1 => (partial.clone(), 0..4_u32).prop_map(|(k, n)| Op::Discard(k, n)),
        3 => partial.clone().prop_map(Op::Checkpoint),
        1 => partial.clone().prop_map(Op::Close),
        1 => partial.clone().prop_map(Op::Abandon),
        3 => partial.prop_map(Op::Complete),
    ]
}

/// A crash is tried at one step in so many; at which ones differs from run to run.
const RARITY: usize = 12;

/// More than there are steps.
const NEVER: usize = usize::MAX;

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").map(|_| config.cases);
    ProptestConfig {
        cases: asked.unwrap_or(48),
        failure_persistence: None,
        ..config
    }
}

/// One of each kind of write, and what was ever written anew under an old name.
fn one_of_each() -> Vec<Op> {
    vec![
        Op::Put(1, 0),
        Op::Checkpoint(1),
        Op::Put(1, 1),
        Op::Discard(1, 0),
        Op::Abandon(1),
        Op::Put(1, 2),
        Op::Checkpoint(1),
        Op::Put(0, 0),
        Op::Put(0, 1),
        Op::Checkpoint(0),
        Op::Complete(0),
        Op::Put(0, 1),
        Op::Validate(3, true),
        Op::Link(3),
        Op::Release(3),
        Op::AddFile(5),
        Op::Pin(5, true),
        Op::Link(5),
        Op::AddFile(4),
        Op::Finish(2),
        Op::Vouch(2),
        Op::Finish(1),
        Op::Sync,
        Op::Vouch(1),
        Op::Finish(0),
        Op::Remove(1),
        Op::Finish(1),
        Op::Flush,
        Op::Release(1),
        Op::Remove(1),
        Op::Finish(1),
        Op::Pin(1, true),
        Op::Finish(6),
        Op::Reopen,
        Op::Remove(5),
        Op::DropUnclaimed,
        Op::AddFile(5),
        Op::Rebuild,
    ]
}

/// Does what is asked and crashes at some of the steps.
fn crash_on_the_way(ops: &[Op], seed: u64, rarity: usize) {
    let mut world = World::new(seed, rarity);
    for op in ops {
        let before = world.observe();
        world.run(op);
        world.model = world.observe();
        for moment in world.recorder.moments() {
            for crash in [Crash::Death, Crash::PowerLoss] {
                restart::check(&world, &moment, crash, [&before, &world.model]);
            }
        }
    }
}

#[test]
fn a_crash_at_every_step_of_one_of_each() {
    for seed in 0..2 {
        crash_on_the_way(&one_of_each(), seed, 1);
    }
}

/// What is admitted without a sync, and may be on the disk in part.
#[test]
fn a_small_content_is_never_wrong_whatever_got_to_the_disk() {
    let ops = [
        Op::Finish(2),
        Op::Vouch(2),
        Op::Finish(1),
        Op::Vouch(1),
        Op::Release(2),
        Op::Remove(2),
        Op::Finish(2),
        Op::Sync,
    ];
    for seed in 0..8 {
        crash_on_the_way(&ops, seed, 1);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_cache_does_what_its_model_does(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new(0, NEVER);
        for op in &ops {
            world.run(op);
            world.check();
        }
    }

    #[test]
    fn a_crash_between_any_two_steps_costs_nothing_that_was_promised(
        ops in prop::collection::vec(op_of_any_kind(), 1..40),
        seed in any::<u64>(),
    ) {
        crash_on_the_way(&ops, seed, RARITY);
    }
}
