//! The commands about jobs.

use std::fs;

use serde_json::{Value, json};

use super::origin::Origin;
use super::world::{Ran, World, is_root, text, until};

fn id_of(job: &Value) -> String {
    job["id"].as_str().unwrap().to_owned()
}

#[test]
fn many_files_are_added_at_once() {
    let (world, origin) = (World::new(), Origin::start(10_000));
    let _daemon = world.daemon();
    let id = id_of(&world.json(&["job", "create"]));
    fs::create_dir(world.path("to")).unwrap();
    let to = world.path("to");
    let pattern = origin.url("file[08-10].{a,b}");
    let job = world.json(&["job", "add", &id, &pattern, text(&to)]);
    assert_eq!(job["files_total"], 6);
    assert_eq!(job["files"][1]["url"], origin.url("file08.b"));
    assert_eq!(job["files"][5]["path"], text(&to.join("file10.b")));
    let list = format!("# two\n{0}\n{0} to/other name\n", origin.url("file"));
    fs::write(world.path("list"), list).unwrap();
    let job = world.json(&["job", "add", &id, "--from-file", "list"]);
    assert_eq!(job["files"][7]["path"], text(&to.join("other name")));
    // All of a list or nothing.
    let list = format!("{}\nftp://other/file\n", origin.url("file-new"));
    fs::write(world.path("list"), list).unwrap();
    world
        .run(&["job", "add", &id, "--from-file", "list"])
        .failed(1, "ftp");
    world
        .run(&["job", "add", &id, &pattern, text(&to.join("none"))])
        .failed(2, "directory");
    assert_eq!(world.json(&["job", "show", &id])["files_total"], 8);
    world.json(&["job", "resume", &id]);
    until("all are here", || world.state_of(&id) == "transferred");
    world.json(&["job", "complete", &id]);
    assert_eq!(world.names("to").len(), 7);
    assert_eq!(fs::read(to.join("other name")).unwrap(), *origin.bytes);
}

/// More than the daemon says at once.
#[test]
fn a_long_list_is_whole() {
    let (world, origin) = (World::new(), Origin::start(1));
    let _daemon = world.daemon();
    let url = origin.url(&"x".repeat(2_000));
    let list: String = (0..200).map(|n| format!("{url} to-{n}\n")).collect();
    fs::write(world.path("list"), list).unwrap();
    let mut ids = Vec::new();
    for _ in 0..11 {
        let id = id_of(&world.json(&["job", "create"]));
        world.json(&["job", "add", &id, "--from-file", "list"]);
        ids.push(id);
    }
    let list = world.json(&["job", "list"]);
    let found: Vec<_> = list.as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(found, ids);
    let few = world.json(&["job", "list", "--limit", "10"]);
    let few: Vec<_> = few.as_array().unwrap().iter().map(id_of).collect();
    assert_eq!(few, ids[..10]);
}

#[test]
fn parts_of_a_file_are_put_together() {
    let (world, origin) = (World::new(), Origin::start(100_000));
    let url = origin.url("file");
    let ranges = ["--range", "900-100", "--range", "0-50,99990-eof"];
    let mut words = vec!["get", &url, "-o", "parts"];
    words.extend(ranges);
    let job = world.json(&words);
    let all = &origin.bytes;
    let expected = [&all[900..1000], &all[..50], &all[99_990..]].concat();
    assert_eq!(fs::read(world.path("parts")).unwrap(), expected);
    assert_eq!(job["bytes_total"], 160);
    assert_eq!(
        job["files"][0]["ranges"][2],
        json!({ "offset": 99_990, "length": null })
    );
    for wrong in ["5-5,5-1", "x-1", "5-0"] {
        let ran = world.run(&["get", &url, "-o", "wrong", "--range", wrong]);
        assert_ne!(ran.code, 0, "{wrong}");
    }
    assert!(!world.path("wrong").exists());
}

