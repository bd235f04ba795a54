//! Web servers that others wrote, with what they do differently.

use anyhow::{Result, ensure};
use potluck_tests::{Blob, Lab, Nginx, Node, WebServer, bytes_of};

const SIZE: usize = 3 << 20;

/// Lines of text: something that compresses.
fn text() -> Vec<u8> {
    (0..200_000u32)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect()
}

/// Gets what should be these bytes.
fn gets(node: &Node, url: &str, content: &[u8]) -> Result<()> {
    let job = node.get(url, "file")?;
    let path = node.downloaded("file")?;
    ensure!(std::fs::read(&path)? == content, "{url}: other bytes");
    std::fs::remove_file(path)?;
    let size = content.len() as u64;
    ensure!(bytes_of(&job, "bytes_total")? == size, "{url}: {job}");
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
            std::fs::write(apache.root().join("blob.bin"), blob.bytes())?;
            std::fs::write(apache.root().join("lines.txt"), text())?;
            gets(&node, &apache.url("blob.bin"), blob.bytes())?;
            gets(&node, &apache.url("deflate/lines.txt"), &text())?;
            // Whatever the client says.
            gets(&node, &apache.url("packed/lines.txt"), &text())
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
            std::fs::write(python.root().join("blob.bin"), blob.bytes())?;
            std::fs::write(python.root().join("empty"), b"")?;
            gets(&node, &python.url("blob.bin"), blob.bytes())?;
            gets(&node, &python.url("empty"), b"")
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
            std::fs::write(nginx.root().join("lines.txt"), text())?;
            gets(&node, &nginx.url("gzip/lines.txt"), &text())?;
            // Asked for as they are, files stay as they are: with parts and all.
            let parts = |request: &potluck_tests::Request| !request.range.is_empty();
            ensure!(nginx.requests()?.iter().any(parts), "no part was asked for");
            Ok(())
        });
    }

    #[test]
    fn a_stranger_with_a_certificate_of_its_own() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let node = Node::new(lab, &lab.host("a")?, &[])?;
            std::fs::write(nginx.root().join("lines.txt"), text())?;
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
