//! A directory with a configuration, and the program run in it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A user who is nobody else's, for tests that run as root.
pub(super) const STRANGER: u32 = 65_534;

pub(super) struct World {
    dir: TempDir,
}

/// A daemon; killed at the end of the test if it still runs.
pub(super) struct Daemon(Child);

impl World {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// With more lines of configuration.
    pub(super) fn with(settings: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let text = format!(
            "data_dir = {:?}\ncontrol.socket = {:?}\npeering.enabled = false\ncache.max_size = \"200 MiB\"\n{settings}\n",
            world.path("data"),
            world.path("socket"),
        );
        fs::write(world.path("potluck.toml"), text).unwrap();
        fs::write(world.path("policy.toml"), "").unwrap();
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with these words, in this directory, with nothing of the machine's
    /// own settings.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("POTLUCK_") {
                command.env_remove(name);
            }
        }
        command
            .env("POTLUCK_POLICY", self.path("policy.toml"))
            .env("POTLUCK_CONFIG", self.path("potluck.toml"))
            .env("HOME", self.dir.path())
            .env_remove("RUST_LOG")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .args(words);
        command
    }

    pub(super) fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    /// The same as another user; only for root.
    pub(super) fn run_as_stranger(&self, words: &[&str]) -> Ran {
        let mut command = self.command(words);
        Ran::of(command.uid(STRANGER).gid(STRANGER).output().unwrap())
    }

    pub(super) fn json(&self, words: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(words);
        let ran = self.run(&all);
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Starts a daemon and waits until it answers.
    pub(super) fn daemon(&self) -> Daemon {
        let log = fs::File::create(self.path("daemon.log")).unwrap();
        let child = self.command(&["node"]).stderr(log).spawn().unwrap();
        let mut daemon = Daemon(child);
        until("the daemon answers", || {
            let ended = daemon.0.try_wait().unwrap();
            let log = || fs::read_to_string(self.path("daemon.log")).unwrap();
            assert!(ended.is_none(), "{}", log());
            UnixStream::connect(self.path("socket")).is_ok()
        });
        daemon
    }

    pub(super) fn state_of(&self, job: &str) -> String {
        let job = self.json(&["job", "show", job]);
        job["state"].as_str().unwrap().to_owned()
    }

    /// Files in a directory, hidden ones too.
    pub(super) fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

impl Daemon {
    /// SIGTERM, and its exit status.
    pub(super) fn stop(mut self) -> Option<i32> {
        signal(&self.0, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the daemon does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9.
    pub(super) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a command came to.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ran {
    pub(super) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Failed so, with one line that has this in it.
    pub(super) fn failed(&self, code: i32, with: &str) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(
            self.stderr.contains(with),
            "{:?} in {:?}",
            with,
            self.stderr
        );
        let lines = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("potluck: "));
        assert_eq!(lines.count(), 1, "{}", self.stderr);
    }
}

pub(super) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
