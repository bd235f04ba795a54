//! Crowds that want the same file at the same time, on a made-up clock: what must hold
//! whatever the seed. The benchmark `crowd_sim` tells of thousands of hosts.

use potluck_tests::crowd_sim::{Crowd, CrowdReport, CrowdSettings};

/// Looks at what came of a crowd, and says of which when it is not as it should be.
fn judge(name: &str, seed: u64, report: &CrowdReport, holds: bool) {
    assert!(
        holds && report.all_finished(),
        "{name}, seed {seed}\n{}\n{report}",
        CrowdReport::HEADER
    );
}

#[test]
fn a_cold_crowd_costs_the_origin_one_copy_and_little_more_than_the_least_time() {
    for hosts in [4, 8, 16, 32] {
        for seed in 1..=2 {
            let report = Crowd::run(CrowdSettings::cold(hosts, seed));
            let holds = report.copies <= 1.02 && report.times_bound() <= 1.10;
            judge("cold", seed, &report, holds);
        }
    }
}