#[test]
fn properties_are_set_and_shown() {
    let world = World::new();
    let _daemon = world.daemon();
    let job = world.json(&[
        "job",
        "create",
        "--property",
        "description=nightly",
        "--property",
        "retry_delay=1s",
    ]);
    let id = id_of(&job);
    assert_eq!(
        (&job["description"], &job["retry_delay"]),
        (&json!("nightly"), &json!("5s"))
    );
    let set = |words: &[&str]| world.json(&[&["job", "set", &id], words].concat());
    assert_eq!(set(&["retry_delay", "default"])["retry_delay"], Value::Null);
    let job = set(&["headers", "A: 1", "Authorization: Bearer t0ken"]);
    assert_eq!(job["headers"], json!([["A", "1"]]));
    assert_eq!(job["secret_headers"], json!(["Authorization"]));
    fs::write(world.path("login"), "basic me:s3cret\n").unwrap();
    assert_eq!(set(&["credentials", "login"])["credentials"], "basic");
    set(&["max_download_time", "1h"]);
    let shown = world.run(&["job", "show", &id]).stdout;
    assert!(
        shown.contains("time limit") && shown.contains("1h"),
        "{shown}"
    );
    for hidden in ["t0ken", "s3cret"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    for (words, says) in [
        (&["owner", "me"][..], "priority"),
        (&["retry_delay", "soon"], "600s"),
        (&["url", "0=http://o/"], "no file 0"),
    ] {
        let words = [&["job", "set", &id], words].concat();
        let ran = world.run(&words);
        assert!(ran.code != 0 && ran.stderr.contains(says), "{}", ran.stderr);
    }
}

#[test]
fn a_job_with_a_wrong_address_is_mended() {
    let (world, origin) = (World::new(), Origin::start(10_000));
    let _daemon = world.daemon();
    let id = id_of(&world.json(&["job", "create"]));
    for name in ["file1", "nothing"] {
        let to = world.path(name);
        world.json(&["job", "add", &id, &origin.url(name), text(&to)]);
    }
    world.json(&["job", "resume", &id]);
    until("it fails", || world.state_of(&id) == "error");
    let prefix = format!("{0}nothing={0}file2", origin.url(""));
    world.json(&["job", "set", &id, "url-prefix", &prefix]);
    world.json(&["job", "resume", &id]);
    until("all are here", || world.state_of(&id) == "transferred");
    let job = world.json(&["job", "complete", &id]);
    assert_eq!(job["partial"], false);
    assert_eq!(fs::read(world.path("nothing")).unwrap(), *origin.bytes);
}

#[test]
fn a_job_that_is_completed_early_says_so() {
    let (world, origin) = (World::new(), Origin::start(10_000));
    let _daemon = world.daemon();
    let id = id_of(&world.json(&["job", "create"]));
    for name in ["file", "nothing"] {
        let to = world.path(name);
        world.json(&["job", "add", &id, &origin.url(name), text(&to)]);
    }
    world.json(&["job", "resume", &id]);
    until("the other fails", || world.state_of(&id) == "error");
    let said = world.run(&["job", "complete", &id]).stdout;
    assert!(said.contains("in part (1 of 2 files)"), "{said}");
    assert_eq!(world.json(&["job", "show", &id])["partial"], true);
    assert!(world.path("file").exists() && !world.path("nothing").exists());
}

#[test]
fn an_application_has_its_say() {
    let (world, origin) = (World::new(), Origin::start(10_000));
    let _daemon = world.daemon();
    let id = id_of(&world.json(&["job", "create"]));
    let to = world.path("x");
    world.json(&["job", "add", &id, &origin.url("file"), text(&to)]);
    world
        .run(&["job", "validate", &id, "0", "good"])
        .failed(1, "no finished file 0");
    world.json(&["job", "resume", &id]);
    until("it is here", || world.state_of(&id) == "transferred");
    let job = world.json(&["job", "validate", &id, "0", "good"]);
    assert_eq!(job["files"][0]["validated"], true);
    let job = world.json(&["job", "validate", &id, "0", "bad"]);
    assert_eq!(job["error"]["code"], "validation_failed");
    let sent = origin.sent();
    world.json(&["job", "resume", &id]);
    until("it is here again", || world.state_of(&id) == "transferred");
    assert!(origin.sent() >= sent + 10_000, "it comes from the origin");
}

#[test]
fn lists_are_filtered() {
    let world = World::new();
    let _daemon = world.daemon();
    let mut ids = Vec::new();
    for name in ["night 1", "day", "night 2"] {
        ids.push(id_of(&world.json(&["job", "create", "--name", name])));
    }
    let list = |words: &[&str]| -> Vec<String> {
        let found = world.json(&[&["job", "list"], words].concat());
        found.as_array().unwrap().iter().map(id_of).collect()
    };
    assert_eq!(list(&[]), ids);
    assert_eq!(list(&["--name", "night*", "--limit", "1"]), ids[..1]);
    assert_eq!(list(&["--name", "night*", "--after", &ids[0]]), ids[2..]);
    world.json(&["job", "cancel", &ids[1]]);
    assert_eq!(list(&["--state", "cancelled,error"]), ids[1..2]);
    assert_eq!(list(&["--priority", "low"]), Vec::<String>::new());
    assert_eq!(world.run(&["job", "list", "--state", "odd"]).code, 2);
    let shown = world.run(&["job", "list", "--all"]).stdout;
    assert_eq!(shown.lines().count(), 4, "{shown}");
}

#[test]
fn root_takes_a_job_over() {
    let world = World::new();
    let _daemon = world.daemon();
    let id = id_of(&world.json(&["job", "create"]));
    let ran = world.run(&["job", "takeover", &id]);
    if is_root() {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    } else {
        ran.failed(1, "root");
    }
}

#[test]
fn credentials_are_sent_and_not_shown() {
    let (world, origin) = (World::new(), Origin::start(10_000));
    let url = origin.url("locked-file");
    let out = world.path("out");
    world.run(&["get", &url, "-o", text(&out)]).failed(3, "401");
    fs::write(world.path("login"), "basic me:s3cret\n").unwrap();
    for (option, value) in [
        ("--credentials-file", "login"),
        ("--property", "credentials=login"),
    ] {
        let with_login = ["get", &url, "-o", text(&out), option, value];
        let mut command = world.command(&with_login);
        let ran = Ran::of(command.env("RUST_LOG", "trace").output().unwrap());
        assert_eq!(ran.code, 0, "{option}: {}", ran.stderr);
        assert!(ran.stderr.contains("TRACE"), "nothing was logged");
        for hidden in ["s3cret", "bWU6czNjcmV0"] {
            assert!(!ran.stderr.contains(hidden), "{hidden} is logged");
        }
    }
    assert_eq!(fs::read(&out).unwrap(), *origin.bytes);
    let _daemon = world.daemon();
    let id = id_of(&world.json(&["job", "create", "--property", "credentials=login"]));
    let second = url
        .replace("http://", "http://me:s3cret@")
        .replace("file", "file2");
    for (url, name) in [(&url, "a"), (&second, "b")] {
        world.json(&["job", "add", &id, url, text(&world.path(name))]);
    }
    world.json(&["job", "resume", &id]);
    until("all are here", || world.state_of(&id) == "transferred");
    let secret = world.path(&format!("data/jobs/{id}.secret"));
    assert!(secret.exists());
    let shown = world.json(&["job", "complete", &id]).to_string();
    assert!(!shown.contains("s3cret"), "{shown}");
    until("nothing is left of it", || !secret.exists());
    let kept = fs::read_to_string(world.path(&format!("data/jobs/{id}.json"))).unwrap();
    assert!(!kept.contains("s3cret"), "{kept}");
}

#[test]
fn files_of_one_job_are_of_one_time() {
    let (world, origin) = (World::new(), Origin::start(1_200_000));
    let _daemon = world.daemon();
    let id = id_of(&world.json(&["job", "create", "--property", "same_version=true"]));
    for name in ["file", "file-slow"] {
        let to = world.path(name);
        world.json(&["job", "add", &id, &origin.url(name), text(&to)]);
    }
    world.json(&["job", "resume", &id]);
    until("the first is here, the second comes", || {
        let files = world.json(&["job", "show", &id])["files"].clone();
        files[0]["content_id"] != Value::Null && files[1]["bytes_transferred"] != 0
    });
    origin
        .version
        .store(2, std::sync::atomic::Ordering::Relaxed);
    until("all are here", || world.state_of(&id) == "transferred");
    let job = world.json(&["job", "complete", &id]);
    for file in [0, 1] {
        assert_eq!(job["files"][file]["validator"], "\"v2\"");
    }
    let events = world.run(&["--json", "events", "--job", &id]).stdout;
    assert!(events.contains("job_restarted"), "{events}");
}

#[test]
fn a_program_is_told_of_an_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (program, told) = (dir.path().join("hook"), dir.path().join("told"));
    let script = format!(
        "#!/bin/sh\necho \"$POTLUCK_JOB $POTLUCK_STATE $1\" >> {}\n",
        told.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let world = World::with(&format!("hooks.allowed = [{program:?}]"));
    let origin = Origin::start(10);
    let _daemon = world.daemon();
    let get = ["get", &origin.url("missing"), "-o", "x", "--detach"];
    let job = world.json(&[&get[..], &["--on-error", text(&program)]].concat());
    let id = id_of(&job);
    until("it is told", || {
        let events = world.run(&["--json", "events", "--job", &id]).stdout;
        events.contains("hook_ended")
    });
    assert_eq!(world.state_of(&id), "error");
    assert_eq!(fs::read_to_string(&told).unwrap(), format!("{id} error \n"));
}
