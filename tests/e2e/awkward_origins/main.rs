//! Origins that do less than they should, or something else: the right file all the
//! same, or one clear error and nothing at the destination.

mod answer;
mod backends;

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use potluck_tests::{Asked, Blob, Lab, Node, ScriptedOrigin, Then, until};

use answer::{Answer, honest};

const SIZE: usize = 3 << 20;
const PATIENCE: [&str; 2] = [
    "transfer.retry_delay = \"5s\"",
    "transfer.no_progress_timeout = \"60s\"",
];

fn succeeds(
    size: usize,
    script: impl Fn(&Asked, &[u8], &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
) {
    Lab::run(|lab| {
        let blob = Blob::new(1, size);
        let content = blob.bytes().to_vec();
        let origin = ScriptedOrigin::start(&lab.host("origin")?, move |asked, out| {
            script(asked, &content, out)
        })?;
        let node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
        node.get(&origin.url("file"), "file.bin")?;
        blob.check(&node.downloaded("file.bin")?)
    });
}

fn fails(
    code: &str,
    words: &[&str],
    script: impl Fn(&Asked, &[u8], &mut TcpStream) -> io::Result<Then> + Send + Sync + 'static,
) {
    Lab::run(|lab| {
        let content = Blob::new(1, SIZE).bytes().to_vec();
        let origin = ScriptedOrigin::start(&lab.host("origin")?, move |asked, out| {
            script(asked, &content, out)
        })?;
        let mut node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
        node.start()?;
        let job = node.get_with(&origin.url("file"), "file.bin", &["--detach"])?;
        let id = job["id"].as_str().context("an id")?;
        let job = node.await_job(id, &["error"], Duration::from_secs(60))?;
        ensure!(job["error"]["code"] == code, "{job}");
        let message = job["error"]["message"].as_str().unwrap_or_default();
        ensure!(words.iter().all(|word| message.contains(word)), "{message}");
        let left: Vec<_> = std::fs::read_dir(node.downloads()?)?.flatten().collect();
        ensure!(left.is_empty(), "left at the destination: {left:?}");
        Ok(())
    });
}

#[test]
fn parts_are_promised_and_the_whole_comes() {
    succeeds(SIZE, |asked, content, out| {
        Answer::new("HTTP/1.1 200 OK")
            .with("ETag", "\"one\"")
            .with("Accept-Ranges", "bytes")
            .with("Content-Length", content.len())
            .send(asked, content, out)?;
        Ok(Then::Keep)
    });
}

#[test]
fn no_parts_at_all() {
    succeeds(SIZE, |asked, content, out| {
        Answer::new("HTTP/1.1 200 OK")
            .with("Accept-Ranges", "none")
            .with("Content-Length", content.len())
            .send(asked, content, out)?;
        Ok(Then::Keep)
    });
}

#[test]
fn no_length_in_chunks() {
    succeeds(SIZE, |asked, content, out| {
        let mut body = Vec::new();
        for chunk in content.chunks(100_000) {
            write!(body, "{:x};name=value\r\n", chunk.len())?;
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\nX-Trailer: yes\r\n\r\n");
        Answer::new("HTTP/1.1 200 OK")
            .with("Transfer-Encoding", "chunked")
            .send(asked, &body, out)?;
        Ok(Then::Keep)
    });
}

#[test]
fn chunks_that_break_off_are_no_end() {
    let calls = AtomicU32::new(0);
    succeeds(SIZE, move |asked, content, out| {
        let whole = calls.fetch_add(1, Ordering::SeqCst) > 2;
        let len = if whole { content.len() } else { SIZE / 2 };
        let mut body = format!("{len:x}\r\n").into_bytes();
        body.extend_from_slice(&content[..len]);
        body.extend_from_slice(if whole { b"\r\n0\r\n\r\n" } else { b"\r\n" });
        Answer::new("HTTP/1.1 200 OK")
            .with("Transfer-Encoding", "chunked")
            .send(asked, &body, out)?;
        Ok(Then::Close)
    });
}

#[test]
fn weak_tags_and_a_connection_for_each_answer() {
    succeeds(SIZE, |asked, content, out| {
        if asked.field("if-range").is_some() {
            // Nothing ties the parts together: none may be asked for.
            Answer::new("HTTP/1.1 400 Bad Request").send(asked, b"", out)?;
            return Ok(Then::Close);
        }
        Answer::new("HTTP/1.1 200 OK")
            .with("ETag", "W/\"one\"")
            .with("Accept-Ranges", "bytes")
            .with("Content-Length", content.len())
            .send(asked, content, out)?;
        Ok(Then::Close)
    });
}

#[test]
fn every_answer_ends_its_connection_unsaid() {
    succeeds(SIZE, |asked, content, out| {
        honest(asked, content, out)?;
        Ok(Then::Close)
    });
}

#[test]
fn http_of_old_with_odd_names() {
    succeeds(SIZE, |asked, content, out| {
        Answer::new("HTTP/1.0 200 Fine thanks")
            .with("cOnTeNt-LeNgTh", content.len())
            .with("LAST-MODIFIED", "Sun, 06 Nov 1994 08:49:37 GMT")
            .with("x-empty", "")
            .send(asked, content, out)?;
        Ok(Then::Close)
    });
}

#[test]
fn early_hints_come_first() {
    succeeds(SIZE, |asked, content, out| {
        for _ in 0..50 {
            out.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </style>; rel=preload\r\n\r\n")?;
        }
        honest(asked, content, out)
    });
}

#[test]
fn one_byte_a_second_is_slow_and_no_error() {
    succeeds(4, |asked, content, out| {
        Answer::new("HTTP/1.1 200 OK")
            .with("ETag", "\"one\"")
            .with("Content-Length", content.len())
            .send(asked, b"", out)?;
        if asked.method == "HEAD" {
            return Ok(Then::Keep);
        }
        for byte in content {
            std::thread::sleep(Duration::from_secs(1));
            out.write_all(std::slice::from_ref(byte))?;
        }
        Ok(Then::Close)
    });
}

#[test]
fn what_comes_beyond_the_length_is_not_of_the_file() {
    Lab::run(|lab| {
        let blob = Blob::new(1, SIZE);
        let content = blob.bytes().to_vec();
        let origin = ScriptedOrigin::start(&lab.host("origin")?, move |asked, out| {
            Answer::new("HTTP/1.1 200 OK")
                .with("ETag", "\"one\"")
                .with("Accept-Ranges", "none")
                .with("Content-Length", SIZE)
                .send(asked, &content, out)?;
            out.write_all(b"and what nobody asked for")?;
            Ok(Then::Keep)
        })?;
        let node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
        node.get(&origin.url("file"), "file.bin")?;
        blob.check(&node.downloaded("file.bin")?)
    });
}

#[test]
fn another_part_than_the_one_that_was_asked_for() {
    fails(
        "origin_wrong_range",
        &["bytes 1-"],
        |asked, content, out| {
            if asked.range().is_none() {
                return honest(asked, content, out);
            }
            Answer::new("HTTP/1.1 206 Partial Content")
                .with("ETag", "\"one\"")
                .with("Content-Range", format!("bytes 1-{}/{SIZE}", SIZE - 1))
                .with("Content-Length", SIZE - 1)
                .send(asked, &content[1..], out)?;
            Ok(Then::Close)
        },
    );
}

#[test]
fn many_parts_in_one_answer() {
    fails(
        "origin_wrong_range",
        &["does not name"],
        |asked, content, out| {
            let Some((first, last)) = asked.range() else {
                return honest(asked, content, out);
            };
            let mut body = format!(
                "--x\r\nContent-Type: a/b\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n"
            )
            .into_bytes();
            body.extend_from_slice(&content[first as usize..=last as usize]);
            body.extend_from_slice(b"\r\n--x--\r\n");
            Answer::new("HTTP/1.1 206 Partial Content")
                .with("ETag", "\"one\"")
                .with("Content-Type", "multipart/byteranges; boundary=x")
                .with("Content-Length", body.len())
                .send(asked, &body, out)?;
            Ok(Then::Close)
        },
    );
}

#[test]
fn fields_without_end() {
    fails("origin_header_too_large", &["too large"], |_, _, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            // Until the other side has had enough.
            out.write_all(b"X-More: and more and more and more\r\n")?;
        }
    });
}

