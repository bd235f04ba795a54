//! Thirty nodes of one domain on one subnet: how long from the start to the first
//! authenticated peer and to a full list, and what a node costs at rest. In the same
//! run, thirty nodes that find each other by libp2p's own mDNS (`mdns_node.rs`). Run by
//! `tests/bench/run`.

mod mdns_node;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use potluck_tests::{Cost, Counters, Host, Lab, Node, Process, until};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const NODES: usize = 30;
/// A node looks for so many peers: three quarters of those that it takes.
const FULL: usize = 24;
const ROUNDS: usize = 3;
const REST: Duration = Duration::from_secs(60);
/// libp2p's mDNS asks once in so long, by default.
const MDNS_INTERVAL: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(60);
const MDNS_LIMIT: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("mdns") {
        return mdns_node::run(args.next().context("how many others")?.parse()?);
    }
    let lab = Lab::with_namespaces()?;
    let hosts: Vec<Host> = (0..NODES)
        .map(|number| lab.host(&format!("n{number}")))
        .collect::<Result<_>>()?;
    let mut nodes = domain(&lab, &hosts)?;
    println!("{NODES} nodes, {ROUNDS} rounds; {}\n", load()?);
    println!(
        "| start | first peer, ms: median / slowest | full list, ms: median / slowest | packets received per node | bytes received per node |"
    );
    println!("|---|---|---|---|---|");
    for _ in 0..ROUNDS {
        together(&hosts, &mut nodes)?;
        one_by_one(&mut nodes)?;
        stop(&mut nodes)?;
    }
    together(&hosts, &mut nodes)?;
    let pids = nodes.iter_mut().map(|node| Ok(node.daemon()?.pid()));
    let potluck = rest(&hosts, &pids.collect::<Result<Vec<_>>>()?, REST)?;
    stop(&mut nodes)?;
    let mut others = Vec::new();
    for _ in 0..ROUNDS {
        // Those of the round before end first.
        others.clear();
        others = mdns(&lab, &hosts)?;
    }
    let pids: Vec<u32> = others.iter().map(Process::pid).collect();
    let mdns = rest(&hosts, &pids, MDNS_INTERVAL)?;
    println!("\nat rest, per node and second; {}\n", load()?);
    println!(
        "| way | over s | packets received | bytes received | packets sent | cpu ms in a minute |"
    );
    println!("|---|---|---|---|---|---|");
    print_rest("Potluck, peer list, pings and beacons", &potluck, REST);
    print_rest("libp2p's mDNS, no connections", &mdns, MDNS_INTERVAL);
    Ok(())
}

/// All nodes of one domain, stopped.
fn domain(lab: &Lab, hosts: &[Host]) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for host in hosts {
        let mut node = Node::new(lab, host, &["profile = \"lan\""])?;
        node.start()?;
        nodes.push(node);
    }
    let (first, rest) = nodes.split_first().context("thirty nodes")?;
    first.create_domain("lab")?;
    for node in rest {
        node.join(&first.invite()?)?;
    }
    stop(&mut nodes)?;
    Ok(nodes)
}

fn stop(nodes: &mut [Node]) -> Result<()> {
    nodes.iter_mut().try_for_each(Node::stop)
}

/// All start at once: what is switched on together shares the processors here.
fn together(hosts: &[Host], nodes: &mut [Node]) -> Result<()> {
    let before = counters(hosts)?;
    let mut begun = Vec::new();
    for node in nodes.iter_mut() {
        begun.push((SystemTime::now(), log_length(node)?));
        node.spawn()?;
    }
    let mut times = Vec::new();
    for (node, (began, from)) in nodes.iter_mut().zip(begun) {
        times.push(peers_since(node, began, from)?);
    }
    print_times("all at once", &times, &before, &counters(hosts)?);
    Ok(())
}

/// One node after the other comes to the others that are there.
fn one_by_one(nodes: &mut [Node]) -> Result<()> {
    let mut times = Vec::new();
    for node in nodes.iter_mut() {
        node.stop()?;
        let (began, from) = (SystemTime::now(), log_length(node)?);
        node.spawn()?;
        times.push(peers_since(node, began, from)?);
    }
    print_times("one comes to 29", &times, &[], &[]);
    Ok(())
}

fn log_length(node: &Node) -> Result<usize> {
    let log = node.daemon_log();
    Ok(std::fs::read_to_string(log).map_or(0, |log| log.len()))
}

/// When the first peer was on the list, and when the list was full: as the log says.
fn peers_since(node: &Node, began: SystemTime, from: usize) -> Result<(Duration, Duration)> {
    let log = node.daemon_log();
    let added = until(LIMIT, "a full list", || {
        let added = added_since(&log, from)?;
        Ok((added.len() >= FULL).then_some(added))
    })?;
    Ok((
        added[0].duration_since(began)?,
        added[FULL - 1].duration_since(began)?,
    ))
}

