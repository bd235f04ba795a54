//! Certificates that live for a minute renew themselves under transfers that never end.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of};
use serde_json::Value;

/// How long a certificate lives; it is renewed after two thirds of it.
const LIFE: Duration = Duration::from_secs(60);
/// How long files are fetched: `POTLUCK_LONG` makes it five minutes.
const SHORT: Duration = Duration::from_secs(130);
const LONG: Duration = Duration::from_secs(300);
const SIZE: usize = 4 << 20;

/// How many events there are of each kind, with the peer or reason where there is one.
fn events(node: &Node) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in node.json_lines(&["events"])? {
        let kind = event["kind"].as_str().context("a kind")?.to_owned();
        kinds.entry(kind).or_default().push(event);
    }
    Ok(kinds)
}

/// The peers of `node` that left its list since they came.
fn lost(node: &Node) -> Result<Vec<Value>> {
    Ok(events(node)?.remove("peer_removed").unwrap_or_default())
}

mod needs_nginx_namespaces {
    use super::*;

    #[test]
    fn no_job_fails_and_no_peer_is_lost() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            // Slow enough that there is always a transfer under way, and peers alone.
            let settings = [
                "peering.max_bandwidth_served = \"10 Mbps\"",
                "peering.min_peer_rate = \"0 KB/s\"",
            ];
            let mut authority = Node::new(lab, &lab.host("authority")?, &settings)?;
            authority.start()?;
            let life = format!("{}s", LIFE.as_secs());
            authority.ok(&["domain", "create", "lab", "--certificate-lifetime", &life])?;
            let mut members = Vec::new();
            for name in ["giver", "taker"] {
                let mut member = Node::new(lab, &lab.host(name)?, &settings)?;
                member.start()?;
                member.join(&authority.invite()?)?;
                members.push(member);
            }
            let (giver, taker) = (&members[0], &members[1]);
            giver.await_peers(2)?;
            taker.await_peers(2)?;

            let time = match std::env::var_os("POTLUCK_LONG") {
                Some(_) => LONG,
                None => SHORT,
            };
            let start = Instant::now();
            thread::scope(|scope| {
                // For half of a life nobody is there who could renew anything: exactly so
                // long, whatever a file takes.
                let (over, wait) = mpsc::sync_channel::<()>(0);
                let authority = &mut authority;
                let away = scope.spawn(move || {
                    thread::sleep(LIFE / 3);
                    authority.stop()?;
                    thread::sleep(LIFE / 2);
                    let started = authority.start();
                    // A daemon ends with the thread that started it.
                    let _ = wait.recv();
                    started
                });
                let mut number = 0;
                while start.elapsed() < time {
                    let name = format!("{number}.bin");
                    let blob = Blob::new(number, SIZE);
                    blob.write(nginx.root(), &name)?;
                    giver.get(&nginx.url(&name), &name)?;
                    let job = taker.get(&nginx.url(&name), &name)?;
                    ensure!(
                        bytes_of(&job, "bytes_from_peers")? == SIZE as u64,
                        "after {:?}: {job}",
                        start.elapsed()
                    );
                    blob.check(&taker.downloaded(&name)?)?;
                    number += 1;
                }
                drop(over);
                away.join().map_err(|_| anyhow!("a thread panicked"))?
            })?;
            let at_least = (time.as_secs() / LIFE.as_secs()) as usize;
            let giver_id = giver.json(&["domain", "show"])?["peer_id"].clone();
            for member in &members {
                let renewed = events(member)?.remove("certificate_renewed");
                let renewed = renewed.unwrap_or_default().len();
                ensure!(renewed >= at_least, "{renewed} renewals in {time:?}");
            }
            let lost = lost(taker)?;
            ensure!(
                lost.iter().all(|event| event["fields"]["id"] != giver_id),
                "{lost:#?}"
            );
            Ok(())
        });
    }
}
