//! The numbers that scripts read: their names, and that they agree with each other
//! and with what crossed the wire.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, bytes_of, circle, until};
use serde_json::Value;

const SIZE: usize = 10 << 20;

const JOB: [&str; 15] = [
    "id",
    "name",
    "type",
    "priority",
    "state",
    "owner",
    "created",
    "error",
    "bytes_total",
    "bytes_transferred",
    "bytes_from_peers",
    "bytes_from_origin",
    "bytes_from_cache",
    "bytes_discarded",
    "files",
];
const FILE: [&str; 11] = [
    "url",
    "path",
    "bytes_total",
    "bytes_transferred",
    "bytes_from_peers",
    "bytes_from_origin",
    "bytes_from_cache",
    "bytes_discarded",
    "content_id",
    "validator",
    "error",
];
const STATS: [&str; 8] = [
    "bytes_from_peers",
    "bytes_from_origin",
    "bytes_from_cache",
    "bytes_discarded",
    "bytes_served",
    "jobs_completed",
    "peers",
    "since",
];
const PEER: [&str; 7] = [
    "id",
    "name",
    "address",
    "state",
    "certificate_expires",
    "bytes_from",
    "bytes_to",
];
const EVENT: [&str; 5] = ["time", "id", "kind", "job", "fields"];
const STOPPED: [&str; 6] = [
    "url",
    "bytes_total",
    "bytes_transferred",
    "bytes_from_peers",
    "bytes_from_origin",
    "status",
];

mod needs_nginx {
    use super::*;

    #[test]
    fn documents_have_their_fields_and_agree() {
        Lab::run(|lab| agree(lab).map(drop));
    }
}

mod needs_nginx_namespaces {
    use super::*;

    #[test]
    fn the_wire_says_the_same() {
        Lab::run_in_namespaces(|lab| {
            let (sent, received) = agree(lab)?;
            let size = SIZE as f64;
            // TLS adds 22 bytes to 16 KiB; heads, handshakes and control come on top,
            // and now and then TCP sends a segment twice.
            for (what, bytes) in [("sent by a", sent), ("received by b", received)] {
                let more = bytes as f64 / size - 1.0;
                ensure!(
                    (0.0..0.05).contains(&more),
                    "{what}: {bytes} bytes for {size}"
                );
            }
            Ok(())
        });
    }
}

/// Payload bytes that the giver sent and the taker received, where they are counted.
fn agree(lab: &Lab) -> Result<(u64, u64)> {
    let nginx = Nginx::start(lab, &lab.host("origin")?)?;
    let blob = Blob::new(1, SIZE);
    blob.write(nginx.root(), "file.bin")?;
    let url = nginx.url("file.bin");
    let circle = circle(lab, &["a", "b"], &["profile = \"lan\""])?;
    let (a, b) = (&circle[0], &circle[1]);
    a.get(&url, "file.bin")?;

    let count = || -> Result<_> {
        Ok((
            a.host().counters().unwrap_or_default(),
            b.host().counters().unwrap_or_default(),
        ))
    };
    let before = count()?;
    let job = b.get(&url, "file.bin")?;
    let after = count()?;

    has(&job, &JOB)?;
    has(&job["files"][0], &FILE)?;
    ensure!(
        job["type"] == "download" && job["priority"].is_string(),
        "{job}"
    );
    ensure!(
        job["owner"]
            .as_str()
            .is_some_and(|owner| owner.starts_with("uid:")),
        "{job}"
    );
    ensure!(job["state"] == "acknowledged", "{job}");
    ensure!(
        job["error"].is_null() && job["files"][0]["error"].is_null(),
        "{job}"
    );
    for key in ["bytes_total", "bytes_transferred", "bytes_from_peers"] {
        ensure!(bytes_of(&job, key)? == SIZE as u64, "{key}: {job}");
        ensure!(job["files"][0][key] == job[key], "{key}: {job}");
    }
    let id = job["id"].as_str().context("an id")?;
    let shown = b.json(&["job", "show", id])?;
    ensure!(
        shown["bytes_from_peers"] == job["bytes_from_peers"],
        "{shown}"
    );
    let list = b.json(&["job", "list", "--all"])?;
    let listed = list
        .as_array()
        .context("an array")?
        .iter()
        .any(|job| job["id"] == id);
    ensure!(listed, "{list}");

    let stats = b.json(&["stats"])?;
    has(&stats, &STATS)?;
    ensure!(
        bytes_of(&stats, "bytes_from_peers")? == SIZE as u64,
        "{stats}"
    );
    ensure!(bytes_of(&stats, "bytes_from_origin")? == 0, "{stats}");
    ensure!(bytes_of(&stats, "jobs_completed")? == 1, "{stats}");
    ensure!(stats["peers"] == 1, "{stats}");
    // A node notices the end of what it sent a moment after the taker does.
    let served = until(
        Duration::from_secs(5),
        "the last byte to be counted as served",
        || {
            let stats = a.json(&["stats"])?;
            Ok((bytes_of(&stats, "bytes_served")? >= SIZE as u64).then_some(stats))
        },
    )?;
    ensure!(
        bytes_of(&served, "bytes_served")? == SIZE as u64,
        "{served}"
    );
    ensure!(
        bytes_of(&served, "bytes_from_origin")? == SIZE as u64,
        "{served}"
    );

    for (node, key) in [(a, "bytes_to"), (b, "bytes_from")] {
        let peers = node.json(&["peers"])?;
        has(&peers[0], &PEER)?;
        ensure!(bytes_of(&peers[0], key)? == SIZE as u64, "{key}: {peers}");
    }

    let events = b.json_lines(&["events"])?;
    ensure!(!events.is_empty());
    for event in &events {
        has(event, &EVENT)?;
    }
    let stopped = events
        .iter()
        .find(|event| event["kind"] == "transfer_stopped" && event["job"] == id)
        .with_context(|| format!("no end of the transfer in {events:?}"))?;
    has(&stopped["fields"], &STOPPED)?;
    ensure!(stopped["fields"]["url"] == url.as_str(), "{stopped}");
    ensure!(
        bytes_of(&stopped["fields"], "bytes_from_peers")? == SIZE as u64,
        "{stopped}"
    );
    Ok((
        after.0.since(before.0).payload_sent(),
        after.1.since(before.1).payload_received(),
    ))
}

fn has(document: &Value, keys: &[&str]) -> Result<()> {
    let object = document
        .as_object()
        .with_context(|| format!("no object: {document}"))?;
    for key in keys {
        ensure!(object.contains_key(*key), "no {key} in {document}");
    }
    Ok(())
}
