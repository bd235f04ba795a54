//! Files that were published: their manifests lie beside them at the origin.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, Request, bytes_of, circle};
use serde_json::Value;

const SIZE: usize = 3 << 20;

/// Publishes a file of the origin with the program alone; the size of its manifest.
fn publish(lab: &Lab, file: &Path) -> Result<u64> {
    let publisher = Node::new(lab, &lab.host("publisher")?, &[])?;
    let path = file.to_str().context("a path in UTF-8")?;
    let said = publisher.json(&["publish", path])?;
    let manifest = format!("{path}.potluck");
    ensure!(
        said["file"] == path && said["manifest"] == manifest,
        "{said}"
    );
    ensure!(said["size"] == SIZE as u64, "{said}");
    let bytes = fs::read(file)?;
    let id = format!("b3:{}", blake3::hash(&bytes).to_hex());
    ensure!(said["content_id"] == id, "{said}");
    ensure!(!publisher.data_dir().exists(), "it needs no node");
    Ok(fs::metadata(manifest)?.len())
}

/// Lets a job transfer a file, and leaves it to be completed.
fn transfer(node: &Node, url: &str, name: &str) -> Result<Value> {
    let id = begin(node, url, name)?;
    node.await_job(&id, &["transferred", "error"], Duration::from_secs(60))
}

/// A job that transfers a file.
fn begin(node: &Node, url: &str, name: &str) -> Result<String> {
    let job = node.json(&["job", "create", "--priority", "foreground"])?;
    let id = job["id"].as_str().context("an id")?.to_owned();
    let path = node.downloads()?.join(name);
    let path = path.to_str().context("a path in UTF-8")?;
    node.ok(&["job", "add", &id, url, path])?;
    node.ok(&["job", "resume", &id])?;
    Ok(id)
}

fn is_validated(node: &Node, job: &Value) -> Result<bool> {
    let content = job["files"][0]["content_id"].as_str().context("an id")?;
    let shown = node.json(&["cache", "show", content])?;
    shown["validated"].as_bool().context("validated")
}

fn for_manifests(nginx: &Nginx) -> Result<Vec<Request>> {
    let mut requests = nginx.requests()?;
    requests.retain(|request| request.uri.ends_with(".potluck"));
    Ok(requests)
}

mod needs_nginx {
    use super::*;

