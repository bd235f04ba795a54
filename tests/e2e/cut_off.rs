//! The peer goes away in the middle: the file is right all the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, bytes_of, circle, until};
use serde_json::Value;

/// At 40 Mbit/s this takes five seconds: time for something to happen in the middle.
const SIZE: usize = 24 << 20;
const SETTINGS: [&str; 2] = [
    "profile = \"lan\"",
    "peering.max_bandwidth_served = \"40 Mbps\"",
];

mod needs_nginx {
    use super::*;

    #[test]
    fn killed() {
        Lab::run(|lab| in_the_middle(lab, |a| a.kill()));
    }

    #[test]
    fn stopped_in_good_order() {
        Lab::run(|lab| in_the_middle(lab, |a| a.stop()));
    }
}

mod needs_nginx_namespaces {
    use super::*;

    #[test]
    fn unplugged() {
        Lab::run_in_namespaces(|lab| in_the_middle(lab, |a| a.host().set_link(false)));
    }
}

fn in_the_middle(lab: &Lab, happen: impl FnOnce(&mut Node) -> Result<()>) -> Result<()> {
    let nginx = Nginx::start(lab, &lab.host("origin")?)?;
    let blob = Blob::new(1, SIZE);
    blob.write(nginx.root(), "file.bin")?;
    let mut circle = circle(lab, &["a", "b"], &SETTINGS)?;
    circle[0].get(&nginx.url("file.bin"), "file.bin")?;

    let (a, b) = circle.split_at_mut(1);
    let (a, b) = (&mut a[0], &b[0]);
    let job = b.get_with(&nginx.url("file.bin"), "file.bin", &["--detach"])?;
    let id = job["id"].as_str().context("a detached job has an id")?;
    until(Duration::from_secs(20), "some bytes from the peer", || {
        let job = b.json(&["job", "show", id])?;
        Ok((bytes_of(&job, "bytes_from_peers")? > 2 << 20).then_some(()))
    })?;
    happen(a)?;

    let done = b.await_job(id, &["acknowledged", "error"], Duration::from_secs(60))?;
    check(&done)?;
    blob.check(&b.downloaded("file.bin")?)
}

fn check(job: &Value) -> Result<()> {
    ensure!(job["state"] == "acknowledged", "{job}");
    let peers = bytes_of(job, "bytes_from_peers")?;
    let origin = bytes_of(job, "bytes_from_origin")?;
    ensure!(peers > 0 && origin > 0, "it was no middle: {job}");
    ensure!(peers + origin == SIZE as u64, "{job}");
    ensure!(bytes_of(job, "bytes_total")? == SIZE as u64, "{job}");
    ensure!(bytes_of(job, "bytes_transferred")? == SIZE as u64, "{job}");
    Ok(())
}
