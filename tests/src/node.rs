//! Potluck on one host, as its user sees it: a program with a command line.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{Host, Lab, LabKind, Process, User, until};

/// One installation: a host, a configuration and a data directory; with a daemon from
/// [`Node::start`] on.
#[derive(Debug)]
pub struct Node {
    host: Host,
    dir: PathBuf,
    settings: Vec<String>,
    clock: Option<String>,
    under: Vec<String>,
    daemon: Option<Process>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Outcome {
    /// The exit status; fails when a signal ended it.
    pub fn code(&self) -> Result<i32> {
        self.status
            .code()
            .with_context(|| format!("{}: {}", self.status, self.stderr))
    }
}

impl Node {
    /// A node that was never started, with `settings` (lines of TOML with dotted
    /// keys) after the lab's own.
    pub fn new(lab: &Lab, host: &Host, settings: &[&str]) -> Result<Self> {
        let dir = lab.subdir(host.name())?;
        let mut node = Self {
            host: host.clone(),
            dir,
            settings: Vec::new(),
            clock: None,
            under: Vec::new(),
            daemon: None,
        };
        node.set(&format!("data_dir = \"{}\"", node.data_dir().display()));
        node.set(&format!("control.socket = \"{}\"", node.socket().display()));
        if lab.kind() == LabKind::Loopback {
            // Every node has all the ports to itself on its own address. Loopback has
            // no multicast, so peers are named by `knows`.
            node.set(&format!(
                "peering.listen = \"{}:{}\"",
                host.address(),
                Self::DATA_PORT
            ));
        }
        for line in settings {
            node.set(line);
        }
        fs::write(node.dir.join("policy.toml"), "")?;
        node.write_config()?;
        Ok(node)
    }

    /// Where peers are served by default.
    pub const DATA_PORT: u16 = 7381;
    /// Where the control connections of peers arrive by default.
    pub const CONTROL_PORT: u16 = 7382;

    /// Sets a key of the configuration; a started daemon does not notice.
    pub fn set(&mut self, line: &str) {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        self.settings.retain(|old| key(old) != key(line));
        self.settings.push(line.to_owned());
    }

    /// Starts everything from now on by another program, which is to run the rest of
    /// its arguments.
    pub fn run_under(&mut self, words: &[&str]) {
        self.under = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Sets the clock of everything that is started from now on, as `faketime` reads it:
    /// `+2y`, `-90m`.
    pub fn set_clock(&mut self, offset: &str) {
        self.clock = Some(offset.to_owned());
    }

    /// On loopback, where no beacon can be heard, names the peers to look for.
    pub fn knows(&mut self, lab: &Lab, hosts: &[&Host]) -> Result<()> {
        if lab.kind() == LabKind::Loopback {
            let peers: Vec<String> = hosts
                .iter()
                .map(|host| format!("\"{}:{}\"", host.address(), Self::DATA_PORT))
                .collect();
            self.set(&format!("peering.static_peers = [{}]", peers.join(", ")));
        }
        self.write_config()
    }

    fn write_config(&self) -> Result<()> {
        fs::write(self.config(), self.settings.join("\n") + "\n").context("the configuration")
    }

    /// The host it is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("potluck.toml")
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A directory beside it for what it downloads.
    pub fn downloads(&self) -> Result<PathBuf> {
        let dir = self.dir.join("downloads");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// Starts the daemon and waits for nothing.
    pub fn spawn(&mut self) -> Result<()> {
        self.write_config()?;
        self.daemon = Some(Process::start(self.command(&["node"]), &self.daemon_log())?);
        Ok(())
    }

    /// What all daemons of this node print, one after the other.
    pub fn daemon_log(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let (socket, host) = (self.socket(), self.host.clone());
        let daemon = self.daemon()?;
        until(Duration::from_secs(20), "the daemon's socket", || {
            if let Some(status) = daemon.ended()? {
                let output = daemon.output();
                bail!("the daemon on {} ended: {status}: {output}", host.name());
            }
            Ok(UnixStream::connect(&socket).ok().map(|_| ()))
        })
    }

    /// The daemon's process.
    pub fn daemon(&mut self) -> Result<&mut Process> {
        self.daemon.as_mut().context("no daemon was started")
    }

    /// SIGTERM, and the end of it.
    pub fn stop(&mut self) -> Result<()> {
        let daemon = self.daemon.take().context("no daemon was started")?;
        let status = daemon.terminate(Duration::from_secs(20))?;
        ensure!(
            status.success(),
            "the daemon on {} ended with {status}",
            self.host.name()
        );
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon was started")?.kill()
    }

    /// `potluck` on this host with this node's configuration.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.under.split_first() {
            Some((first, rest)) => {
                let mut command = self.host.command(first);
                command.args(rest).arg(program());
                command
            }
            None => self.host.command(program()),
        };
        self.configure(&mut command);
        command.args(args);
        command
    }

    /// As [`Node::command`], without the rights of root over other users' files: in a
    /// container or a user namespace root is all there is.
    pub fn command_without_rights(&self, args: &[&str]) -> Command {
        let mut command = self.host.command("setpriv");
        command
            .args(["--bounding-set=-all", "--inh-caps=-all", "--"])
            .arg(program());
        self.configure(&mut command);
        command.args(args);
        command
    }

