//! What audits find in a simulated crowd: eight fetch 64 MiB together without a digest, one
//! of them signs something else than it fetched. Run by `tests/bench/run audit_sim`;
//! `POTLUCK_SEEDS=50` tells of so many seeds each.

use anyhow::Result;
use potluck_tests::crowd_sim::{Crowd, CrowdReport, CrowdSettings, Manner};

/// Of how many pieces the liar forges one, when it fetched that.
const FORGES: [u32; 3] = [1, 8, 32];
const SHARES: [f64; 3] = [0.01, 0.1, 1.0];
const HOSTS: usize = 8;

fn main() -> Result<()> {
    let seeds: u64 = match std::env::var("POTLUCK_SEEDS") {
        Ok(seeds) => seeds.parse()?,
        Err(_) => 200,
    };
    println!(
        "| one forged of | audit share | runs | forged pieces | found by somebody | hosts \
         that found it | hosts with a wrong file | audited | copies | last s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for one_in in FORGES {
        for share in SHARES {
            let mut sum = Sum::default();
            for seed in 1..=seeds {
                sum.add(&Crowd::run(crowd(one_in, share, seed)));
            }
            println!("| {one_in} | {share} {}", sum.row());
        }
    }
    Ok(())
}

fn crowd(one_in: u32, audit_share: f64, seed: u64) -> CrowdSettings {
    let mut crowd = CrowdSettings {
        digest: false,
        audit_share,
        block: 128 << 10,
        ..CrowdSettings::cold(HOSTS, seed)
    };
    crowd.hosts[0].manner = Manner::SignsWrong { one_in };
    crowd
}

/// Of all runs.
#[derive(Default)]
struct Sum {
    runs: u32,
    hosts: u32,
    forged: f64,
    /// Runs in which somebody found the liar.
    found: u32,
    /// Hosts that found it.
    finders: u32,
    wrong: u32,
    audited: f64,
    copies: f64,
    last: f64,
}

impl Sum {
    fn add(&mut self, report: &CrowdReport) {
        self.runs += 1;
        self.forged += report.hosts[0].wrong_pieces as f64;
        self.copies += report.copies;
        self.last += report.last().as_secs_f64();
        let mut found = false;
        for host in report.counted() {
            self.hosts += 1;
            self.finders += u32::from(host.exposed > 0);
            self.wrong += u32::from(host.wrong_pieces > 0);
            self.audited += host.audited as f64;
            found |= host.exposed > 0;
        }
        self.found += u32::from(found);
    }

    fn row(&self) -> String {
        let runs = f64::from(self.runs.max(1));
        let part = |count: u32, of: u32| 100.0 * f64::from(count) / f64::from(of.max(1));
        format!(
            "| {} | {:.1} | {:.0} % | {:.1} % | {:.1} % | {:.1} | {:.2} | {:.1} |",
            self.runs,
            self.forged / runs,
            part(self.found, self.runs),
            part(self.finders, self.hosts),
            part(self.wrong, self.hosts),
            self.audited / runs,
            self.copies / runs,
            self.last / runs,
        )
    }
}
