//! A revoked node is out within seconds, everywhere and for good.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, poll, start_circle, until};
use serde_json::Value;

/// How soon everybody on a live subnet acts upon a revocation.
const EVERYWHERE: Duration = Duration::from_secs(5);
/// At 10 Mbit/s this takes ten seconds: time for something to happen in the middle.
const SIZE: usize = 12 << 20;
const NAMES: [&str; 10] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "lost"];
const SETTINGS: [&str; 2] = [
    "peering.max_bandwidth_served = \"10 Mbps\"",
    "peering.min_peer_rate = \"0 KB/s\"",
];

/// Whether `node` lists a peer of this name.
fn lists(node: &Node, name: &str) -> Result<bool> {
    let peers = node.json(&["peers"])?;
    let peers = peers.as_array().context("peers is an array")?;
    Ok(peers.iter().any(|peer| peer["name"] == name))
}

/// Whether `node` has turned somebody of this id away for being revoked.
fn has_refused(node: &Node, id: &Value) -> Result<bool> {
    let rejected = node.json(&["peers", "--rejected"])?;
    let rejected = rejected.as_array().context("rejected is an array")?;
    let revoked = |entry: &Value| {
        let reason = entry["reason"].as_str().unwrap_or_default();
        entry["id"] == *id && reason.contains("revoked")
    };
    Ok(rejected.iter().any(revoked))
}

/// Begins to get a file, and waits until some of it has come from a peer.
fn begin(node: &Node, url: &str, name: &str) -> Result<String> {
    let job = node.get_with(url, name, &["--detach"])?;
    let id = job["id"].as_str().context("a detached job has an id")?;
    until(Duration::from_secs(30), "some bytes from a peer", || {
        let job = node.json(&["job", "show", id])?;
        Ok((bytes_of(&job, "bytes_from_peers")? > 1 << 20).then_some(()))
    })?;
    Ok(id.to_owned())
}

/// The job ends well, with a part from peers and the rest from the origin.
fn ends_well(node: &Node, job: &str, blob: &Blob, name: &str) -> Result<()> {
    let done = node.await_job(job, &["acknowledged", "error"], Duration::from_secs(60))?;
    ensure!(done["state"] == "acknowledged", "{done}");
    let (peers, origin) = (
        bytes_of(&done, "bytes_from_peers")?,
        bytes_of(&done, "bytes_from_origin")?,
    );
    ensure!(peers > 0 && origin > 0, "it was no middle: {done}");
    ensure!(peers + origin == SIZE as u64, "{done}");
    blob.check(&node.downloaded(name)?)
}

mod needs_nginx_namespaces {
    use super::*;

    #[test]
    fn one_of_ten_in_the_middle_of_a_download() {
        Lab::run_in_namespaces(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let (taken, given) = (Blob::new(1, SIZE), Blob::new(2, SIZE));
            taken.write(nginx.root(), "taken.bin")?;
            given.write(nginx.root(), "given.bin")?;
            let mut nodes = Vec::new();
            for name in NAMES {
                let mut node = Node::new(lab, &lab.host(name)?, &SETTINGS)?;
                node.set(&format!("peering.node_name = \"{name}\""));
                nodes.push(node);
            }
            start_circle(lab, &mut nodes)?;
            let (lost, others) = nodes.split_last().context("ten nodes")?;
            let id = lost.json(&["domain", "show"])?["peer_id"].clone();

            // It takes from one of them and gives to another.
            others[1].get(&nginx.url("taken.bin"), "taken.bin")?;
            lost.get(&nginx.url("given.bin"), "given.bin")?;
            let taking = begin(lost, &nginx.url("taken.bin"), "taken.bin")?;
            let giving = begin(&others[2], &nginx.url("given.bin"), "given.bin")?;

            let revoke = ["domain", "revoke", "lost", "--reason", "left in a cab"];
            let revoked = others[0].json(&revoke)?;
            ensure!(revoked["id"] == id, "{revoked}");
            poll(EVERYWHERE, "everybody to drop the revoked node", || {
                for node in others {
                    let known = node.json(&["domain", "revoked"])?;
                    let said = known["nodes"][0]["reason"] == "left in a cab";
                    if !said || lists(node, "lost")? {
                        return Ok(false);
                    }
                }
                let left = lost.json(&["peers"])?;
                Ok(left.as_array().is_some_and(Vec::is_empty))
            })?;
            // The one that revoked was first to hear of it, so it turned the node away; the
            // node itself may have left the others before they heard.
            ensure!(has_refused(&others[0], &id)?, "no refusal is shown");
            let shown = lost.json(&["domain", "show"])?;
            let trouble = shown["trouble"].as_str().unwrap_or_default();
            ensure!(trouble.contains("was revoked"), "{shown}");

            ends_well(lost, &taking, &taken, "taken.bin")?;
            ends_well(&others[2], &giving, &given, "given.bin")?;
            stays_out(&mut nodes, &id)
        });
    }

    fn stays_out(nodes: &mut [Node], id: &Value) -> Result<()> {
        for node in nodes.iter_mut() {
            node.stop()?;
        }
        let lost = nodes.last().context("the revoked node")?;
        // As if it did not know, or did not want to.
        std::fs::remove_file(lost.data_dir().join("domain/revocations"))?;
        for node in nodes.iter_mut() {
            node.start()?;
        }
        let (lost, others) = nodes.split_last().context("ten nodes")?;
        for node in others {
            node.await_peers(NAMES.len() - 2)?;
        }
        poll(Duration::from_secs(30), "somebody to turn it away", || {
            for node in others {
                if has_refused(node, id)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        for node in others {
            ensure!(!lists(node, "lost")?, "{} lists it", node.host().name());
        }
        lost.await_peers(0).map(drop)
    }
}
