//! libtorrent on every host: the origin as web seed, the others by local service
//! discovery, everything else as it comes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::crew::{Crew, Members};
use super::{Site, torrent};

/// The program, which gives on when it has everything.
const MEMBER: &str = include_str!("libtorrent_member.py");

/// A Python program with libtorrent's bindings.
#[derive(Debug)]
pub(super) struct Libtorrent {
    members: Members,
    torrent: PathBuf,
    program: PathBuf,
}

impl Libtorrent {
    pub(super) fn new(site: &Site<'_>) -> Result<Self> {
        let program = site.lab().dir().join("libtorrent_member.py");
        fs::write(&program, MEMBER)?;
        Ok(Self {
            members: Members::new(site, "libtorrent")?,
            torrent: torrent::write(site)?,
            program,
        })
    }

    /// The Python that has the bindings: `POTLUCK_CROWD_PYTHON`, else the usual one.
    pub(super) fn python() -> PathBuf {
        std::env::var_os("POTLUCK_CROWD_PYTHON")
            .unwrap_or_else(|| "python3".into())
            .into()
    }

    /// Is there when the host has everything.
    fn mark(&self, host: usize) -> PathBuf {
        self.members.dir(host).with_extension("done")
    }
}

impl Crew for Libtorrent {
    fn begin(&mut self, site: &Site<'_>, host: usize) -> Result<()> {
        let place = &site.hosts()[host];
        let mut command = place.command(Self::python());
        command.arg(&self.program).arg(&self.torrent);
        command.arg(self.members.dir(host));
        command.arg(place.address().to_string());
        command.arg(self.mark(host));
        self.members.start(host, command)
    }

    fn is_done(&mut self, host: usize) -> Result<bool> {
        let done = self.mark(host).exists();
        if !done && self.members.has_ended(host)? {
            bail!("libtorrent ended too early: {}", self.members.output(host));
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
