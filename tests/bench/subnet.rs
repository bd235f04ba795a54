//! The simulated subnet at all sizes and losses: what finding peers costs and how long
//! it takes. Run by `tests/bench/run`; `POTLUCK_SUBNET=1000,30` tells only the story of
//! 1,000 nodes with 30 % loss, `POTLUCK_SEED` has it told from another seed.

use std::time::Duration;

use anyhow::{Context, Result};
use potluck_tests::subnet::{Report, Story, SubnetSettings};

const SIZES: [usize; 4] = [10, 100, 1000, 5000];
const LOSSES: [u8; 3] = [0, 5, 30];

fn main() -> Result<()> {
    let seed = match std::env::var("POTLUCK_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => 1,
    };
    let mut cases = Vec::new();
    for nodes in SIZES {
        cases.extend(LOSSES.map(|loss| (nodes, loss)));
    }
    if let Ok(only) = std::env::var("POTLUCK_SUBNET") {
        let (nodes, loss) = only.split_once(',').context("NODES,LOSS")?;
        cases = vec![(nodes.parse()?, loss.parse()?)];
    }
    println!("seed {seed}\n\n{}", Report::HEADER);
    for (nodes, loss) in cases {
        // Five thousand nodes rest for three minutes, the others for ten.
        let steady = Duration::from_secs(if nodes > 1000 { 180 } else { 600 });
        let settings = SubnetSettings {
            nodes,
            loss: f64::from(loss) / 100.0,
            seed,
            max_peers: 32,
        };
        print!("{}", Story::tell(settings, steady));
    }
    Ok(())
}
