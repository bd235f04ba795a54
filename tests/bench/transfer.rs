//! One peer to one peer over an unlimited veth, verified, beside `curl` from nginx
//! over TLS 1.3 on the same veth. Run by `tests/bench/run`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use potluck_tests::{Cost, Lab, Nginx, Node, big_file, bytes_of, children_cpu, start_circle};

const GIB: f64 = (1 << 30) as f64;
const ROUNDS: usize = 5;

/// One way to move the file, and what it took each time.
struct Row {
    name: &'static str,
    runs: Vec<(Duration, Duration)>,
}

fn main() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let nginx = Nginx::start(&lab, &a)?;
    let size = big_file(nginx.root(), "big.bin")?;
    let settings = ["profile = \"lan\"", "cache.max_size = \"40 GiB\""];
    let mut circle = vec![
        Node::new(&lab, &a, &settings)?,
        Node::new(&lab, &b, &settings)?,
    ];
    start_circle(&lab, &mut circle)?;
    let (giver, taker) = circle.split_at_mut(1);
    let (giver, taker) = (&mut giver[0], &mut taker[0]);
    giver.get(&nginx.url("big.bin"), "big.bin")?;
    std::fs::remove_file(giver.downloaded("big.bin")?)?;

    let mut rows = [
        Row {
            name: "curl, nginx, TLS 1.3, to nowhere",
            runs: Vec::new(),
        },
        Row {
            name: "curl, nginx, TLS 1.3, to disk",
            runs: Vec::new(),
        },
        Row {
            name: "potluck get, verified, to disk",
            runs: Vec::new(),
        },
    ];
    // Interleaved, so that what else the machine does is spread over all of them.
    for round in 0..ROUNDS {
        let to_disk = lab.dir().join("curl.bin");
        rows[0].runs.push(curl(&nginx, &b, Path::new("/dev/null"))?);
        rows[1].runs.push(curl(&nginx, &b, &to_disk)?);
        std::fs::remove_file(&to_disk)?;
        rows[2]
            .runs
            .push(potluck(&nginx, giver, taker, size, round)?);
    }

    println!(
        "{} MiB, {ROUNDS} rounds, median; processor seconds of both ends\n",
        size >> 20
    );
    println!("| way | GiB/s | cpu s/GiB | seconds |");
    println!("|---|---|---|---|");
    for row in &mut rows {
        row.runs.sort_unstable();
        let (wall, _) = row.runs[ROUNDS / 2];
        let mut cpu: Vec<Duration> = row.runs.iter().map(|run| run.1).collect();
        cpu.sort_unstable();
        let (gib, seconds) = (size as f64 / GIB, wall.as_secs_f64());
        println!(
            "| {} | {:.2} | {:.2} | {seconds:.2} |",
            row.name,
            gib / seconds,
            cpu[ROUNDS / 2].as_secs_f64() / gib
        );
    }
    Ok(())
}

fn curl(nginx: &Nginx, host: &potluck_tests::Host, to: &Path) -> Result<(Duration, Duration)> {
    let (server, children) = (Cost::of(nginx.pid())?, children_cpu()?);
    let start = Instant::now();
    let mut command: Command = host.command("curl");
    command
        .args(["-sf", "--tlsv1.3", "--cacert"])
        .arg(nginx.ca())
        .arg("-o")
        .arg(to);
    let status = command.arg(nginx.https_url("big.bin")).status()?;
    let wall = start.elapsed();
    ensure!(status.success(), "curl: {status}");
    let cpu = Cost::of(nginx.pid())?.since(server).cpu + children_cpu()?.saturating_sub(children);
    Ok((wall, cpu))
}

fn potluck(
    nginx: &Nginx,
    giver: &mut Node,
    taker: &mut Node,
    size: u64,
    round: usize,
) -> Result<(Duration, Duration)> {
    let (from, to) = (giver.daemon()?.pid(), taker.daemon()?.pid());
    let before = (Cost::of(from)?, Cost::of(to)?, children_cpu()?);
    let name = format!("big-{round}.bin");
    let start = Instant::now();
    let job = taker.get(&nginx.url("big.bin"), &name)?;
    let wall = start.elapsed();
    ensure!(bytes_of(&job, "bytes_from_peers")? == size, "{job}");
    let cpu = Cost::of(from)?.since(before.0).cpu
        + Cost::of(to)?.since(before.1).cpu
        + children_cpu()?.saturating_sub(before.2);
    std::fs::remove_file(taker.downloaded(&name)?)?;
    forget(taker)?;
    Ok((wall, cpu))
}

/// Leaves the taker with nothing but its place in the domain, for the next round.
fn forget(taker: &mut Node) -> Result<()> {
    taker.stop()?;
    for entry in std::fs::read_dir(taker.data_dir())? {
        let entry = entry?;
        let keep = ["identity", "domain"]
            .iter()
            .any(|name| entry.file_name() == *name);
        if !keep && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else if !keep {
            std::fs::remove_file(entry.path())?;
        }
    }
    taker.start()?;
    taker.await_peers(1).map(drop)
}
