//! Jobs by the thousand, random calls and faults, many seeds: nothing is lost, nothing runs
//! twice, higher levels go first, and equals get equal shares.

mod office;

use office::Office;

/// Tells which seed failed.
fn with_seed(seed: u64, story: impl FnOnce() + std::panic::UnwindSafe) {
    if let Err(panic) = std::panic::catch_unwind(story) {
        eprintln!("seed {seed}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_thousand_offices() {
    for seed in 0..1_000 {
        with_seed(seed, || {
            let mut office = Office::new(seed, seed % 12);
            office.live(60, false);
            office.live(6, true);
            office.live(20, false);
            office.end();
        });
    }
}

#[test]
fn an_office_with_thousands_of_jobs() {
    for seed in 0..2 {
        with_seed(seed, || {
            let mut office = Office::new(seed, 3_000);
            office.live(150, false);
            assert!(office.turns > 0, "nobody ever gave way");
        });
    }
}
