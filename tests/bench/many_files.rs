//! A thousand files of 10 KiB in one job from nginx over a veth, beside `curl --parallel`
//! and `aria2c` in the same rounds. Run by `tests/bench/run`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use potluck_tests::{Blob, Host, Lab, Nginx, Node, bytes_of};

const FILES: u64 = 1_000;
const SIZE: usize = 10 << 10;
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let lab = Lab::with_namespaces()?;
    let (origin, host) = (lab.host("origin")?, lab.host("a")?);
    let nginx = Nginx::start(&lab, &origin)?;
    let mut node = Node::new(&lab, &host, &[])?;
    node.start()?;
    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        // New names: nothing is in any cache.
        let names: Vec<String> = (0..FILES)
            .map(|number| format!("{round}/{number}.bin"))
            .collect();
        for (number, name) in (0..).zip(&names) {
            Blob::new(round as u64 * FILES + number, SIZE).write(nginx.root(), name)?;
        }
        let urls: Vec<String> = names.iter().map(|name| nginx.url(name)).collect();
        let curl = lab.subdir(&format!("curl-{round}"))?;
        times[0].push(run(parallel_curl(&host, &urls, &curl)?, &curl)?);
        let aria2 = lab.subdir(&format!("aria2-{round}"))?;
        times[1].push(run(aria2c(&host, &urls, &aria2)?, &aria2)?);
        let potluck = lab.subdir(&format!("potluck-{round}"))?;
        times[2].push(get(&node, &urls, &potluck)?);
    }
    println!(
        "{FILES} files of {} KiB, {ROUNDS} rounds, median\n",
        SIZE >> 10
    );
    println!("| way | seconds | slowest | of aria2c's rate |");
    println!("|---|---|---|---|");
    for times in &mut times {
        times.sort_unstable();
    }
    let aria2 = times[1][ROUNDS / 2].as_secs_f64();
    let ways = [
        "curl --parallel --parallel-max 16",
        "aria2c -j16",
        "potluck get, one job, verified, synced",
    ];
    for (way, times) in ways.iter().zip(&times) {
        let median = times[ROUNDS / 2].as_secs_f64();
        println!(
            "| {way} | {median:.2} | {:.2} | {:.2} |",
            times[ROUNDS - 1].as_secs_f64(),
            aria2 / median
        );
    }
    Ok(())
}

fn parallel_curl(host: &Host, urls: &[String], dir: &Path) -> Result<Command> {
    let list = dir.with_extension("list");
    let lines: Vec<String> = urls
        .iter()
        .map(|url| format!("url = \"{url}\"\nremote-name\n"))
        .collect();
    fs::write(&list, lines.concat())?;
    let mut command = host.command("curl");
    command.args(["-sf", "--parallel", "--parallel-max", "16", "--output-dir"]);
    command.arg(dir).arg("--config").arg(list);
    Ok(command)
}

fn aria2c(host: &Host, urls: &[String], dir: &Path) -> Result<Command> {
    let list = dir.with_extension("list");
    fs::write(&list, urls.join("\n"))?;
    let mut command = host.command("aria2c");
    command.args(["-q", "-j16", "--no-conf", "-d"]).arg(dir);
    command.arg("-i").arg(list);
    Ok(command)
}

fn run(mut command: Command, dir: &Path) -> Result<Duration> {
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    check(dir)?;
    Ok(took)
}

fn get(node: &Node, urls: &[String], dir: &Path) -> Result<Duration> {
    let dir_name = dir.to_string_lossy();
    let mut args = vec!["get", "-d", &dir_name];
    args.extend(urls.iter().map(String::as_str));
    let start = Instant::now();
    let job = node.json(&args)?;
    let took = start.elapsed();
    ensure!(
        bytes_of(&job, "bytes_from_origin")? == FILES * SIZE as u64,
        "{job}"
    );
    check(dir)?;
    Ok(took)
}

fn check(dir: &Path) -> Result<()> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        ensure!(entry?.metadata()?.len() == SIZE as u64);
        files += 1;
    }
    ensure!(files == FILES, "{} has {files} files", dir.display());
    Ok(())
}
