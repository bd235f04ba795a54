//! The daemon: jobs that outlive commands, restarts, and other users.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::origin::Origin;
use super::world::{World, text, until};

#[test]
fn a_detached_get_is_completed_by_the_daemon() {
    let (world, origin) = (World::new(), Origin::start(3_000_000));
    let daemon = world.daemon();
    let job = world.json(&["get", &origin.url("file"), "-o", "x", "--detach"]);
    let id = job["id"].as_str().unwrap();
    until("the job is completed", || {
        world.state_of(id) == "acknowledged"
    });
    assert_eq!(fs::read(world.path("x")).unwrap(), *origin.bytes);
    let stats = world.json(&["stats"]);
    assert_eq!(stats["bytes_from_origin"], 3_000_000);
    assert_eq!(stats["jobs_completed"], 1);
    assert_eq!(daemon.stop(), Some(0));
    assert!(!world.path("socket").exists());
    let _daemon = world.daemon();
    assert_eq!(
        world.json(&["stats"])["jobs_completed"],
        1,
        "over a restart"
    );
    assert_eq!(world.state_of(id), "acknowledged");
}

#[test]
fn a_job_goes_on_after_kill_9() {
    let (world, origin) = (World::new(), Origin::start(12_000_000));
    let daemon = world.daemon();
    let job = world.json(&["get", &origin.url("slow-file"), "-o", "x", "--detach"]);
    let id = job["id"].as_str().unwrap();
    until("bytes flow", || origin.sent() > 4_000_000);
    daemon.kill();
    assert!(!world.path("x").exists());
    let _daemon = world.daemon();
    until("the job is completed", || {
        world.state_of(id) == "acknowledged"
    });
    assert_eq!(fs::read(world.path("x")).unwrap(), *origin.bytes);
    let job = world.json(&["job", "show", id]);
    let sum: u64 = ["bytes_from_peers", "bytes_from_origin", "bytes_from_cache"]
        .iter()
        .map(|key| job[key].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 12_000_000);
}

#[test]
fn who_follows_the_events_is_told_of_the_end() {
    let world = World::new();
    let daemon = world.daemon();
    let said = fs::File::create(world.path("said")).unwrap();
    let mut follower = world
        .command(&["--json", "events", "--follow"])
        .stdout(said)
        .spawn()
        .unwrap();
    world.json(&["job", "create"]);
    until("the event is heard", || {
        let said = fs::read_to_string(world.path("said")).unwrap();
        said.contains("job_created")
    });
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(follower.wait().unwrap().code(), Some(0));
}

#[test]
fn passwords_in_urls_are_in_no_event() {
    let (world, origin) = (World::new(), Origin::start(1_000));
    let _daemon = world.daemon();
    let url = origin.url("file").replace("http://", "http://me:secret@");
    world.json(&["get", &url, "-o", "x"]);
    let events = world.run(&["--json", "events"]).stdout;
    assert!(events.contains("transfer_stopped"), "{events}");
    assert!(!events.contains("secret"), "{events}");
}

#[test]
fn a_second_daemon_is_refused() {
    let world = World::new();
    let daemon = world.daemon();
    world.run(&["node"]).failed(1, "in use");
    let other = text(&world.path("data2")).to_owned();
    world
        .run(&["--data-dir", &other, "node"])
        .failed(1, "socket");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_job_has_a_life_of_its_own() {
    let (world, origin) = (World::new(), Origin::start(100_000));
    let _daemon = world.daemon();
    let job = world.json(&["job", "create", "--name", "mine"]);
    let id = job["id"].as_str().unwrap();
    assert_eq!(job["state"], "suspended");
    world.json(&[
        "job",
        "add",
        id,
        &origin.url("file"),
        text(&world.path("x")),
    ]);
    world.json(&["job", "resume", &id[..8]]);
    until("it is here", || world.state_of(id) == "transferred");
    assert!(!world.path("x").exists());
    let why = world.json(&["why", id]);
    assert!(why["reason"].as_str().unwrap().contains("job complete"));
    world.json(&["job", "complete", id]);
    assert_eq!(fs::read(world.path("x")).unwrap(), *origin.bytes);
    world.run(&["job", "cancel", id]).failed(1, "acknowledged");
    world.run(&["job", "show", "ffff"]).failed(1, "ffff");
    let events = world.run(&["--json", "events", "--job", id]).stdout;
    let events: Vec<serde_json::Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stopped = events
        .iter()
        .find(|event| event["kind"] == "transfer_stopped")
        .unwrap();
    assert_eq!(stopped["fields"]["bytes_transferred"], 100_000);
    assert_eq!(stopped["job"], id);
}

/// What the control socket answers, with its head.
fn ask(world: &World, path: &str) -> String {
    let mut socket = UnixStream::connect(world.path("socket")).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn events_are_read_page_by_page() {
    let world = World::new();
    let _daemon = world.daemon();
    for _ in 0..5 {
        world.json(&["job", "create"]);
    }
    let ids = |path: &str| -> Vec<u64> {
        let answer = ask(&world, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let lines = answer.lines().filter(|line| line.starts_with('{'));
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.map(|event| event["id"].as_u64().unwrap()).collect()
    };
    let all = ids("/v1/events");
    assert!(all.len() >= 5, "{all:?}");
    let mut paged = Vec::new();
    loop {
        let since = paged.last().copied().unwrap_or(0);
        let page = ids(&format!("/v1/events?limit=2&since={since}"));
        assert!(page.len() <= 2, "{page:?}");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let both = ask(&world, "/v1/events?limit=2&follow=true");
    assert!(both.starts_with("HTTP/1.1 422"), "{both}");
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let world = World::new();
    let _daemon = world.daemon();
    let mut socket = UnixStream::connect(world.path("socket")).unwrap();
    let length = (4 << 20) + 1;
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    // It may be refused before all of it is there.
    let _ = socket.write_all(&vec![b' '; length]);
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

/// Only root can be two users.
mod needs_root {
    use super::*;

    #[test]
    fn another_users_job_is_theirs_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (world, origin) = (World::new(), Origin::start(3_000_000));
        let _daemon = world.daemon();
        let own = world.path("own");
        fs::create_dir(&own).unwrap();
        std::os::unix::fs::chown(&own, Some(65_534), Some(65_534)).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        let mine = world.json(&["job", "create"]);
        let mine = mine["id"].as_str().unwrap();
        world
            .run_as_stranger(&["job", "show", mine])
            .failed(1, "no job");
        world.run_as_stranger(&["cache", "list"]).failed(1, "");
        // The daemon may not write for them: their own process does.
        let ran = world.run_as_stranger(&["get", &origin.url("file"), "-o", "own/x"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::metadata(own.join("x")).unwrap();
        assert_eq!((meta.uid(), meta.len()), (65_534, 3_000_000));
        let ran = world.run_as_stranger(&["get", &origin.url("file"), "-o", "theirs"]);
        ran.failed(1, "cannot be written");
        assert!(!world.path("theirs").exists());
    }
}
