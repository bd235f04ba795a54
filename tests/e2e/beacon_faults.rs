//! A host that floods the beacon's group drives nobody off the peer list, and keeps
//! nobody from finding the others.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use potluck_tests::{Host, Lab, Node, circle, until};
use serde_json::Value;

const GROUP: &str = "239.255.73.81:7383";
/// Datagrams a second.
const RATE: u64 = 50_000;

mod needs_namespaces {
    use super::*;

    #[test]
    fn a_flood_drives_nobody_away() {
        Lab::run_in_namespaces(|lab| {
            let mut nodes = circle(lab, &["one", "two"], &[])?;
            let mut late = Node::new(lab, &lab.host("late")?, &[])?;
            late.start()?;
            late.join(&nodes[0].invite()?)?;
            // Each of the two sees it come and go.
            for node in &nodes {
                node.await_peers(2)?;
            }
            late.stop()?;
            for node in &nodes {
                node.await_peers(1)?;
            }
            let before = cpu_time(nodes[0].daemon()?.pid())?;

            let flood = Flood::start(&lab.host("enemy")?)?;
            let began = Instant::now();
            until(Duration::from_secs(20), "the flood to be counted", || {
                let beacon = beacon(&nodes[0])?;
                Ok((count(&beacon, "flooded")? > 10_000).then_some(()))
            })?;
            // Found while it lasts.
            late.start()?;
            nodes[0].await_peers(2)?;
            nodes[1].await_peers(2)?;
            late.await_peers(2)?;
            let (took, sent) = (began.elapsed(), flood.stop());
            let spent = cpu_time(nodes[0].daemon()?.pid())? - before;
            println!("{sent} datagrams in {took:?} cost a node {spent:?} of processor time");

            for node in &nodes {
                let events = node.json_lines(&["events"])?;
                let removed = events
                    .iter()
                    .filter(|event| event["kind"] == "peer_removed");
                let removed: Vec<&Value> = removed.collect();
                ensure!(removed.len() == 1, "one stopped, and left: {removed:?}");
                let beacon = beacon(node)?;
                // The enemy's share was opened, and no more.
                ensure!(
                    count(&beacon, "foreign")? < count(&beacon, "flooded")?,
                    "{beacon}"
                );
            }
            Ok(())
        });
    }
}

fn beacon(node: &Node) -> Result<Value> {
    Ok(node.json(&["stats"])?["beacon"].clone())
}

fn count(beacon: &Value, name: &str) -> Result<u64> {
    beacon[name]
        .as_u64()
        .with_context(|| format!("no {name} in {beacon}"))
}

/// The time that a process has had the processor for.
fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("a name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // utime and stime of proc_pid_stat(5), in hundredths of a second.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Datagrams in the form of beacons from one host.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Flood {
    fn start(host: &Host) -> Result<Self> {
        host.ip(&["route", "add", "224.0.0.0/4", "dev", Host::INTERFACE])?;
        let flood = Self {
            stop: Arc::default(),
            sent: Arc::default(),
        };
        let (stop, sent) = (Arc::clone(&flood.stop), Arc::clone(&flood.sent));
        host.spawn(move || -> Result<()> {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            let mut datagram = [0x55; 140];
            datagram[..4].copy_from_slice(b"PLB\x01");
            let began = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let due = RATE * began.elapsed().as_millis() as u64 / 1000;
                while sent.load(Ordering::Relaxed) < due {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    datagram[4..12].copy_from_slice(&number.to_le_bytes());
                    // A full buffer is a lost datagram.
                    let _ = socket.send_to(&datagram, GROUP);
                }
                std::thread::yield_now();
            }
            Ok(())
        })?;
        Ok(flood)
    }

    /// Ends it; gives back how many datagrams were sent.
    fn stop(&self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
