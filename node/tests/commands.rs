//! The commands as they are called, where no daemon runs: what works on the data
//! directory itself, and what says that it needs one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = format!(
            "data_dir = {:?}\n[control]\nsocket = {:?}\n[peering]\nlisten = \"127.0.0.1:7381\"\n",
            dir.path().join("data"),
            dir.path().join("socket"),
        );
        std::fs::write(dir.path().join("config.toml"), settings).unwrap();
        std::fs::write(dir.path().join("policy.toml"), "").unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("POTLUCK_") {
                command.env_remove(key);
            }
        }
        command
            .env("POTLUCK_POLICY", self.path().join("policy.toml"))
            .env("POTLUCK_CONFIG", self.path().join("config.toml"))
            .current_dir(self.path())
            .args(args)
            .output()
            .unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat());
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The one line that a command complains with.
    fn refused(&self, args: &[&str], status: i32) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        text
    }
}

#[test]
fn what_needs_a_daemon_says_so() {
    let place = Place::new();
    for args in [
        ["job", "list"],
        ["why", "0"],
        ["peers", "--rejected"],
        ["events", "--follow"],
    ] {
        let text = place.refused(&args, 4);
        assert!(
            text.contains("no daemon") && text.contains("socket"),
            "{text}"
        );
    }
    assert!(!place.path().join("data").exists(), "nothing was made");
}

#[test]
fn the_cache_is_filled_before_the_first_daemon_runs() {
    let place = Place::new();
    std::fs::write(place.path().join("file"), "some bytes").unwrap();
    let id = potluck_content::ContentId::of(b"some bytes").to_string();
    let printed = place.run(&["cache", "add", "file"]);
    assert_eq!(
        String::from_utf8_lossy(&printed.stdout),
        format!("{id}  file\n")
    );
    let added = place.json(&["cache", "add", "file"]);
    assert_eq!(
        (&added["content_id"], &added["size"]),
        (&id.as_str().into(), &10.into())
    );
    assert_eq!(place.json(&["cache", "show", &id])["validated"], true);
    assert_eq!(place.json(&["cache", "list"]).as_array().unwrap().len(), 1);
    assert!(place.run(&["cache", "remove", &id]).status.success());
    place.refused(&["cache", "remove", &id], 1);
    assert!(
        place
            .refused(&["cache", "add", "missing"], 1)
            .contains("missing")
    );
    assert_eq!(place.json(&["cache", "list"]), Value::Array(Vec::new()));
}

#[test]
fn a_domain_is_made_before_the_first_daemon_runs() {
    let place = Place::new();
    assert_eq!(place.json(&["domain", "show"])["member"], false);
    place.refused(&["domain", "invite"], 1);
    let made = place.json(&["domain", "create", "lab"]);
    assert_eq!(
        (&made["name"], &made["authority"]),
        (&"lab".into(), &true.into())
    );
    assert_eq!(place.json(&["domain", "show"]), made);
    assert!(
        place
            .refused(&["domain", "create", "lab"], 1)
            .contains("already")
    );
    let invited = place.run(&[
        "--json",
        "domain",
        "invite",
        "--expires",
        "10m",
        "--uses",
        "2",
    ]);
    let hint = String::from_utf8_lossy(&invited.stderr).into_owned();
    assert!(hint.contains("potluck node"), "{hint}");
    let invitation: Value = serde_json::from_slice(&invited.stdout).unwrap();
    assert!(invitation["code"].is_string() && invitation["expires"].is_string());
    place.refused(&["domain", "join", "nonsense"], 2);
}

#[test]
fn counters_and_events_are_there_without_a_daemon() {
    let place = Place::new();
    assert_eq!(place.json(&["stats", "--since", "2d"])["jobs_completed"], 0);
    let events = place.run(&["--json", "events"]);
    assert!(events.status.success() && events.stdout.is_empty());
    let dir = place.path().join("data/events");
    let (log, writer) = potluck::events::EventLog::open(&dir).unwrap();
    log.record("one", Some(("ab12".into(), 0)), serde_json::json!({}));
    log.record("two", None, serde_json::json!({}));
    log.stop();
    writer.join();
    let event = place.json(&["events", "--job", "ab"]);
    assert_eq!((&event["kind"], &event["id"]), (&"one".into(), &1.into()));
}
