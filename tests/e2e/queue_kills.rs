//! kill -9 at random moments of a queue of five jobs: every file is right in the end, and
//! the origin sent hardly more than the files have.
//!
//! `POTLUCK_KILLS` sets how often (20), `POTLUCK_SEED` the seed, which is printed.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, poll};

const JOBS: u64 = 5;
/// At the origin's 1 MiB per second and connection no job is done in a moment.
const SIZE: usize = 10 << 20;
/// Connections to the origin for one file, at most.
const CONNECTIONS: u64 = 4;
/// A file of this size has pieces of so many bytes.
const PIECE: u64 = 256 << 10;
/// Longest time from a start to the kill, in milliseconds.
const LONGEST: u64 = 1_500;

mod needs_nginx {
    use super::*;

    #[test]
    fn a_queue_that_is_killed_again_and_again_ends_well() {
        let kills = setting("POTLUCK_KILLS").unwrap_or(20);
        let seed = setting("POTLUCK_SEED").unwrap_or_else(|| fastrand::u64(..));
        eprintln!("POTLUCK_KILLS={kills} POTLUCK_SEED={seed}");
        Lab::run(|lab| run(lab, kills, seed).with_context(|| format!("seed {seed}")));
    }
}

fn run(lab: &Lab, kills: u64, seed: u64) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let nginx = Nginx::start(lab, &lab.host("origin")?)?;
    let host = lab.host("a")?;
    let mut node = Node::new(lab, &host, &["transfer.time_slice = \"1s\""])?;
    node.start()?;
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        let name = format!("file-{number}");
        let blob = Blob::new(number, SIZE);
        blob.write(nginx.root(), &name)?;
        let url = nginx.url(&format!("slow/{name}"));
        let job = node.get_with(&url, &name, &["--detach"])?;
        jobs.push((job["id"].as_str().context("an id")?.to_owned(), name, blob));
    }
    let mut in_the_middle = 0;
    for _ in 0..kills {
        // The moment is random, so this waits for a time and for nothing else.
        thread::sleep(Duration::from_millis(rng.u64(..LONGEST)));
        in_the_middle += u64::from(is_busy(&node)?);
        node.kill()?;
        node.start()?;
    }
    ensure!(
        in_the_middle > 0,
        "nothing was ever on its way when it was killed"
    );
    for (id, name, blob) in &jobs {
        let job = node.await_job(id, &["acknowledged", "error"], Duration::from_secs(120))?;
        ensure!(job["state"] == "acknowledged", "{job}");
        blob.check(&node.downloaded(name)?)?;
        ensure!(bytes_of(&job, "bytes_total")? == SIZE as u64, "{job}");
        let sum = ["bytes_from_peers", "bytes_from_origin", "bytes_from_cache"];
        let sum: Result<u64> = sum.iter().map(|key| bytes_of(&job, key)).sum();
        ensure!(sum? == SIZE as u64, "{job}");
    }
    // The log knows of an answer when it has ended.
    let mut sent = 0;
    poll(
        Duration::from_secs(10),
        "all that was sent to be in the log",
        || {
            sent = nginx.body_bytes_since(0)?;
            Ok(sent >= JOBS * SIZE as u64)
        },
    )?;
    let again = sent - JOBS * SIZE as u64;
    // Of each connection the piece that was on its way.
    let most = kills * CONNECTIONS * PIECE;
    eprintln!("{kills} kills, {in_the_middle} of them in the middle: {again} bytes sent twice");
    ensure!(
        again <= most,
        "{again} bytes were sent twice, more than {most}"
    );
    Ok(())
}

fn is_busy(node: &Node) -> Result<bool> {
    let jobs = node.json(&["job", "list"])?;
    let jobs = jobs.as_array().context("an array")?;
    Ok(jobs.iter().any(|job| job["state"] == "transferring"))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
