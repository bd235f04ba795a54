//! Several hosts on one machine.

mod counters;
mod host;
mod switch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

pub use counters::Counters;
pub use host::Host;
use switch::Switch;

/// What the hosts of a lab are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabKind {
    /// Network namespaces on a bridge, each with its own address in 10.77.0.0/24.
    Namespaces,
    /// Addresses in 127.0.0.0/8: no links to cut, to slow down or to count at, and
    /// no multicast.
    Loopback,
}

/// Hosts, their directory and everything that runs on them.
#[derive(Debug)]
pub struct Lab {
    switch: Option<Arc<Switch>>,
    dir: Option<TempDir>,
    path: PathBuf,
    hosts: AtomicU32,
}

/// Labs of one process share the numbers, so their addresses differ on loopback.
static LABS: AtomicU32 = AtomicU32::new(0);

/// The first host's last byte of its address.
const FIRST_HOST: u32 = 10;

impl Lab {
    /// Runs a test in a lab of the better kind that can be made here. When the test
    /// fails, what the lab's programs wrote is printed.
    pub fn run(test: impl FnOnce(&Lab) -> Result<()>) {
        Self::run_in(&Lab::new(), test);
    }

    /// As [`Lab::run`], in network namespaces or not at all. Such tests stand in
    /// modules whose name begins with `needs_` and ends with `namespaces`.
    pub fn run_in_namespaces(test: impl FnOnce(&Lab) -> Result<()>) {
        Self::run_in(&Lab::with_namespaces(), test);
    }

    fn run_in(lab: &Result<Lab>, test: impl FnOnce(&Lab) -> Result<()>) {
        // The lab is still there while this panics, so it sees that the test failed.
        match lab {
            Ok(lab) => test(lab).unwrap_or_else(|error| panic!("{error:#}")),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// An empty lab of the better kind that can be made here. `POTLUCK_LAB=loopback`
    /// asks for the lesser.
    pub fn new() -> Result<Self> {
        if std::env::var_os("POTLUCK_LAB").is_some_and(|kind| kind == "loopback") {
            return Self::on_loopback();
        }
        Self::with_namespaces().or_else(|error| {
            eprintln!("no network namespaces, so this runs on loopback addresses: {error:#}");
            Self::on_loopback()
        })
    }

    /// An empty lab whose hosts will be network namespaces.
    pub fn with_namespaces() -> Result<Self> {
        Switch::remove_leftovers();
        let name = format!("{}{}-{}", Switch::PREFIX, std::process::id(), next_lab());
        let switch = Switch::new(name).context(
            "network namespaces take root, or ./tests/run, which makes a user namespace",
        )?;
        Self::with(Some(Arc::new(switch)))
    }

    /// An empty lab whose hosts will be loopback addresses.
    pub fn on_loopback() -> Result<Self> {
        next_lab();
        Self::with(None)
    }

    fn with(switch: Option<Arc<Switch>>) -> Result<Self> {
        // A short path: a socket's may have 107 bytes at most.
        let dir = tempfile::Builder::new().prefix("plk-").tempdir()?;
        let path = dir.path().to_owned();
        Ok(Self {
            switch,
            dir: Some(dir),
            path,
            hosts: AtomicU32::new(0),
        })
    }

    /// What the hosts are.
    pub fn kind(&self) -> LabKind {
        match self.switch {
            Some(_) => LabKind::Namespaces,
            None => LabKind::Loopback,
        }
    }

    /// Where the lab's files are; removed with the lab.
    pub fn dir(&self) -> &Path {
        &self.path
    }

    /// A directory in it, made when missing.
    pub fn subdir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.path.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Adds a host. The name is for people; each host of a lab needs its own.
    pub fn host(&self, name: &str) -> Result<Host> {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + FIRST_HOST;
        let number = u8::try_from(number).map_err(|_| anyhow!("too many hosts in one lab"))?;
        match &self.switch {
            Some(switch) => Host::namespace(switch.clone(), name, number),
            None => Ok(Host::loopback(name, number, LABS.load(Ordering::Relaxed))),
        }
    }

    fn print_logs(&self) {
        for log in logs_below(&self.path) {
            let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("---- {} ({} lines)", log.display(), lines.len());
            for line in &lines[lines.len().saturating_sub(80)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        if let Some(switch) = &self.switch {
            switch.remove();
        }
        if std::env::var_os("POTLUCK_KEEP").is_some()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("kept: {}", dir.keep().display());
        }
    }
}

fn next_lab() -> u32 {
    LABS.fetch_add(1, Ordering::Relaxed) + 1
}

fn logs_below(dir: &Path) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir {
            logs.extend(logs_below(&path));
        } else if path.extension().is_some_and(|ending| ending == "log") {
            logs.push(path);
        }
    }
    logs.sort();
    logs
}

/// Runs a command of the lab's own to its end.
fn carry_out(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("{command:?}: {}: {}", output.status, stderr.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
