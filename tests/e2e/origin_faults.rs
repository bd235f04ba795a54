//! Origins that misbehave: the job says what happened and where, and there is never
//! half a file at the destination.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use potluck_tests::{BadOrigin, Blob, Lab, Misdeed, Node, Outcome, bytes_of};

const SIZE: usize = 3 << 20;

/// So that a job that is tried again ends within a test's patience.
const PATIENCE: [&str; 2] = [
    "transfer.retry_delay = \"5s\"",
    "transfer.no_progress_timeout = \"60s\"",
];

#[test]
fn nobody_listens() {
    Lab::run(|lab| {
        let host = lab.host("origin")?;
        // The port was free a moment ago.
        let place = std::net::SocketAddr::new(host.address(), 0);
        let address = host.inside(|| TcpListener::bind(place))??.local_addr()?;
        fails(lab, &format!("http://{address}/file"), &["refused"])
    });
}

#[test]
fn every_connection_is_reset() {
    Lab::run(|lab| with(lab, Misdeed::Reset, &["reset", "closed"]));
}

#[test]
fn the_answer_breaks_off() {
    Lab::run(|lab| {
        with(
            lab,
            Misdeed::ResetAfter(100_000),
            &["reset", "closed", "ended"],
        )
    });
}

#[test]
fn not_found() {
    Lab::run(|lab| with(lab, Misdeed::Status(404), &["404"]));
}

#[test]
fn internal_error() {
    Lab::run(|lab| with(lab, Misdeed::Status(500), &["500"]));
}

#[test]
fn the_length_was_too_much() {
    Lab::run(|lab| {
        with(
            lab,
            Misdeed::LyingLength(SIZE as u64 + 5000),
            &["end", "short", "closed", "length"],
        )
    });
}

#[test]
fn redirects_in_a_circle() {
    Lab::run(|lab| with(lab, Misdeed::RedirectCircle, &["redirect"]));
}

#[test]
fn no_length_and_no_ranges_is_no_fault() {
    Lab::run(|lab| succeeds(lab, Misdeed::NoLength));
}

#[test]
fn a_refused_head_is_no_fault() {
    Lab::run(|lab| succeeds(lab, Misdeed::NoHead));
}

#[test]
fn the_job_in_the_daemon_says_what_happened() {
    Lab::run(|lab| {
        let origin = BadOrigin::start(
            &lab.host("origin")?,
            Blob::new(1, SIZE),
            Misdeed::Status(404),
        )?;
        let mut node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
        node.start()?;
        let job = node.get_with(&origin.url("a"), "file.bin", &["--detach"])?;
        let id = job["id"].as_str().unwrap_or_default();
        let limit = std::time::Duration::from_secs(30);
        let job = node.await_job(id, &["error"], limit)?;
        let error = &job["error"];
        ensure!(error["context"] == "origin", "{job}");
        ensure!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains("404")),
            "{job}"
        );
        ensure!(
            error["code"].is_string() && error.get("retry_at").is_some(),
            "{job}"
        );
        ensure!(job["files"][0]["error"]["context"] == "origin", "{job}");
        nothing_in(&node)
    });
}

fn with(lab: &Lab, misdeed: Misdeed, words: &[&str]) -> Result<()> {
    let origin = BadOrigin::start(&lab.host("origin")?, Blob::new(1, SIZE), misdeed)?;
    fails(lab, &origin.url("a"), words)
}

fn fails(lab: &Lab, url: &str, words: &[&str]) -> Result<()> {
    let node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
    let path = node.downloaded("file.bin")?;
    let outcome = node.run(&["get", url, "-o", &path.to_string_lossy()])?;
    ensure!(outcome.code()? == 3, "{outcome:?}");
    says(&outcome, url, words)?;
    nothing_in(&node)
}

fn says(outcome: &Outcome, url: &str, words: &[&str]) -> Result<()> {
    let text = outcome.stderr.to_ascii_lowercase();
    let place = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap_or_default();
    ensure!(
        words.iter().any(|word| text.contains(word)),
        "not what happened: {text}"
    );
    ensure!(text.contains(place), "not where: {text}");
    Ok(())
}

fn nothing_in(node: &Node) -> Result<()> {
    let left: Vec<_> = std::fs::read_dir(node.downloads()?)?.flatten().collect();
    ensure!(left.is_empty(), "left at the destination: {left:?}");
    Ok(())
}

fn succeeds(lab: &Lab, misdeed: Misdeed) -> Result<()> {
    let blob = Blob::new(1, SIZE);
    let origin = BadOrigin::start(&lab.host("origin")?, blob.clone(), misdeed)?;
    let node = Node::new(lab, &lab.host("a")?, &PATIENCE)?;
    let job = node.get(&origin.url("a"), "file.bin")?;
    ensure!(bytes_of(&job, "bytes_from_origin")? == blob.size(), "{job}");
    blob.check(&node.downloaded("file.bin")?)
}
