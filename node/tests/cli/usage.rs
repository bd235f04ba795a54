//! Exit statuses and one-line errors.

use std::fs;

use super::world::World;

#[test]
fn wrong_usage_is_2() {
    let world = World::new();
    for words in [
        &["frobnicate"][..],
        &["get"],
        &["get", "http://o/a", "http://o/b", "-o", "x"],
        &["get", "http://o/a", "--checksum", "md5:00"],
        &["get", "http://o/a", "--priority", "urgent"],
        &["get", "http://o/a", "--header", "no colon"],
        &["get", "http://o/", "-d", "."],
        &["--set", "peering.enabled", "config", "check"],
    ] {
        assert_eq!(world.run(words).code, 2, "{words:?}");
    }
    assert_eq!(world.run(&["--help"]).code, 0);
    assert_eq!(world.run(&["--version"]).code, 0);
}

#[test]
fn wrong_settings_are_2_and_all_told() {
    let world = World::with("peering.max_clients = 0\nprofile = \"wan\"\ncolour = 1");
    for words in [&["config", "check"][..], &["node"], &["job", "list"]] {
        let ran = world.run(words);
        ran.failed(2, "3 settings are wrong");
        for part in [
            "toml:5: peering.max_clients",
            "toml:6: profile",
            "toml:7: colour",
        ] {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
    }
}

#[test]
fn settings_say_who_set_them() {
    let world = World::new();
    fs::write(world.path("policy.toml"), "peering.max_clients = 5").unwrap();
    let mut command = world.command(&["--json", "--set", "cache.max_age=30d", "config", "show"]);
    let output = command
        .env("POTLUCK_PEERING_MAX_PEERS", "9")
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let set_by = |key: &str| {
        let settings = shown.as_array().unwrap().iter();
        let setting = settings
            .clone()
            .find(|setting| setting["key"] == key)
            .unwrap();
        (
            setting["value"].to_string(),
            setting["set_by"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(set_by("peering.max_clients"), ("5".into(), "policy".into()));
    assert_eq!(
        set_by("peering.max_peers"),
        ("\"9\"".into(), "environment".into())
    );
    assert_eq!(set_by("cache.max_age"), ("\"30d\"".into(), "flag".into()));
    assert_eq!(set_by("peering.enabled"), ("false".into(), "file".into()));
    assert_eq!(set_by("profile"), ("\"bits\"".into(), "default".into()));
}

#[test]
fn no_daemon_is_4() {
    let world = World::new();
    for words in [
        &["job", "list"][..],
        &["job", "show", "00"],
        &["peers"],
        &["why", "00"],
        &["get", "http://127.0.0.1:1/file", "--detach"],
    ] {
        world.run(words).failed(4, "potluck node");
    }
}

#[test]
fn completions_are_there_for_shells() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = world.run(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("potluck"), "{shell}");
    }
}
