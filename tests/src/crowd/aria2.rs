//! aria2 on every host: the origin as web seed, the others by local peer discovery.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::crew::{Crew, Members};
use super::{Site, torrent};
use crate::Host;

/// `aria2c` with one torrent; it gives on when it has everything.
#[derive(Debug)]
pub(super) struct Aria2 {
    members: Members,
    torrent: PathBuf,
}

impl Aria2 {
    pub(super) fn new(site: &Site<'_>) -> Result<Self> {
        Ok(Self {
            members: Members::new(site, "aria2")?,
            torrent: torrent::write(site)?,
        })
    }

    /// Is there when the host has everything.
    fn mark(&self, host: usize) -> PathBuf {
        self.members.dir(host).with_extension("done")
    }
}

impl Crew for Aria2 {
    fn begin(&mut self, site: &Site<'_>, host: usize) -> Result<()> {
        let hook = self.members.dir(host).with_extension("sh");
        fs::write(
            &hook,
            format!("#!/bin/sh\n: > {}\n", self.mark(host).display()),
        )?;
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
        let mut command = site.hosts()[host].command("aria2c");
        command.args(["--no-conf", "--quiet", "--enable-dht=false"]);
        command.arg("--bt-enable-lpd=true");
        command.arg(format!("--bt-lpd-interface={}", Host::INTERFACE));
        // Minutes to give on, whatever was given.
        command.args(["--seed-time=60", "--seed-ratio=0.0"]);
        command.arg("--file-allocation=none");
        command.arg("--on-bt-download-complete").arg(hook);
        command.arg("-d").arg(self.members.dir(host));
        command.arg(&self.torrent);
        self.members.start(host, command)
    }

    fn is_done(&mut self, host: usize) -> Result<bool> {
        let done = self.mark(host).exists();
        if !done && self.members.has_ended(host)? {
            bail!("aria2c ended too early: {}", self.members.output(host));
        }
        Ok(done)
    }

    fn kill(&mut self, host: usize) -> Result<()> {
        self.members.kill(host);
        Ok(())
    }

    fn output(&self, site: &Site<'_>, host: usize) -> PathBuf {
        torrent::output(site, self.members.dir(host))
    }

    fn pids(&mut self) -> Vec<u32> {
        self.members.pids()
    }
}
