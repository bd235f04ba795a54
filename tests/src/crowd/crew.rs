//! The programs on the hosts of a scene.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Site, Sources};
use crate::Process;

/// One way to bring the files to the hosts. A host is meant by its number in the scene.
pub(super) trait Crew {
    /// Starts the download on a host.
    fn begin(&mut self, site: &Site<'_>, host: usize) -> Result<()>;

    /// Whether a host has everything; fails when it will never have.
    fn is_done(&mut self, host: usize) -> Result<bool>;

    /// Kills everything on a host.
    fn kill(&mut self, host: usize) -> Result<()>;

    /// The directory that the files are in, without the load's own.
    fn output(&self, site: &Site<'_>, host: usize) -> PathBuf;

    /// Programs that run on after a download.
    fn pids(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// Where the bytes of the downloads of these hosts came from, if the programs tell.
    fn sources(&self, _hosts: &[usize]) -> Result<Option<Sources>> {
        Ok(None)
    }
}

/// A program on each host, each with a directory of its own.
#[derive(Debug)]
pub(super) struct Members {
    dirs: Vec<PathBuf>,
    programs: Vec<Option<Process>>,
}

impl Members {
    /// Makes the directories.
    pub(super) fn new(site: &Site<'_>, what: &str) -> Result<Self> {
        let mut dirs = Vec::new();
        for host in site.hosts() {
            dirs.push(site.lab().subdir(&format!("{what}-{}", host.name()))?);
        }
        let programs = dirs.iter().map(|_| None).collect();
        Ok(Self { dirs, programs })
    }

    /// A host's directory.
    pub(super) fn dir(&self, host: usize) -> &Path {
        &self.dirs[host]
    }

    /// Starts the program of a host.
    pub(super) fn start(&mut self, host: usize, command: Command) -> Result<()> {
        let log = self.dirs[host].with_extension("log");
        self.programs[host] = Some(Process::start(command, &log)?);
        Ok(())
    }

    /// Whether the program of a host has ended; fails when it failed.
    pub(super) fn has_ended(&mut self, host: usize) -> Result<bool> {
        let program = self.programs[host].as_mut().context("not started")?;
        match program.ended()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("host {host}: {status}: {}", program.output()),
        }
    }

    /// What a host's program printed.
    pub(super) fn output(&self, host: usize) -> String {
        let program = self.programs[host].as_ref();
        program.map(Process::output).unwrap_or_default()
    }

    /// Kills the program of a host, if it runs.
    pub(super) fn kill(&mut self, host: usize) {
        self.programs[host] = None;
    }

    /// Process ids of the programs that run.
    pub(super) fn pids(&mut self) -> Vec<u32> {
        let running = |program: &mut Process| matches!(program.ended(), Ok(None));
        let programs = self.programs.iter_mut().flatten();
        programs
            .filter_map(|program| running(program).then(|| program.pid()))
            .collect()
    }
}
