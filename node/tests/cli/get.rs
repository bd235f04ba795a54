//! `potluck get`, without a daemon.

use std::fs;

use serde_json::Value;

use super::origin::Origin;
use super::world::{Ran, World, signal, text, until};

#[test]
fn a_file_comes_from_the_origin_and_then_from_the_cache() {
    let (world, origin) = (World::new(), Origin::start(3_000_000));
    fs::create_dir(world.path("out")).unwrap();
    let url = origin.url("file.bin");
    let ran = world.run(&["get", &url, "-d", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("2.9 MiB from the origin"),
        "{}",
        ran.stdout
    );
    assert_eq!(fs::read(world.path("out/file.bin")).unwrap(), *origin.bytes);
    let job = world.json(&["get", &url, "-o", "again"]);
    assert_eq!(job["state"], "acknowledged");
    assert_eq!(job["priority"], "foreground", "somebody waits for it");
    assert_eq!(job["bytes_from_cache"], 3_000_000);
    assert_eq!(job["files"][0]["path"], text(&world.path("again")));
    assert_eq!(origin.sent(), 3_000_000);
}

#[test]
fn several_urls_and_a_checksum() {
    let (world, origin) = (World::new(), Origin::start(100_000));
    let urls = [origin.url("file1"), origin.url("file2")];
    let ran = world.run(&["get", &urls[0], &urls[1]]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fs::read(world.path("file2")).unwrap(), *origin.bytes);
    let wrong = format!("sha256:{}", "00".repeat(32));
    let ran = world.run(&["get", &urls[0], "-o", "x", "--checksum", &wrong]);
    ran.failed(3, "");
    assert!(!world.path("x").exists());
}

#[test]
fn an_error_of_the_job_is_3() {
    let (world, origin) = (World::new(), Origin::start(10));
    let ran = world.run(&["get", &origin.url("missing"), "-o", "x"]);
    ran.failed(3, "404");
    let ran = world.run(&["--json", "get", &origin.url("missing"), "-o", "x"]);
    ran.failed(3, "404");
    let job: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(job["error"]["context"], "origin");
    assert!(!world.path("x").exists());
}

#[test]
fn a_bad_destination_is_told_before_anything_moves() {
    let (world, origin) = (World::new(), Origin::start(10));
    let url = origin.url("file");
    world
        .run(&["get", &url, "-o", "none/x"])
        .failed(1, "does not exist");
    world.run(&["get", &url, "-o", "."]).failed(1, "directory");
    assert_eq!(origin.sent(), 0);
}

#[test]
fn ctrl_c_leaves_no_file() {
    let (world, origin) = (World::new(), Origin::start(20_000_000));
    fs::create_dir(world.path("out")).unwrap();
    for (number, how) in [rustix::process::Signal::INT, rustix::process::Signal::TERM]
        .into_iter()
        .enumerate()
    {
        let before = origin.sent();
        let url = origin.url(&format!("slow-file-{number}"));
        let mut command = world.command(&["get", &url, "-o", "out/x"]);
        let child = command
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        until("bytes flow", || origin.sent() > before + 500_000);
        signal(&child, how);
        let ran = Ran::of(child.wait_with_output().unwrap());
        ran.failed(1, "cancelled");
        assert_eq!(world.names("out"), Vec::<String>::new());
    }
}

#[test]
fn two_at_once_share_one_data_directory() {
    let (world, origin) = (World::new(), Origin::start(3_000_000));
    let url = origin.url("slow-file");
    let first = world.command(&["get", &url, "-o", "a"]).spawn().unwrap();
    until("the first runs", || origin.sent() > 0);
    let ran = world.run(&["get", &origin.url("file"), "-o", "b"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fs::read(world.path("b")).unwrap(), *origin.bytes);
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(fs::read(world.path("a")).unwrap(), *origin.bytes);
    assert_eq!(world.names("data/apart"), Vec::<String>::new());
}

#[test]
fn who_waits_for_a_file_sees_three_quick_tries_more() {
    let (world, origin) = (World::new(), Origin::start(10));
    let ran = world.run(&["get", &origin.url("busy-file"), "-o", "x"]);
    ran.failed(3, "503");
    assert_eq!(origin.refused(), 4);
    assert!(!world.path("x").exists());
}
