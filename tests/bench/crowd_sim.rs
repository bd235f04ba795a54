//! The simulated crowd at all sizes: how many copies the origin sends when thousands want
//! the same 64 MiB at once and each knows 32 others at most, and how long it takes, with
//! nothing that disturbs them and, at some sizes, with what does. Run by `tests/bench/run
//! crowd_sim`; `POTLUCK_CROWD_SIM=100,1000` tells only of these sizes,
//! `POTLUCK_CROWD_SCENES=loss,churn` only of these scenes, `POTLUCK_SEEDS=5` of so many
//! seeds each.

use anyhow::{Result, anyhow};
use potluck_tests::crowd_sim::{Crowd, CrowdReport, Scene};

/// At these sizes, every scene is told unless some are named.
const DISTURBED: [usize; 2] = [100, 1000];

fn main() -> Result<()> {
    let sizes =
        std::env::var("POTLUCK_CROWD_SIM").unwrap_or("8,16,32,100,300,1000,5000".to_owned());
    let seeds: u64 = match std::env::var("POTLUCK_SEEDS") {
        Ok(seeds) => seeds.parse()?,
        Err(_) => 1,
    };
    let named = scenes()?;
    let header = CrowdReport::HEADER.replace("\n|", "\n|---|");
    println!("| scene {header}");
    for hosts in sizes.split(',') {
        let hosts = hosts.trim().parse()?;
        let told = match &named {
            Some(scenes) => scenes.as_slice(),
            None if DISTURBED.contains(&hosts) => &Scene::ALL,
            None => &[Scene::Calm],
        };
        for scene in told {
            for seed in 1..=seeds {
                let mut settings = scene.crowd(hosts, seed);
                if hosts >= 1000 {
                    settings.block = 64 << 10;
                }
                println!("| {scene} {}", Crowd::run(settings));
            }
        }
    }
    Ok(())
}

/// The scenes that are named, if any are.
fn scenes() -> Result<Option<Vec<Scene>>> {
    let Ok(names) = std::env::var("POTLUCK_CROWD_SCENES") else {
        return Ok(None);
    };
    let scenes = names.split(',').map(|name| name.trim().parse::<Scene>());
    let scenes: Result<_, _> = scenes.collect();
    scenes.map(Some).map_err(|what| anyhow!(what))
}
