//! The cold crowd and what else can happen to a crowd, with Potluck and with others in
//! turns. Run by `tests/bench/run crowd`, which installs the others. What it prints goes
//! into docs/benchmarks.md.
//!
//! Environment, lists with commas: `POTLUCK_CROWD` (scenes), `POTLUCK_CROWD_N` (hosts of
//! the cold crowd), `POTLUCK_CROWD_SYSTEMS`, `POTLUCK_CROWD_RUNS`, `POTLUCK_CROWD_SEED`,
//! `POTLUCK_CROWD_MIB` (size of the file).

use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use potluck_tests::Lab;
use potluck_tests::crowd::{Outcome, Scene, System, Table, measure};

const SCENES: [&str; 7] = [
    "cold",
    "staggered",
    "churn",
    "slow",
    "warm",
    "small",
    "default",
];

fn main() -> Result<()> {
    let choice = Choice::of_environment()?;
    let systems = choice.report()?;
    let mut failed = 0;
    for scene in &choice.scenes {
        println!("\n### {scene}: {}\n", meaning(scene));
        let mut table = Table::default();
        for hosts in choice.hosts(scene) {
            for run in 0..choice.runs {
                let seed = choice.seed + run;
                // In turns, so that what else the machine does is spread over all.
                for &system in systems.iter().filter(|system| can(scene, **system)) {
                    let outcome = play(&choice.scene(scene, hosts, seed), system);
                    let outcome = outcome.inspect_err(|error| {
                        failed += 1;
                        eprintln!("{scene}, {hosts} hosts, {}: {error:#}", system.word());
                    });
                    table.add(&hosts.to_string(), system.name(), outcome.ok());
                }
            }
        }
        print!("{table}");
    }
    ensure!(failed == 0, "{failed} runs failed");
    Ok(())
}

fn play(scene: &Scene, system: System) -> Result<Outcome> {
    let began = Instant::now();
    let outcome = measure(&Lab::with_namespaces()?, scene, system)?;
    eprintln!(
        "{} hosts, {}: {:.3} copies, {:.1} s, {:.2} of the bound ({:.0} s with all around it)",
        scene.parts.len(),
        system.word(),
        outcome.copies,
        outcome.last().as_secs_f64(),
        outcome.times_bound(),
        began.elapsed().as_secs_f64()
    );
    Ok(outcome)
}

fn meaning(scene: &str) -> &'static str {
    match scene {
        "cold" => "all want one new file in the same moment",
        "staggered" => "they come by chance within ten seconds",
        "churn" => "nine begin; in the middle three are killed and two come",
        "slow" => "one of eight has a tenth of the others' rate and is told apart",
        "warm" => "seven have it, one comes, whose link takes 200 Mbit/s",
        "small" => "500 files of 20 to 200 KiB",
        _ => "nodes give as by default: three clients, 1 Mbit/s, complete files",
    }
}

/// By default a node gives 1 Mbit/s, which the others do not.
fn can(scene: &str, system: System) -> bool {
    scene != "default" || matches!(system, System::Potluck | System::Curl)
}

struct Choice {
    scenes: Vec<String>,
    cold_hosts: Vec<usize>,
    systems: Vec<System>,
    runs: u64,
    seed: u64,
    size: u64,
}

impl Choice {
    fn of_environment() -> Result<Self> {
        let scenes = list("POTLUCK_CROWD", &SCENES.map(str::to_owned))?;
        if let Some(wrong) = scenes.iter().find(|name| !SCENES.contains(&name.as_str())) {
            bail!("no scene {wrong:?}: {}", SCENES.join(", "));
        }
        let cold_hosts = list("POTLUCK_CROWD_N", &[4, 8, 16])?;
        ensure!(
            !cold_hosts.contains(&0),
            "POTLUCK_CROWD_N: a crowd of nobody"
        );
        let one = |key, default| list(key, &[default]).map(|values: Vec<u64>| values[0]);
        Ok(Self {
            scenes,
            cold_hosts,
            systems: list("POTLUCK_CROWD_SYSTEMS", &System::ALL)?,
            runs: one("POTLUCK_CROWD_RUNS", 3)?,
            seed: one("POTLUCK_CROWD_SEED", 1)?,
            size: one("POTLUCK_CROWD_MIB", 64)? << 20,
        })
    }

    /// Says what is measured with what, and what cannot be.
    fn report(&self) -> Result<Vec<System>> {
        println!(
            "One file of {} MiB; origin 80 Mbit/s up, hosts 200 Mbit/s up; {} runs, seeds from {}.",
            self.size >> 20,
            self.runs,
            self.seed
        );
        let load = fs::read_to_string("/proc/loadavg")?;
        let (tcp, load) = (tcp_of_hosts()?, load.trim());
        println!("TCP: {tcp}; load average at the start: {load}");
        let mut systems = Vec::new();
        for &system in &self.systems {
            match system.version() {
                Ok(version) => {
                    println!("- {}: {version}", system.word());
                    systems.push(system);
                }
                Err(missing) => println!("- {}: DID NOT RUN, {missing}", system.word()),
            }
        }
        let alone = play(&Scene::cold(1, self.size, self.seed), System::Curl)?;
        println!(
            "\nOne curl alone takes {:.2} s, {:.3} of what its rate says.",
            alone.last().as_secs_f64(),
            alone.times_bound()
        );
        Ok(systems)
    }

    fn hosts(&self, scene: &str) -> Vec<usize> {
        match scene {
            "cold" => self.cold_hosts.clone(),
            "churn" => vec![9],
            _ => vec![8],
        }
    }

    fn scene(&self, name: &str, hosts: usize, seed: u64) -> Scene {
        match name {
            "staggered" => Scene::staggered(hosts, self.size, Duration::from_secs(10), seed),
            "churn" => Scene::churn(hosts, self.size, seed),
            "slow" => Scene::slow(hosts, self.size, seed),
            "warm" => Scene::warm(hosts, self.size, seed),
            "small" => Scene::small(hosts, 500, 20 << 10, 200 << 10, seed),
            "default" => Scene::default_profile(hosts, self.size / 8, seed),
            _ => Scene::cold(hosts, self.size, seed),
        }
    }
}

/// The values of a variable, or these. Never empty.
fn list<T>(key: &str, default: &[T]) -> Result<Vec<T>>
where
    T: FromStr<Err: Into<Error>> + Clone,
{
    let Ok(text) = std::env::var(key) else {
        return Ok(default.to_vec());
    };
    let values = text.split(',').map(|word| word.trim().parse::<T>());
    let values = values.map(|value| value.map_err(Into::into));
    values
        .collect::<Result<_>>()
        .with_context(|| format!("{key}={text}"))
}

/// How the kernel of the lab's hosts avoids congestion: tcp(7).
fn tcp_of_hosts() -> Result<String> {
    let lab = Lab::with_namespaces()?;
    let host = lab.host("origin")?;
    let name =
        host.inside(|| fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control"))??;
    Ok(name.trim().to_owned())
}