#[test]
fn an_encoding_that_nobody_asked_for() {
    fails("origin_bad_encoding", &["zstd"], |asked, content, out| {
        Answer::new("HTTP/1.1 200 OK")
            .with("Content-Encoding", "zstd")
            .with("Content-Length", content.len())
            .send(asked, content, out)?;
        Ok(Then::Close)
    });
}

/// `/file` leads to `/1`, that to `/2`, and so on.
fn chain(asked: &Asked, content: &[u8], out: &mut TcpStream, long: u32) -> io::Result<Then> {
    let at = asked.path.trim_start_matches('/').parse().unwrap_or(0);
    if at >= long {
        return honest(asked, content, out);
    }
    Answer::new("HTTP/1.1 307 Temporary Redirect")
        .with("Location", format!("/{}", at + 1))
        .with("Content-Length", 0)
        .send(asked, b"", out)?;
    Ok(Then::Keep)
}

#[test]
fn twenty_redirects_are_followed() {
    succeeds(SIZE, |asked, content, out| chain(asked, content, out, 20));
}

#[test]
fn more_redirects_than_twenty_are_not() {
    fails(
        "origin_too_many_redirects",
        &["more than 20 times"],
        |asked, content, out| chain(asked, content, out, 21),
    );
}

#[test]
fn busy_for_now_and_says_for_how_long() {
    Lab::run(|lab| {
        let blob = Blob::new(1, SIZE);
        let (content, calls) = (blob.bytes().to_vec(), AtomicU32::new(0));
        let origin = ScriptedOrigin::start(&lab.host("origin")?, move |asked, out| {
            if calls.fetch_add(1, Ordering::SeqCst) > 0 {
                return honest(asked, &content, out);
            }
            Answer::new("HTTP/1.1 503 Service Unavailable")
                .with("Retry-After", 8)
                .with("Content-Length", 0)
                .send(asked, b"", out)?;
            Ok(Then::Keep)
        })?;
        let mut node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
        node.start()?;
        let job = node.get_with(&origin.url("file"), "file.bin", &["--detach"])?;
        let id = job["id"].as_str().context("an id")?.to_owned();
        let limit = Duration::from_secs(30);
        let waiting = node.await_job(&id, &["transient_error"], limit)?;
        ensure!(
            waiting["error"]["code"] == "origin_server_error",
            "{waiting}"
        );
        ensure!(waiting["error"]["retry_at"].is_string(), "{waiting}");
        node.await_job(&id, &["acknowledged"], limit)?;
        blob.check(&node.downloaded("file.bin")?)?;
        let asked = origin.asked();
        let first = asked.first().context("a question")?;
        let second = asked.get(1).context("another question")?;
        let rest = second.at - first.at;
        ensure!(rest >= Duration::from_secs(8), "asked again after {rest:?}");
        Ok(())
    });
}