    #[test]
    fn the_manifest_that_the_origin_names_vouches_for_the_file() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(1, SIZE);
            let len = publish(lab, &blob.write(nginx.root(), "file.bin")?)?;
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            node.start()?;
            let job = transfer(&node, &nginx.url("named/file.bin"), "file.bin")?;
            ensure!(job["state"] == "transferred", "{job}");
            // Nobody has accepted it: the origin's word is enough.
            ensure!(is_validated(&node, &job)?, "{job}");
            ensure!(bytes_of(&job, "bytes_from_origin")? == SIZE as u64, "{job}");
            ensure!(bytes_of(&job, "bytes_discarded")? == 0, "{job}");
            let stats = node.json(&["stats"])?;
            ensure!(stats["bytes_of_manifests"] == len, "{stats}");
            ensure!(stats["bytes_from_origin"] == SIZE as u64, "{stats}");
            Ok(())
        });
    }

    #[test]
    fn nodes_that_share_what_they_download_find_it_by_its_name() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(2, SIZE);
            let published = blob.write(nginx.root(), "file.bin")?;
            publish(lab, &published)?;
            blob.write(nginx.root(), "plain/a.bin")?;
            Blob::new(3, SIZE).write(nginx.root(), "plain/b.bin")?;
            let circle = circle(lab, &["a", "b"], &["profile = \"lan\""])?;
            let a = &circle[0];
            let job = transfer(a, &nginx.url("slow/file.bin"), "file.bin")?;
            ensure!(job["state"] == "transferred", "{job}");
            ensure!(is_validated(a, &job)?, "{job}");
            let asked = for_manifests(&nginx)?;
            ensure!(asked.len() == 1 && asked[0].status == 200, "{asked:?}");

            // A directory without manifests is asked once.
            fs::remove_file(published.with_file_name("file.bin.potluck"))?;
            for name in ["b.bin", "a.bin"] {
                a.get(&nginx.url(&format!("slow/plain/{name}")), name)?;
            }
            let asked = for_manifests(&nginx)?.split_off(1);
            ensure!(asked.len() == 1 && asked[0].status == 404, "{asked:?}");
            Ok(())
        });
    }

    #[test]
    fn those_who_give_only_what_is_validated_fetch_it_together() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let blob = Blob::new(7, SIZE);
            publish(lab, &blob.write(nginx.root(), "file.bin")?)?;
            let lines = ["profile = \"lan\"", "peering.share = \"validated\""];
            let circle = circle(lab, &["a", "b", "c"], &lines)?;
            let url = nginx.url("slow/file.bin");
            let jobs: Result<Vec<_>> = circle.iter().map(|it| begin(it, &url, "file")).collect();
            let mut of_origin = 0;
            for (node, id) in circle.iter().zip(jobs?) {
                let ends = ["transferred", "error"];
                let job = node.await_job(&id, &ends, Duration::from_secs(60))?;
                ensure!(job["state"] == "transferred", "{job}");
                ensure!(is_validated(node, &job)?, "{job}");
                of_origin += bytes_of(&job, "bytes_from_origin")?;
            }
            // The jobs begin one after the other: alone each would take all of it.
            ensure!(of_origin < 2 * SIZE as u64, "{of_origin}");
            Ok(())
        });
    }

    #[test]
    fn a_file_that_was_replaced_and_not_published_again_comes_all_the_same() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let old = Blob::new(4, SIZE).write(nginx.root(), "file.bin")?;
            publish(lab, &old)?;
            let new = Blob::new(5, SIZE);
            new.write(nginx.root(), "file.bin")?;
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            node.start()?;
            let job = node.get(&nginx.url("named/file.bin"), "file.bin")?;
            new.check(&node.downloaded("file.bin")?)?;
            ensure!(bytes_of(&job, "bytes_from_origin")? == SIZE as u64, "{job}");
            let troubles = &job["files"][0]["troubles"];
            ensure!(*troubles == serde_json::json!(["stale_manifest"]), "{job}");
            let events = node.json_lines(&["events"])?;
            let told = events
                .iter()
                .filter(|event| event["kind"] == "origin_trouble");
            ensure!(told.count() == 1, "{events:?}");
            Ok(())
        });
    }

    /// Members whose pieces fit no manifest are not to blame when it is the manifest that
    /// is wrong.
    #[test]
    fn a_crowd_agrees_on_the_file_whatever_its_manifest_says() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let (old, blob) = (Blob::new(6, SIZE), Blob::new(7, SIZE));
            publish(lab, &old.write(nginx.root(), "file.bin")?)?;
            blob.write(nginx.root(), "file.bin")?;
            let circle = circle(lab, &["a", "b", "c", "d"], &["profile = \"lan\""])?;
            let url = nginx.url("named/file.bin");
            let start = |node: &Node| -> Result<String> {
                let job = node.get_with(&url, "file.bin", &["--detach"])?;
                Ok(job["id"].as_str().context("an id")?.to_owned())
            };
            let jobs = circle.iter().map(start).collect::<Result<Vec<_>>>()?;
            let mut told = 0;
            for (node, id) in circle.iter().zip(&jobs) {
                let limit = Duration::from_secs(60);
                let job = node.await_job(id, &["acknowledged", "error"], limit)?;
                ensure!(job["state"] == "acknowledged", "{job}");
                blob.check(&node.downloaded("file.bin")?)?;
                let troubles = &job["files"][0]["troubles"];
                told += u32::from(*troubles == serde_json::json!(["stale_manifest"]));
            }
            // Who is done first may not have seen it.
            ensure!(told > 0, "nobody saw the manifest");
            for node in &circle {
                let peers = node.json(&["peers"])?;
                ensure!(peers.as_array().map(Vec::len) == Some(3), "{peers}");
                let rejected = node.json(&["peers", "--rejected"])?;
                ensure!(rejected.as_array().is_some_and(Vec::is_empty), "{rejected}");
            }
            Ok(())
        });
    }
}