fn added_since(log: &Path, from: usize) -> Result<Vec<SystemTime>> {
    let log = std::fs::read_to_string(log)?;
    let lines = log.get(from..).unwrap_or_default().lines();
    let added = lines.filter(|line| line.contains("peer added"));
    added
        .map(|line| {
            let time = line.split_whitespace().next().unwrap_or_default();
            let time = OffsetDateTime::parse(time, &Rfc3339).with_context(|| line.to_owned())?;
            Ok(time.into())
        })
        .collect()
}

/// Starts all mDNS nodes at once, and waits until each found all the others.
fn mdns(lab: &Lab, hosts: &[Host]) -> Result<Vec<Process>> {
    let own = std::env::current_exe()?;
    let before = counters(hosts)?;
    let (mut nodes, mut begun) = (Vec::new(), Vec::new());
    for host in hosts {
        let mut command = host.command(&own);
        command.arg("mdns").arg((NODES - 1).to_string());
        let log = lab.dir().join(format!("mdns-{}.log", host.name()));
        let _ = std::fs::remove_file(&log);
        begun.push(SystemTime::now());
        nodes.push(Process::start(command, &log)?);
    }
    // One that has found somebody does not ask again for five minutes, so it may miss
    // others for as long.
    let deadline = Instant::now() + MDNS_LIMIT;
    until(MDNS_LIMIT * 2, "all mDNS nodes", || {
        let done = nodes.iter().all(|node| node.output().contains("all "));
        Ok((done || Instant::now() >= deadline).then_some(()))
    })?;
    let mut times = Vec::new();
    for (node, began) in nodes.iter().zip(begun) {
        let said = node.output();
        let at = |what: &str| -> Result<Option<Duration>> {
            let micros = said.lines().find_map(|line| line.strip_prefix(what));
            let Some(micros) = micros else {
                return Ok(None);
            };
            let at = UNIX_EPOCH + Duration::from_micros(micros.trim().parse()?);
            Ok(Some(at.duration_since(began)?))
        };
        if let (Some(first), Some(all)) = (at("first")?, at("all")?) {
            times.push((first, all));
        }
    }
    let never = nodes.len() - times.len();
    let what = format!("libp2p's mDNS, all at once, found but not called; {never} not all");
    print_times(&what, &times, &before, &counters(hosts)?);
    Ok(nodes)
}

fn counters(hosts: &[Host]) -> Result<Vec<Counters>> {
    hosts.iter().map(Host::counters).collect()
}

fn sum(before: &[Counters], after: &[Counters]) -> Counters {
    let pairs = before.iter().zip(after);
    pairs.fold(Counters::default(), |sum, (before, after)| {
        let more = after.since(*before);
        Counters {
            received: sum.received + more.received,
            packets_received: sum.packets_received + more.packets_received,
            sent: sum.sent + more.sent,
            packets_sent: sum.packets_sent + more.packets_sent,
        }
    })
}

/// What all nodes got, sent and computed while nothing happened.
fn rest(hosts: &[Host], pids: &[u32], time: Duration) -> Result<(Counters, Duration)> {
    // What the start left to do is over by then.
    pause(Duration::from_secs(15))?;
    let costs = || {
        pids.iter()
            .map(|pid| Cost::of(*pid))
            .collect::<Result<Vec<_>>>()
    };
    let (links, before) = (counters(hosts)?, costs()?);
    pause(time)?;
    let (after, now) = (costs()?, counters(hosts)?);
    let cpu = before
        .iter()
        .zip(after)
        .map(|(before, after)| after.since(*before).cpu);
    Ok((sum(&links, &now), cpu.sum()))
}

fn pause(time: Duration) -> Result<()> {
    let start = Instant::now();
    until(time * 2, "the end of the rest", || {
        Ok((start.elapsed() >= time).then_some(()))
    })
}

fn print_times(
    what: &str,
    times: &[(Duration, Duration)],
    before: &[Counters],
    after: &[Counters],
) {
    let of = |pick: fn(&(Duration, Duration)) -> Duration| {
        let mut times: Vec<Duration> = times.iter().map(pick).collect();
        times.sort_unstable();
        let slowest = times.last().map_or(0, Duration::as_millis);
        let median = times.get(times.len() / 2).map_or(0, Duration::as_millis);
        format!("{median} / {slowest}")
    };
    let (first, full) = (of(|times| times.0), of(|times| times.1));
    let traffic = sum(before, after);
    let (packets, bytes) = match before.len() as u64 {
        0 => ("".to_owned(), "".to_owned()),
        count => (
            (traffic.packets_received / count).to_string(),
            (traffic.received / count).to_string(),
        ),
    };
    println!("| {what} | {first} | {full} | {packets} | {bytes} |");
}

fn print_rest(what: &str, (traffic, cpu): &(Counters, Duration), time: Duration) {
    let per = |count: u64| count as f64 / NODES as f64 / time.as_secs_f64();
    println!(
        "| {what} | {} | {:.2} | {:.0} | {:.2} | {:.1} |",
        time.as_secs(),
        per(traffic.packets_received),
        per(traffic.received),
        per(traffic.packets_sent),
        cpu.as_secs_f64() * 1e3 / NODES as f64 * 60.0 / time.as_secs_f64(),
    );
}

/// How busy the machine was before.
fn load() -> Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(format!("load average {load}").trim().to_owned())
}
