//! The simulated crowd at all sizes: how many copies the origin sends when thousands want
//! the same 64 MiB at once and each knows 32 others at most, and how long it takes. Run by
//! `tests/bench/run crowd_sim`; `POTLUCK_CROWD_SIM=100,1000` tells only of these sizes,
//! `POTLUCK_SEEDS=5` of so many seeds each.

use anyhow::Result;
use potluck_tests::crowd_sim::{Crowd, CrowdReport, CrowdSettings};

fn main() -> Result<()> {
    let sizes =
        std::env::var("POTLUCK_CROWD_SIM").unwrap_or("8,16,32,100,300,1000,5000".to_owned());
    let seeds: u64 = match std::env::var("POTLUCK_SEEDS") {
        Ok(seeds) => seeds.parse()?,
        Err(_) => 1,
    };
    println!("{}", CrowdReport::HEADER);
    for hosts in sizes.split(',') {
        for seed in 1..=seeds {
            let mut settings = CrowdSettings::cold(hosts.trim().parse()?, seed);
            if settings.hosts.len() >= 1000 {
                settings.block = 64 << 10;
            }
            println!("{}", Crowd::run(settings));
        }
    }
    Ok(())
}
