//! Everybody gets a whole copy by `curl`: from the origin, or from a cache on the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache_box::CacheBox;
use super::crew::{Crew, Members};
use super::{Load, Site};
use crate::Host;

/// `curl` on every host.
#[derive(Debug)]
pub(super) struct Curl {
    members: Members,
    cache: Option<CacheBox>,
}

impl Curl {
    /// From the origin itself.
    pub(super) fn direct(site: &Site<'_>) -> Result<Self> {
        Ok(Self {
            members: Members::new(site, "curl")?,
            cache: None,
        })
    }

    /// From a cache, which lets out at most `up` bits per second.
    pub(super) fn by_cache(site: &Site<'_>, up: u64) -> Result<Self> {
        Ok(Self {
            members: Members::new(site, "curl")?,
            cache: Some(CacheBox::start(site, up)?),
        })
    }
}

impl Crew for Curl {
    fn begin(&mut self, site: &Site<'_>, host: usize) -> Result<()> {
        let base = match &self.cache {
            Some(cache) => cache.url(),
            None => site.nginx().url(""),
        };
        let to = self.members.dir(host).to_owned();
        let command = command(site.load(), &site.hosts()[host], &base, &to)?;
        self.members.start(host, command)
    }

    fn is_done(&mut self, host: usize) -> Result<bool> {
        self.members.has_ended(host)
    }

    fn kill(&mut self, host: usize) -> Result<()> {
        self.members.kill(host);
        Ok(())
    }

    fn output(&self, _site: &Site<'_>, host: usize) -> PathBuf {
        self.members.dir(host).to_owned()
    }
}

/// Gets all files from below the URL `base` into `dir`.
pub(super) fn command(load: &Load, host: &Host, base: &str, dir: &Path) -> Result<Command> {
    let list = dir.with_extension("list");
    let lines = load
        .paths()
        .zip(load.files())
        .map(|(path, (name, _))| format!("url = \"{base}{path}\"\noutput = \"{name}\"\n"));
    fs::write(&list, lines.collect::<String>()).context("curl's list")?;
    let mut command = host.command("curl");
    command
        .args(["-sSf", "--no-progress-meter", "--output-dir"])
        .arg(dir);
    if load.files().len() > 1 {
        command.args(["--parallel", "--parallel-max", "16"]);
    }
    command.arg("--config").arg(list);
    Ok(command)
}
