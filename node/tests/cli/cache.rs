//! The administration of the cache, through the daemon and without one.

use std::fs;
use std::path::PathBuf;

use potluck_content::ContentId;
use serde_json::Value;

use super::origin::Origin;
use super::world::{STRANGER, World, is_root, text, until};

/// Files of these sizes in the cache; their ids in the order of the sizes.
fn seeded(world: &World, sizes: &[usize]) -> Vec<String> {
    let add = |size: &usize| {
        let name = format!("file-{size}");
        fs::write(world.path(&name), bytes(*size)).unwrap();
        let added = world.json(&["cache", "add", &name]);
        assert_eq!(added["size"], *size);
        added["content_id"].as_str().unwrap().to_owned()
    };
    sizes.iter().map(add).collect()
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 31 % 251 + size) as u8).collect()
}

fn file_of(world: &World, id: &str) -> PathBuf {
    let hex = id.strip_prefix("b3:").unwrap();
    world.path("data/contents").join(&hex[..2]).join(&hex[2..])
}

fn ids(listed: &Value) -> Vec<String> {
    let listed = listed.as_array().unwrap().iter();
    let mut ids: Vec<_> = listed
        .map(|content| content["content_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}

/// Does the same with a daemon and without.
fn both(test: impl Fn(&World)) {
    let world = World::new();
    test(&world);
    let world = World::new();
    let daemon = world.daemon();
    test(&world);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn contents_are_listed_by_what_they_are() {
    both(|world| {
        let made = seeded(world, &[10, 2_000, 300_000]);
        world.json(&["cache", "pin", &made[1]]);
        let list = |words: &[&str]| ids(&world.json(&[&["cache", "list"], words].concat()));
        assert_eq!(list(&[]), sorted(&made));
        assert_eq!(list(&["--min-size", "1 KiB"]), sorted(&made[1..]));
        assert_eq!(list(&["--max-size", "2000"]), sorted(&made[..2]));
        assert_eq!(list(&["--state", "pinned"]), made[1..2]);
        assert_eq!(
            list(&["--state", "validated,not-pinned", "--max-size", "10"]),
            made[..1]
        );
        assert!(list(&["--state", "not-validated"]).is_empty());
        assert!(list(&["--unused-for", "1h"]).is_empty());
        assert!(list(&["--contains", "example"]).is_empty());
        assert_eq!(list(&["--older-than", "0s"]), sorted(&made));
        assert_eq!(list(&["--state", "partial"]), [""; 0]);
        let after = sorted(&made)[0].clone();
        assert_eq!(
            list(&["--after", &after, "--limit", "1"]),
            sorted(&made)[1..2]
        );
        let table = world.run(&["cache", "list", "--limit", "2"]);
        assert_eq!(table.stdout.lines().count(), 3, "{}", table.stdout);
        assert!(table.stderr.contains("--after b3:"), "{}", table.stderr);
        let all = world.run(&["cache", "list", "--all"]);
        assert_eq!((all.stdout.lines().count(), all.stderr.as_str()), (4, ""));
        assert_eq!(world.run(&["cache", "list", "--after", "b3:1"]).code, 1);
        assert_eq!(world.run(&["cache", "list", "--state", "rotten"]).code, 2);
    });
}

#[test]
fn a_content_goes_by_many_names() {
    let (world, origin) = (World::new(), Origin::start(50_000));
    let url = origin.url("file");
    world.json(&["get", &url, "-o", "x"]);
    let id = ContentId::of(&origin.bytes).to_string();
    let digits = &id[3..9];
    let names = [
        &id,
        &id[3..],
        &id[..10],
        digits,
        &url,
        &format!("{url}#part"),
    ];
    for name in names {
        assert_eq!(
            world.json(&["cache", "show", name])["content_id"],
            *id,
            "{name}"
        );
    }
    let daemon = world.daemon();
    for name in names {
        assert_eq!(
            world.json(&["cache", "show", name])["content_id"],
            *id,
            "{name}"
        );
    }
    world
        .run(&["cache", "show", "b3"])
        .failed(1, "names no content");
    world
        .run(&["cache", "show", "0000"])
        .failed(1, "does not hold 0000");
    let other = format!("{url}/other");
    world
        .run(&["cache", "show", &other])
        .failed(1, "does not hold http");
    let nothing = world.run(&["cache", "remove", "--url", &other]);
    nothing.failed(1, "holds nothing");
    assert_eq!(
        world.json(&["cache", "remove", "--url", &url])["removed"][0],
        *id
    );
    world
        .run(&["cache", "show", digits])
        .failed(1, "does not hold");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn several_files_are_added_pinned_and_removed() {
    both(|world| {
        for name in ["one", "two"] {
            fs::write(world.path(name), name).unwrap();
        }
        let added = world.json(&["cache", "add", "--pin", "one", "two"]);
        assert!(added[0]["pinned"] == true && added[1]["pinned"] == true);
        let names = ids(&added);
        let shown = world.json(&["cache", "show"]);
        assert_eq!(
            (&shown["pinned"], &shown["pinned_bytes"]),
            (&2.into(), &6.into())
        );
        assert_eq!(shown["bytes"], 0);
        world.json(&["cache", "unpin", &names[0]]);
        assert_eq!(world.json(&["cache", "show", &names[0]])["pinned"], false);
        let removed = world.json(&["cache", "remove", &names[0], &names[1]]);
        assert_eq!(removed["removed"].as_array().unwrap().len(), 2);
        assert!(!file_of(world, &names[0]).exists());
        assert_eq!(world.json(&["cache", "show"])["pinned"], 0);
    });
}

#[test]
fn what_is_pinned_as_it_is_added_need_not_fit() {
    let world = World::new();
    let large = fs::File::create(world.path("large")).unwrap();
    large.set_len(201 << 20).unwrap();
    world.run(&["cache", "add", "large"]).failed(1, "more than");
    let added = world.json(&["cache", "add", "--pin", "large"]);
    assert!(
        added["pinned"] == true || added[0]["pinned"] == true,
        "{added}"
    );
}

#[test]
fn verifying_tells_good_from_damaged() {
    both(|world| {
        let made = seeded(world, &[1_000, 2_000]);
        let good = world.run(&["cache", "verify"]);
        assert_eq!(good.code, 0, "{}", good.stderr);
        assert!(good.stdout.contains(&format!("{}  good", made[0])));
        assert!(
            good.stderr.contains("2 contents are good"),
            "{}",
            good.stderr
        );

        let mut rotten = bytes(2_000);
        rotten[77] ^= 4;
        fs::write(file_of(world, &made[1]), rotten).unwrap();
        let bad = world.run(&["--json", "cache", "verify"]);
        bad.failed(1, "1 of 2 contents");
        let lines = bad
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        let of = |id: &str| lines.iter().find(|line| line["content_id"] == *id).unwrap();
        assert_eq!(of(&made[0])["result"], "good");
        assert_eq!(of(&made[1])["result"], "damaged");
        assert_eq!(of(&made[1])["bad_pieces"][0], 0);

        world
            .run(&["cache", "show", &made[1]])
            .failed(1, "does not hold");
        let events = world.run(&["events"]).stdout;
        let damaged = events.lines().find(|line| line.contains("content_damaged"));
        let damaged = damaged.unwrap_or_else(|| panic!("{events}"));
        assert!(
            damaged.contains(&made[1]) && damaged.contains("bad_pieces=[0]"),
            "{damaged}"
        );
        assert_eq!(world.json(&["cache", "show"])["aside"], 2);
        assert_eq!(world.run(&["cache", "verify", &made[0]]).code, 0);
        assert_eq!(world.json(&["cache", "verify", "--rebuild"])["contents"], 1);
    });
}

#[test]
fn the_cache_is_cleared_only_when_that_is_meant() {
    both(|world| {
        let made = seeded(world, &[1_000, 2_000]);
        world.json(&["cache", "pin", &made[0]]);
        world.run(&["cache", "clear"]).failed(2, "--yes");
        let cleared = world.json(&["cache", "clear", "--yes"]);
        assert_eq!(
            (&cleared["contents"], &cleared["bytes"]),
            (&1.into(), &2_000.into())
        );
        assert_eq!(
            (&cleared["contents_left"], &cleared["bytes_left"]),
            (&1.into(), &1_000.into())
        );
        assert!(file_of(world, &made[0]).exists() && !file_of(world, &made[1]).exists());
        let cleared = world.run(&["cache", "clear", "--pinned", "--yes"]);
        assert!(
            cleared.stdout.contains("removed 1 contents"),
            "{}",
            cleared.stdout
        );
        assert!(!file_of(world, &made[0]).exists());
    });
}

#[test]
fn what_is_not_what_it_should_be_is_removed() {
    both(|world| {
        let made = seeded(world, &[1_000]);
        assert_eq!(
            world.json(&["cache", "validate", &made[0]])["validated"],
            true
        );
        let gone = world.json(&["cache", "invalidate", &made[0]]);
        assert_eq!(gone["content_id"], made[0]);
        assert!(
            world
                .json(&["cache", "list"])
                .as_array()
                .unwrap()
                .is_empty()
        );
        let events = world.run(&["events"]).stdout;
        assert!(events.contains("content_invalidated"), "{events}");
    });
}

/// Only root can be two users.
mod needs_root {
    use super::*;

    #[test]
    fn only_administrators_touch_the_cache() {
        let world = World::new();
        let made = seeded(&world, &[1_000]);
        let _daemon = world.daemon();
        for words in [
            &["cache", "list"][..],
            &["cache", "verify", &made[0]],
            &["cache", "pin", &made[0]],
            &["cache", "invalidate", &made[0]],
            &["cache", "remove", &made[0]],
            &["cache", "clear", "--pinned", "--yes"],
            &["cache", "verify", "--rebuild"],
            &["cache", "add", text(&world.path("file-1000"))],
        ] {
            world.run_as_stranger(words).failed(1, "only root");
        }
        assert_eq!(world.json(&["cache", "show"])["contents"], 1);
    }
}

#[test]
fn rot_is_found_in_time_and_only_its_piece_fetched_again() {
    const PIECE: usize = 256 << 10;
    let world = World::with("cache.scrub = \"unlimited\"");
    let origin = Origin::start(5 * PIECE + 99);
    world.json(&["get", &origin.url("file"), "-o", "x"]);
    let id = ContentId::of(&origin.bytes).to_string();
    let small = seeded(&world, &[700]);
    let mut rotten = origin.bytes.to_vec();
    rotten[2 * PIECE + 5] ^= 1;
    fs::write(file_of(&world, &id), rotten).unwrap();

    let daemon = world.daemon();
    let mut events = String::new();
    until("the scrub is done", || {
        events = world.run(&["--json", "events"]).stdout;
        events.contains("scrub_finished")
    });
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let fields = |kind: &str| &events.iter().find(|event| event["kind"] == kind).unwrap()["fields"];
    let damaged = fields("content_damaged");
    assert_eq!(
        (&damaged["content_id"], &damaged["bad_pieces"][0]),
        (&id.as_str().into(), &2.into())
    );
    assert_eq!(damaged["file"], text(&file_of(&world, &id)));
    let done = fields("scrub_finished");
    assert_eq!(
        (&done["contents"], &done["damaged"]),
        (&2.into(), &1.into())
    );
    assert_eq!(ids(&world.json(&["cache", "list"])), small);

    let before = origin.sent();
    let job = world.json(&["get", &origin.url("file"), "-o", "again"]);
    assert_eq!(fs::read(world.path("again")).unwrap(), *origin.bytes);
    assert_eq!(job["bytes_from_origin"], PIECE, "{job}");
    assert!(origin.sent() - before < 2 * PIECE as u64);
    assert_eq!(
        world.json(&["cache", "show", &id])["size"],
        origin.bytes.len()
    );
    // The pass is over: what was not finished is not begun again.
    assert_eq!(daemon.stop(), Some(0));
    let place = fs::read_to_string(world.path("data/scrub.json")).unwrap();
    assert!(place.contains("\"ended\":true"), "{place}");
}

#[test]
fn what_may_not_be_read_is_a_miss_until_it_may() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let world = World::new();
    fs::create_dir(world.path("data")).unwrap();
    fs::write(world.path("file"), bytes(1_000)).unwrap();
    if is_root() {
        // Root may read everything.
        chown(world.path("data"), Some(STRANGER), Some(STRANGER)).unwrap();
    }
    let run = |words: &[&str]| {
        if is_root() {
            world.run_as_stranger(words)
        } else {
            world.run(words)
        }
    };
    let close = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let added = run(&["cache", "add", "file"]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    let id = added.stdout.split(' ').next().unwrap();
    let file = file_of(&world, id);
    let sidecar = file.with_extension("meta");
    for (path, usual) in [
        (&file, 0o600),
        (&sidecar, 0o600),
        (&file.parent().unwrap().to_owned(), 0o700),
    ] {
        close(path, 0);
        let verified = run(&["cache", "verify"]);
        verified.failed(1, "1 of 1 contents");
        assert!(
            verified.stdout.contains("Permission denied"),
            "{}",
            verified.stdout
        );
        // Made again meanwhile or not, nothing is lost.
        close(path, usual);
        assert_eq!(run(&["cache", "verify"]).code, 0);
    }
    for dir in ["contents", "partial", "scratch", "index"] {
        let dir = world.path("data").join(dir);
        close(&dir, 0);
        let shown = run(&["cache", "show"]);
        close(&dir, 0o700);
        if shown.code != 0 {
            shown.failed(1, text(&dir));
        }
        assert_eq!(run(&["cache", "verify"]).code, 0, "{}", dir.display());
    }
}

#[test]
fn jobs_that_wait_for_what_is_not_what_it_should_be_fetch_it_again() {
    let (world, origin) = (World::new(), Origin::start(300_000));
    let daemon = world.daemon();
    let id = ContentId::of(&origin.bytes).to_string();
    let job = |path: &str| {
        let job = world.json(&["job", "create"])["id"]
            .as_str()
            .unwrap()
            .to_owned();
        world.json(&[
            "job",
            "add",
            &job,
            &origin.url("file"),
            text(&world.path(path)),
        ]);
        world.json(&["job", "resume", &job]);
        until("the job is transferred", || {
            world.state_of(&job) == "transferred"
        });
        job
    };
    let fetched = job("fetched");
    let copied = job("copied");
    assert_eq!(
        world.json(&["job", "show", &copied])["bytes_from_cache"],
        300_000
    );
    let before = origin.sent();

    let invalidated = world.json(&["cache", "invalidate", &id]);
    assert_eq!(invalidated["content_id"], id);
    assert_eq!(invalidated["jobs"].as_array().unwrap().len(), 2);
    until("it is fetched again", || {
        world.state_of(&copied) == "transferred"
    });
    let shown = world.json(&["job", "show", &copied]);
    assert_eq!(
        (&shown["bytes_from_origin"], &shown["bytes_from_cache"]),
        (&300_000.into(), &0.into())
    );
    assert!(origin.sent() >= before + 300_000);

    // What the origin itself gave is for its owner to decide.
    let shown = world.json(&["job", "show", &fetched]);
    assert_eq!(
        (&shown["state"], &shown["error"]["code"]),
        (&"error".into(), &"validation_failed".into())
    );
    assert_eq!(shown["bytes_discarded"], 300_000);
    world.json(&["job", "resume", &fetched]);
    until("it is here again", || {
        world.state_of(&fetched) == "transferred"
    });
    for (job, path) in [(&fetched, "fetched"), (&copied, "copied")] {
        world.json(&["job", "complete", job]);
        assert_eq!(fs::read(world.path(path)).unwrap(), *origin.bytes);
    }
    assert!(world.run(&["events"]).stdout.contains("job_invalidated"));
    assert_eq!(daemon.stop(), Some(0));
}
