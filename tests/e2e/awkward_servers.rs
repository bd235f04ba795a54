//! Web servers that others wrote, with what they do differently.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, WebServer, bytes_of, until};

const SIZE: usize = 3 << 20;

/// Lines of text: something that compresses.
fn text() -> Vec<u8> {
    (0..200_000u32)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect()
}

/// Writes a file that was last changed long ago: servers say less of one that may be
/// about to change again.
fn put(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = dir.join(name);
    std::fs::write(&path, content)?;
    let long_ago = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
    Ok(File::options()
        .append(true)
        .open(path)?
        .set_modified(long_ago)?)
}

/// Gets what should be these bytes.
fn gets(node: &Node, url: &str, content: &[u8], troubles: &[&str]) -> Result<()> {
    let job = node.get(url, "file")?;
    let path = node.downloaded("file")?;
    ensure!(std::fs::read(&path)? == content, "{url}: other bytes");
    std::fs::remove_file(path)?;
    let size = content.len() as u64;
    ensure!(bytes_of(&job, "bytes_total")? == size, "{url}: {job}");
    let found = &job["files"][0]["troubles"];
    ensure!(*found == serde_json::json!(troubles), "{url}: {found}");
    Ok(())
}

mod needs_apache2 {
    use super::*;

    #[test]
    fn apache_as_it_is_and_compressing() {
        Lab::run(|lab| {
            let apache = WebServer::apache(lab, &lab.host("origin")?)?;
            let node = Node::new(lab, &lab.host("a")?, &[])?;
            let blob = Blob::new(1, SIZE);
            put(apache.root(), "blob.bin", blob.bytes())?;
            put(apache.root(), "lines.txt", &text())?;
            gets(&node, &apache.url("blob.bin"), blob.bytes(), &[])?;
            gets(&node, &apache.url("deflate/lines.txt"), &text(), &[])?;
            // Whatever the client says.
            gets(
                &node,
                &apache.url("packed/lines.txt"),
                &text(),
                &["encoded"],
            )
        });
    }
}

mod needs_python3 {
    use super::*;

    #[test]
    fn the_server_of_python() {
        Lab::run(|lab| {
            let python = WebServer::python(lab, &lab.host("origin")?)?;
            let node = Node::new(lab, &lab.host("a")?, &[])?;
            let blob = Blob::new(2, SIZE);
            put(python.root(), "blob.bin", blob.bytes())?;
            put(python.root(), "empty", b"")?;
            let old = ["http_1_0", "no_ranges"];
            gets(&node, &python.url("blob.bin"), blob.bytes(), &old)?;
            gets(&node, &python.url("empty"), b"", &["http_1_0"])
        });
    }
}

mod needs_nginx {
    use super::*;

    #[test]
    fn nginx_with_gzip_on() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let node = Node::new(lab, &lab.host("a")?, &[])?;
            put(nginx.root(), "lines.txt", &text())?;
            gets(&node, &nginx.url("gzip/lines.txt"), &text(), &[])?;
            // Asked for as they are, files stay as they are: with parts and all.
            let parts = |request: &potluck_tests::Request| !request.range.is_empty();
            ensure!(nginx.requests()?.iter().any(parts), "no part was asked for");
            Ok(())
        });
    }

    #[test]
    fn a_file_that_changes_while_it_is_fetched() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            node.start()?;
            let (old, new) = (Blob::new(3, 16 << 20), Blob::new(4, 4 << 20));
            put(nginx.root(), "file", old.bytes())?;
            let url = nginx.url("slow/file");
            let job = node.get_with(&url, "file", &["--detach"])?;
            let id = job["id"].as_str().context("an id")?;
            let limit = Duration::from_secs(60);
            until(limit, "a part of it", || {
                let job = node.json(&["job", "show", id])?;
                Ok((bytes_of(&job, "bytes_transferred")? > 0).then_some(()))
            })?;
            // In its place, as nobody should: what was begun breaks off, or goes on with
            // bytes of the other version.
            put(nginx.root(), "file", new.bytes())?;
            let done = node.await_job(id, &["acknowledged", "error"], limit)?;
            new.check(&node.downloaded("file")?)?;
            // Once or twice: while it was written, it bore another date.
            ensure!(done["files"][0]["troubles"][0] == "changed", "{done}");
            ensure!(bytes_of(&done, "bytes_discarded")? > 0, "{done}");
            Ok(())
        });
    }

    #[test]
    fn a_stranger_with_a_certificate_of_its_own() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let node = Node::new(lab, &lab.host("a")?, &[])?;
            put(nginx.root(), "lines.txt", &text())?;
            let path = node.downloaded("file")?;
            let url = nginx.https_url("lines.txt");
            let outcome = node.run(&["get", &url, "-o", &path.to_string_lossy()])?;
            ensure!(outcome.code()? == 3, "{outcome:?}");
            ensure!(
                outcome.stderr.contains("no secure connection"),
                "{outcome:?}"
            );
            ensure!(!path.exists(), "there is a file");
            Ok(())
        });
    }
}
