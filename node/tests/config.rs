//! Settings from files, environment, flags and policy.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use potluck::config::{CacheSize, Config, ConfigError, Profile, SetBy, Share, Sources, Value};

struct World {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self {
            dir,
            sources: Sources::default(),
        };
        world.env("HOME", "/home/somebody");
        world.policy("");
        world
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn file(&mut self, text: &str) -> &mut Self {
        self.sources.file = Some(self.write("potluck.toml", text));
        self
    }

    fn policy(&mut self, text: &str) -> &mut Self {
        let path = self.write("policy.toml", text);
        self.env("POTLUCK_POLICY", path.to_str().unwrap())
    }

    fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.sources.environment.insert(name.into(), value.into());
        self
    }

    fn flag(&mut self, key: &str, value: &str) -> &mut Self {
        let flag = (key.into(), value.into(), format!("--set {key}"));
        self.sources.flags.push(flag);
        self
    }

    fn load(&self) -> Config {
        self.sources.load().unwrap()
    }

    fn mistakes(&self) -> Vec<String> {
        let ConfigError(mistakes) = self.sources.load().unwrap_err();
        let dir = format!("{}/", self.dir.path().display());
        let text = |mistake: &potluck::config::Mistake| mistake.to_string().replace(&dir, "");
        mistakes.iter().map(text).collect()
    }
}

fn set_by(config: &Config, key: &str) -> (Value, SetBy) {
    let setting = config.effective.iter().find(|setting| setting.key == key);
    let setting = setting.unwrap();
    (setting.value.clone(), setting.set_by)
}

#[test]
fn without_any_file_the_defaults_are_those_of_bits() {
    let config = World::new().load();
    let settings = &config.settings;
    assert_eq!(settings.peering.max_clients, 3);
    assert_eq!(
        settings.peering.max_bandwidth_served.bits(),
        Some(1_000_000)
    );
    assert_eq!(settings.peering.min_peer_rate.bits(), Some(4_000_000));
    assert_eq!(settings.cache.max_size, CacheSize::Percent(100));
    assert!((settings.peering.audit_share - 0.01).abs() < f64::EPSILON);
    assert_eq!(
        settings.transfer.times.retry_delay,
        Duration::from_secs(600)
    );
    assert_eq!(settings.transfer.limits.jobs_per_user, 60);
    assert!(
        config
            .effective
            .iter()
            .all(|setting| setting.set_by == SetBy::Default)
    );
}

#[test]
fn the_profile_moves_defaults_only() {
    let mut world = World::new();
    world.file("profile = \"lan\"\npeering.max_clients = 7\n");
    let config = world.load();
    assert_eq!(config.settings.profile, Profile::Lan);
    assert_eq!(config.settings.peering.share, Share::Downloading);
    assert_eq!(config.settings.cache.max_size, CacheSize::Percent(2_000));
    assert_eq!(config.settings.peering.max_clients, 7);
    assert_eq!(config.settings.peering.max_bandwidth_served.bits(), None);
}

#[test]
fn each_place_beats_the_one_below() {
    let mut world = World::new();
    let key = "peering.max_clients";
    world.file("[peering]\nmax_clients = 4\n");
    assert_eq!(set_by(&world.load(), key), (Value::Number(4), SetBy::File));
    world.env("POTLUCK_PEERING_MAX_CLIENTS", "5");
    assert_eq!(set_by(&world.load(), key).1, SetBy::Environment);
    world.flag(key, "6");
    assert_eq!(set_by(&world.load(), key).1, SetBy::Flag);
    world.policy("peering.max_clients = 8");
    assert_eq!(
        set_by(&world.load(), key),
        (Value::Number(8), SetBy::Policy)
    );
    assert_eq!(world.load().settings.peering.max_clients, 8);
}