#[test]
fn what_is_awkward_is_told() {
    Lab::run(|lab| {
        let blob = Blob::new(1, SIZE);
        let content = blob.bytes().to_vec();
        let open = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&open);
        let origin = ScriptedOrigin::start(&lab.host("origin")?, move |asked, out| {
            let (first, rest) = content.split_at(SIZE / 2);
            Answer::new("HTTP/1.1 200 OK")
                .with("Accept-Ranges", "none")
                .with("Content-Length", SIZE)
                .send(asked, first, out)?;
            if asked.method == "HEAD" {
                return Ok(Then::Keep);
            }
            while !gate.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            out.write_all(rest)?;
            Ok(Then::Close)
        })?;
        let mut node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
        node.start()?;
        let job = node.get_with(&origin.url("file"), "file.bin", &["--detach"])?;
        let id = job["id"].as_str().context("an id")?;
        until_why(&node, id, "bytes flow; the origin s")?;
        open.store(true, Ordering::SeqCst);
        let done = node.await_job(id, &["acknowledged"], Duration::from_secs(20))?;
        blob.check(&node.downloaded("file.bin")?)?;
        let troubles = serde_json::json!(["no_ranges", "no_validator"]);
        ensure!(done["files"][0]["troubles"] == troubles, "{done}");
        let events = node.json_lines(&["events", "--job", id])?;
        let told = events
            .iter()
            .filter(|event| event["kind"] == "origin_trouble");
        ensure!(told.count() == 2, "{events:?}");
        Ok(())
    });
}

/// Waits until `why` gives a reason with these words.
fn until_why(node: &Node, id: &str, words: &str) -> anyhow::Result<()> {
    until(Duration::from_secs(20), "a reason", || {
        let why = node.json(&["why", id])?;
        let reason = why["reason"].as_str().unwrap_or_default();
        Ok(reason.contains(words).then_some(()))
    })
}
