//! The network goes and comes back, and so does the origin: jobs wait for what they need
//! and go on where they were.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, until};
use serde_json::Value;

const SIZE: usize = 12 << 20;
const SOON: Duration = Duration::from_secs(60);

fn detached(node: &Node, nginx: &Nginx, name: &str) -> Result<String> {
    let url = nginx.url(&format!("slow/{name}"));
    let job = node.get_with(&url, name, &["--detach"])?;
    Ok(job["id"].as_str().context("an id")?.to_owned())
}

fn await_bytes(node: &Node, id: &str) -> Result<u64> {
    until(SOON, "some bytes", || {
        let job = node.json(&["job", "show", id])?;
        let bytes = bytes_of(&job, "bytes_transferred")?;
        Ok((bytes > 2 << 20).then_some(bytes))
    })
}

fn ends_well(node: &Node, id: &str, blob: &Blob, name: &str) -> Result<()> {
    let job = node.await_job(id, &["acknowledged", "error"], SOON)?;
    ensure!(job["state"] == "acknowledged", "{job}");
    blob.check(&node.downloaded(name)?)
}

mod needs_nginx_namespaces {
    use super::*;

    /// The retry delay is ten minutes: nothing here waits for it.
    #[test]
    fn jobs_wait_for_the_network_and_not_for_a_time() {
        Lab::run_in_namespaces(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE);
            blob.write(nginx.root(), "first")?;
            blob.write(nginx.root(), "second")?;
            let mut node = Node::new(lab, &lab.host("a")?, &["transfer.retry_delay = \"600s\""])?;
            node.start()?;
            let running = detached(&node, &nginx, "first")?;
            let queued = detached(&node, &nginx, "second")?;
            await_bytes(&node, &running)?;

            node.host().set_link(false)?;
            for id in [&running, &queued] {
                let job = node.await_job(id, &["transient_error"], SOON)?;
                ensure!(job["error"]["code"] == "network_disconnected", "{job}");
                ensure!(job["error"]["retry_at"] == Value::Null, "{job}");
            }
            let before = node.json(&["job", "show", &running])?;
            let before = bytes_of(&before, "bytes_from_origin")?;
            node.host().set_link(true)?;
            ends_well(&node, &running, &blob, "first")?;
            ends_well(&node, &queued, &blob, "second")?;
            let job = node.json(&["job", "show", &running])?;
            ensure!(before > 0, "it had nothing");
            ensure!(bytes_of(&job, "bytes_from_origin")? == SIZE as u64, "{job}");
            let sent: u64 = bodies_of(&nginx, "first")?;
            // What was on its way when the cable was pulled is sent again.
            let again = sent - SIZE as u64;
            ensure!(again <= 6 << 20, "{again} bytes were fetched twice");
            let kinds = node.json_lines(&["events"])?;
            for kind in ["network_lost", "network_back"] {
                ensure!(kinds.iter().any(|event| event["kind"] == kind), "no {kind}");
            }
            Ok(())
        });
    }
}

mod needs_nginx {
    use super::*;

    #[test]
    fn the_origin_is_restarted() {
        Lab::run(|lab| {
            let host = lab.host("origin")?;
            let nginx = Nginx::start(lab, &host)?;
            let blob = Blob::new(1, SIZE);
            blob.write(nginx.root(), "file")?;
            let mut node = Node::new(lab, &lab.host("a")?, &["transfer.retry_delay = \"5s\""])?;
            node.start()?;
            let id = detached(&node, &nginx, "file")?;
            await_bytes(&node, &id)?;
            drop(nginx);
            let job = node.await_job(&id, &["transient_error"], SOON)?;
            ensure!(job["error"]["context"] == "origin", "{job}");
            ensure!(job["error"]["retry_at"].is_string(), "{job}");
            let kept = bytes_of(&job, "bytes_transferred")?;
            ensure!(kept > 0, "nothing was kept: {job}");
            let _nginx = Nginx::start(lab, &host)?;
            ends_well(&node, &id, &blob, "file")?;
            let job = node.json(&["job", "show", &id])?;
            ensure!(bytes_of(&job, "bytes_from_origin")? == SIZE as u64, "{job}");
            Ok(())
        });
    }
}

fn bodies_of(nginx: &Nginx, name: &str) -> Result<u64> {
    let requests = nginx.requests()?;
    let of_name = requests
        .iter()
        .filter(|request| request.uri.ends_with(name));
    Ok(of_name
        .filter(|request| request.method == "GET")
        .map(|request| request.body)
        .sum())
}
