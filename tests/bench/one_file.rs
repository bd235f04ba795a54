//! One file of 1 GiB from nginx over TLS with `potluck get`, beside `curl` to the same
//! disk in the same rounds. Run by `tests/bench/run`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use potluck_tests::{Cost, Host, Lab, Nginx, Node, bytes_of, children_cpu, file_of};

const GIB: f64 = (1 << 30) as f64;
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let (origin, host) = (lab.host("origin")?, lab.host("a")?);
    let nginx = Nginx::start(&lab, &origin)?;
    let size = 1 << 30;
    file_of(size, nginx.root(), "big.bin")?;
    let trust = format!("transfer.ca_files = [\"{}\"]", nginx.ca().display());
    let mut node = Node::new(&lab, &host, &[&trust])?;
    let mut rows = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        let to = lab.dir().join("curl.bin");
        rows[0].push(curl(&nginx, &host, &to, false)?);
        rows[1].push(curl(&nginx, &host, &to, true)?);
        for (row, max_size) in [(2, "40 GiB"), (3, "64 MiB")] {
            node.set(&format!("cache.max_size = \"{max_size}\""));
            node.start()?;
            rows[row].push(get(&nginx, &mut node, size)?);
            node.stop()?;
            // The next one knows nothing of the file.
            fs::remove_dir_all(node.data_dir())?;
        }
    }
    println!(
        "{} MiB, {ROUNDS} rounds, median; processor seconds of both ends\n",
        size >> 20
    );
    println!("| way | GiB/s | cpu s/GiB | seconds | of curl's rate |");
    println!("|---|---|---|---|---|");
    let ways = [
        "curl",
        "curl, then sync of the file",
        "potluck get, into the cache and in its place",
        "potluck get, too large for the cache",
    ];
    let gib = size as f64 / GIB;
    let mut curl = None;
    for (way, runs) in ways.iter().zip(rows) {
        let (wall, cpu) = (median(&runs, |run| run.0), median(&runs, |run| run.1));
        let curl = *curl.get_or_insert(wall);
        println!(
            "| {way} | {:.2} | {:.2} | {wall:.2} | {:.2} |",
            gib / wall,
            cpu / gib,
            curl / wall
        );
    }
    Ok(())
}

type Run = (Duration, Duration);

fn curl(nginx: &Nginx, host: &Host, to: &Path, sync: bool) -> Result<Run> {
    let (server, children) = (Cost::of(nginx.pid())?, children_cpu()?);
    let start = Instant::now();
    let mut command = host.command("curl");
    command
        .args(["-sf", "--tlsv1.3", "--cacert"])
        .arg(nginx.ca());
    command.arg("-o").arg(to);
    let status = command.arg(nginx.https_url("big.bin")).status()?;
    if sync {
        fs::File::open(to)?.sync_all()?;
    }
    let wall = start.elapsed();
    ensure!(status.success(), "curl: {status}");
    fs::remove_file(to)?;
    let cpu = Cost::of(nginx.pid())?.since(server).cpu + children_cpu()?.saturating_sub(children);
    Ok((wall, cpu))
}

fn get(nginx: &Nginx, node: &mut Node, size: u64) -> Result<Run> {
    let daemon = node.daemon()?.pid();
    let before = (Cost::of(daemon)?, Cost::of(nginx.pid())?, children_cpu()?);
    let start = Instant::now();
    let job = node.get(&nginx.https_url("big.bin"), "big.bin")?;
    let wall = start.elapsed();
    ensure!(bytes_of(&job, "bytes_from_origin")? == size, "{job}");
    let cpu = Cost::of(daemon)?.since(before.0).cpu
        + Cost::of(nginx.pid())?.since(before.1).cpu
        + children_cpu()?.saturating_sub(before.2);
    fs::remove_file(node.downloaded("big.bin")?)?;
    Ok((wall, cpu))
}

fn median(runs: &[Run], of: impl Fn(&Run) -> Duration) -> f64 {
    let mut values: Vec<Duration> = runs.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2].as_secs_f64()
}
