//! What a job may choose of how its origins are asked, with the real program.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use potluck_tests::{Asked, Blob, Control, Lab, Node, ScriptedOrigin, Then};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// An origin, or a proxy before one, that always has the same file.
fn serving(lab: &Lab, name: &str, blob: &Blob) -> Result<ScriptedOrigin> {
    use std::io::Write as _;
    let content = blob.bytes().to_vec();
    ScriptedOrigin::start(&lab.host(name)?, move |asked, out| {
        if asked.path.ends_with("/moved") {
            out.write_all(b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(Then::Keep);
        }
        let size = content.len();
        let (status, first, last) = match asked.range() {
            Some((first, last)) => ("206 Partial Content", first as usize, last as usize),
            None => ("200 OK", 0, size - 1),
        };
        write!(
            out,
            "HTTP/1.1 {status}\r\nETag: \"one\"\r\nContent-Length: {}\r\n\
             Content-Range: bytes {first}-{last}/{size}\r\nX-Kind: good\r\n\r\n",
            last + 1 - first
        )?;
        if asked.method == "GET" {
            out.write_all(&content[first..=last])?;
        }
        Ok(Then::Keep)
    })
}

#[test]
fn the_proxy_of_the_environment_is_used_but_where_it_is_not_to_be() {
    Lab::run(|lab| {
        let blob = Blob::new(1, 1 << 20);
        let origin = serving(lab, "origin", &blob)?;
        let proxy = serving(lab, "proxy", &blob)?;
        let node = Node::new(lab, &lab.host("a")?, &[])?;
        let get = |url: &str, no_proxy: &str| -> Result<()> {
            let path = node.downloaded("file.bin")?;
            let mut command = node.command(&["get", url, "-o"]);
            let output = command
                .arg(&path)
                .env("http_proxy", proxy.url(""))
                .env("no_proxy", no_proxy)
                .output()?;
            ensure!(output.status.success(), "{output:?}");
            blob.check(&path)?;
            Ok(std::fs::remove_file(path)?)
        };
        let host = |asked: &Asked| asked.field("host").unwrap_or_default().to_owned();
        get("http://nowhere.invalid/file", "")?;
        let asked = proxy.asked();
        ensure!(
            asked
                .iter()
                .all(|one| one.path == "http://nowhere.invalid/file")
        );
        ensure!(asked.iter().all(|one| host(one) == "nowhere.invalid"));
        let url = origin.url("other");
        let address: SocketAddr = url
            .trim_start_matches("http://")
            .trim_end_matches("/other")
            .parse()?;
        get(&url, &address.ip().to_string())?;
        ensure!(
            proxy.asked().len() == asked.len(),
            "it was asked all the same"
        );
        ensure!(!origin.asked().is_empty(), "nobody was asked");
        Ok(())
    });
}

/// Makes a job in the daemon and waits for what becomes of it.
fn job(node: &Node, properties: Value, file: &Value, states: &[&str]) -> Result<Value> {
    let mut body = properties;
    body["files"] = json!([file]);
    body["start"] = json!(true);
    body["detached"] = json!(true);
    let made = Control::connect(&node.socket())?.post("/v1/jobs", &body)?;
    node.await_job(made["id"].as_str().context("an id")?, states, LIMIT)
}

#[test]
fn a_job_names_itself_its_proxy_and_wants_to_hear_of_redirects() {
    Lab::run(|lab| {
        let blob = Blob::new(2, 1 << 20);
        let proxy = serving(lab, "proxy", &blob)?;
        let mut node = Node::new(lab, &lab.host("a")?, &[])?;
        node.start()?;
        let path = node.downloaded("file.bin")?;
        let properties = json!({
            "user_agent": "tester/7",
            "redirects": "report",
            "proxy": { "url": proxy.url("").trim_end_matches('/') },
        });
        let file = json!({ "url": "http://nowhere.invalid/moved", "path": path });
        let done = job(&node, properties, &file, &["acknowledged", "error"])?;
        blob.check(&path)?;
        let led = "http://nowhere.invalid/file";
        ensure!(done["files"][0]["url"] == led, "{done}");
        ensure!(done["files"][0]["final_url"] == led, "{done}");
        let fields = done["files"][0]["response_headers"].to_string();
        ensure!(fields.contains("x-kind"), "{done}");
        let named = |asked: &Asked| asked.field("user-agent") == Some("tester/7");
        ensure!(proxy.asked().iter().all(named), "{:?}", proxy.asked());

        let file = json!({ "url": "http://nowhere.invalid/moved", "path": path });
        let properties = json!({ "redirects": "forbid", "proxy": { "url": proxy.url("") } });
        let failed = job(&node, properties, &file, &["acknowledged", "error"])?;
        ensure!(
            failed["error"]["code"] == "origin_redirect_forbidden",
            "{failed}"
        );
        let message = failed["error"]["message"].as_str().unwrap_or_default();
        ensure!(message.contains(led), "{failed}");
        Ok(())
    });
}

#[test]
fn a_range_that_is_not_there_is_an_error() {
    Lab::run(|lab| {
        let blob = Blob::new(3, 1000);
        let origin = serving(lab, "origin", &blob)?;
        let mut node = Node::new(lab, &lab.host("a")?, &[])?;
        node.start()?;
        let path = node.downloaded("file.bin")?;
        let file = |offset: u64| {
            let ranges = json!([{ "offset": offset, "length": 100 }, { "offset": 5, "length": 5 }]);
            json!({ "url": origin.url("file"), "path": path, "ranges": ranges })
        };
        let failed = job(&node, json!({}), &file(901), &["acknowledged", "error"])?;
        ensure!(failed["error"]["code"] == "invalid_range", "{failed}");
        ensure!(!path.exists(), "there is a file");
        let done = job(&node, json!({}), &file(900), &["acknowledged", "error"])?;
        ensure!(done["bytes_total"] == 105, "{done}");
        let expected = [&blob.bytes()[900..1000], &blob.bytes()[5..10]].concat();
        ensure!(std::fs::read(&path)? == expected, "other bytes");
        Ok(())
    });
}

mod needs_nginx {
    use potluck_tests::{Nginx, bytes_of, until};

    use super::*;

    const PIECE: u64 = 256 << 10;

    #[test]
    fn a_file_of_ranges_survives_kill_9() {
        Lab::run(|lab| {
            let nginx = Nginx::start(lab, &lab.host("origin")?)?;
            let mut node = Node::new(lab, &lab.host("a")?, &[])?;
            let blob = Blob::new(4, 24 << 20);
            std::fs::write(nginx.root().join("blob.bin"), blob.bytes())?;
            node.start()?;
            let path = node.downloaded("file.bin")?;
            let spans = [
                (20u64 << 20, 3u64 << 20),
                (1, 5 << 20),
                (12 << 20, 4_000_001),
            ];
            let ranges: Vec<Value> = spans
                .iter()
                .map(|(offset, length)| json!({ "offset": offset, "length": length }))
                .collect();
            let body = json!({
                "start": true,
                "detached": true,
                "files": [{ "url": nginx.url("slow/blob.bin"), "path": path, "ranges": ranges }],
            });
            let made = Control::connect(&node.socket())?.post("/v1/jobs", &body)?;
            let id = made["id"].as_str().context("an id")?.to_owned();
            until(LIMIT, "a part of it", || {
                let job = node.json(&["job", "show", &id])?;
                Ok((bytes_of(&job, "bytes_transferred")? > 3 << 20).then_some(()))
            })?;
            node.kill()?;
            node.start()?;
            let done = node.await_job(&id, &["acknowledged", "error"], LIMIT)?;
            let part = |(offset, length): &(u64, u64)| {
                blob.bytes()[*offset as usize..(offset + length) as usize].to_vec()
            };
            let expected: Vec<u8> = spans.iter().flat_map(part).collect();
            ensure!(std::fs::read(&path)? == expected, "other bytes: {done}");
            let size = expected.len() as u64;
            ensure!(bytes_of(&done, "bytes_total")? == size, "{done}");
            // Lost are the pieces on their way, and what lay in the sockets.
            let sent = nginx.body_bytes_since(0)?;
            ensure!(sent <= size + 8 * PIECE, "{sent} bytes for {size}");
            Ok(())
        });
    }
}