    /// As [`Node::run`], by another user. The node's directory must be open to pass.
    pub fn run_as(&self, user: &User, args: &[&str]) -> Result<Outcome> {
        let words = user.words();
        let mut command = self.host.command(&words[0]);
        command.args(&words[1..]).arg(program_for_all(&self.dir)?);
        self.configure(&mut command);
        command.env("HOME", user.path(""));
        command.args(args);
        outcome(command)
    }

    /// The node's own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn configure(&self, command: &mut Command) {
        // Nothing of the machine's own settings may reach a test.
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("POTLUCK_") {
                command.env_remove(key);
            }
        }
        command.env("POTLUCK_POLICY", self.dir.join("policy.toml"));
        command.env("HOME", &self.dir);
        if let Some(offset) = &self.clock {
            // The linker replaces $LIB by the directory of this architecture.
            command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1");
            command.env("FAKETIME", offset);
        }
        command
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_RUNTIME_DIR");
        command.arg("--config").arg(self.config());
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Result<Outcome> {
        outcome(self.command(args))
    }

    /// Runs a command that must succeed; the answer is what it printed.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let outcome = self.run(args)?;
        ensure!(
            outcome.status.success(),
            "potluck {} on {}: {}: {}{}",
            args.join(" "),
            self.host.name(),
            outcome.status,
            outcome.stdout,
            outcome.stderr
        );
        Ok(outcome.stdout)
    }

    /// The same with `--json`, parsed.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let mut all = vec!["--json"];
        all.extend(args);
        let text = self.ok(&all)?;
        serde_json::from_str(&text).with_context(|| format!("{}: {text}", args.join(" ")))
    }

    /// The same for commands that print one object per line.
    pub fn json_lines(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut all = vec!["--json"];
        all.extend(args);
        let text = self.ok(&all)?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect()
    }

    /// Gets `url` into its downloads as `name`; the answer is the finished job.
    pub fn get(&self, url: &str, name: &str) -> Result<Value> {
        self.get_with(url, name, &[])
    }

    /// As [`Node::get`], with more options.
    pub fn get_with(&self, url: &str, name: &str, options: &[&str]) -> Result<Value> {
        let path = self.downloads()?.join(name);
        let path = path.to_str().context("a path in UTF-8")?;
        let mut args = vec!["get", url, "-o", path];
        args.extend(options);
        self.json(&args)
    }

    /// Where [`Node::get`] puts what it gets.
    pub fn downloaded(&self, name: &str) -> Result<PathBuf> {
        Ok(self.downloads()?.join(name))
    }

    /// Makes a domain here.
    pub fn create_domain(&self, name: &str) -> Result<()> {
        self.ok(&["domain", "create", name]).map(drop)
    }

    /// A join code for the domain made here.
    pub fn invite(&self) -> Result<String> {
        let invite = self.json(&["domain", "invite"])?;
        Ok(invite["code"].as_str().context("a code")?.to_owned())
    }

    /// Joins with a code.
    pub fn join(&self, code: &str) -> Result<()> {
        self.ok(&["domain", "join", code]).map(drop)
    }

    /// Waits until the peer list has `count` entries.
    pub fn await_peers(&self, count: usize) -> Result<Vec<Value>> {
        let what = format!("{count} peers of {}", self.host.name());
        let mut last = Value::Null;
        until(Duration::from_secs(30), &what, || {
            last = self.json(&["peers"])?;
            let peers = last.as_array().context("peers is an array")?;
            Ok((peers.len() == count).then(|| peers.clone()))
        })
        .with_context(|| format!("the list was {last}"))
    }

    /// Waits until a job has one of the states; the answer is the job.
    pub fn await_job(&self, id: &str, states: &[&str], limit: Duration) -> Result<Value> {
        let mut last = Value::Null;
        until(limit, &format!("job {id} to be {states:?}"), || {
            last = self.json(&["job", "show", id])?;
            let state = last["state"].as_str().unwrap_or_default();
            Ok(states.contains(&state).then(|| last.clone()))
        })
        .with_context(|| format!("the job was {last}"))
    }
}

/// A number of bytes in a JSON document.
pub fn bytes_of(document: &Value, key: &str) -> Result<u64> {
    document[key]
        .as_u64()
        .with_context(|| format!("no number {key} in {document}"))
}

/// The program under test: `POTLUCK_BIN`, else the one in the target directory that
/// this test was built into.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("POTLUCK_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let profile = own.ancestors().find(|dir| dir.join("deps").is_dir());
    profile.unwrap_or(Path::new("target/debug")).join("potluck")
}

/// The program where everybody may run it: a copy, if its own place is closed.
fn program_for_all(dir: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = fs::canonicalize(program())?;
    let is_open = |path: &Path| fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 1 != 0);
    if program.ancestors().all(is_open) {
        return Ok(program);
    }
    let copy = dir.join("potluck");
    if !copy.exists() {
        fs::copy(&program, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    }
    Ok(copy)
}

fn outcome(mut command: Command) -> Result<Outcome> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))?;
    Ok(Outcome {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