#[test]
fn all_mistakes_are_told_at_once_with_their_lines() {
    let mut world = World::new();
    world.file(concat!(
        "profile = \"wan\"\n",
        "data_dri = \"/x\"\n",
        "[peering]\n",
        "max_clients = 0\n",
        "max_bandwidth_served = \"fast\"\n",
        "colour = \"red\"\n",
        "[cache]\n",
        "max_age = \"forever\"\n",
    ));
    world.env("POTLUCK_TRANSFER_RETRY_DELAYS", "5s");
    world.policy("cache.max_size = \"90%\"");
    world.flag("peering.serve", "maybe");
    let mut mistakes = world.mistakes();
    mistakes.sort();
    let begins = [
        "--set peering.serve: peering.serve: \"maybe\" is not valid: choose true or false",
        "POTLUCK_TRANSFER_RETRY_DELAYS: transfer.retry_delays: there is no such key; did you mean transfer.retry_delay?",
        "policy.toml:1: cache.max_size: \"90%\" is not valid: write a size",
        "potluck.toml:1: profile: \"wan\" is not valid: choose \"bits\" or \"lan\"",
        "potluck.toml:2: data_dri: there is no such key; did you mean data_dir?",
        "potluck.toml:4: peering.max_clients: 0 is not valid: choose a number from 1 to 10000",
        "potluck.toml:5: peering.max_bandwidth_served: \"fast\" is not valid: write for example",
        "potluck.toml:6: peering.colour: there is no such key; choose from peering.enabled,",
        "potluck.toml:8: cache.max_age: \"forever\" is not valid: write a time from 1d to 120d",
    ];
    assert_eq!(mistakes.len(), begins.len(), "{mistakes:#?}");
    for (mistake, begin) in mistakes.iter().zip(begins) {
        assert!(mistake.starts_with(begin), "{mistake}\n{begin}");
    }
}

#[test]
fn broken_toml_and_missing_files_are_mistakes_too() {
    let mut world = World::new();
    world.file("data_dir = \"/x\"\ncache = [\n");
    assert!(
        world.mistakes()[0].starts_with("potluck.toml:"),
        "{:?}",
        world.mistakes()
    );
    world.sources.file = Some(world.dir.path().join("none.toml"));
    assert!(world.mistakes()[0].starts_with("none.toml: cannot be read"));
}

#[test]
fn paths_follow_the_user() {
    let mut world = World::new();
    let settings = world.load().settings;
    assert_eq!(
        settings.data_dir,
        PathBuf::from("/home/somebody/.local/share/potluck")
    );
    assert_eq!(
        settings.control.socket,
        settings.data_dir.join("potluck.sock")
    );
    world
        .env("XDG_DATA_HOME", "/data")
        .env("XDG_RUNTIME_DIR", "/run/user/7");
    let settings = world.load().settings;
    assert_eq!(settings.data_dir, PathBuf::from("/data/potluck"));
    assert_eq!(
        settings.control.socket,
        PathBuf::from("/run/user/7/potluck.sock")
    );
    world.sources.root = true;
    let settings = world.load().settings;
    assert_eq!(settings.data_dir, PathBuf::from("/var/lib/potluck"));
    assert_eq!(
        settings.control.socket,
        PathBuf::from("/run/potluck/potluck.sock")
    );
}

/// The page of every key shows a whole file: it is right, complete, and all defaults.
#[test]
fn the_documentation_has_every_key_with_its_default() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, file) = page.split_once("```toml\n").unwrap();
    let mut world = World::new();
    world.sources.root = true;
    let defaults = world.load();
    world.file(file.split("```").next().unwrap());
    let documented = world.load();
    assert_eq!(documented.settings, defaults.settings);
    for setting in &documented.effective {
        assert_eq!(
            setting.set_by,
            SetBy::File,
            "{} is not in the file",
            setting.key
        );
        let name = setting.key.rsplit('.').next().unwrap();
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not explained"
        );
    }
}

#[test]
fn the_files_of_an_own_authority_go_together() {
    let mut world = World::new();
    world.file("[domain]\ncertificate_file = \"/c.pem\"\nkey_file = \"/c.key\"\n");
    let mistakes = world.mistakes();
    assert!(
        mistakes.len() == 1 && mistakes[0].contains("ca_file go together"),
        "{mistakes:?}"
    );
    let all =
        "[domain]\ncertificate_file = \"/c.pem\"\nkey_file = \"/c.key\"\nca_file = \"/ca.pem\"\n";
    world.file(all);
    let mistakes = world.mistakes();
    assert!(mistakes[0].contains("domain.names"), "{mistakes:?}");
    world.file(&format!("{all}names = [\"*.*.example\"]\n"));
    assert!(world.mistakes()[0].contains("no DNS name"));
    world.file(&format!("{all}names = [\"*.potluck.example\"]\n"));
    let files = world.load().settings.domain.given().unwrap().unwrap();
    assert!(files.names[0].fits("till.potluck.example"));
    world.file("[domain]\ncrl_file = \"/crl.pem\"\n");
    assert!(world.mistakes()[0].contains("means nothing without"));
}
