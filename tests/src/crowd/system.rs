//! What can bring files to a crowd.

use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Error, Result, anyhow};

use super::aria2::Aria2;
use super::crew::Crew;
use super::curl::Curl;
use super::libtorrent::Libtorrent;
use super::potluck::Potluck;
use super::{Scene, Site};

/// Bits per second out of the cache on the way.
const CACHE_UP: u64 = 200_000_000;

/// Potluck or a rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Everybody asks the origin.
    Curl,
    /// Everybody asks one cache, nginx on a host of its own.
    CacheBox,
    /// aria2 with web seed and local peer discovery.
    Aria2,
    /// libtorrent with web seed and local service discovery.
    Libtorrent,
    /// Potluck.
    Potluck,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Curl,
        Self::CacheBox,
        Self::Aria2,
        Self::Libtorrent,
        Self::Potluck,
    ];

    /// The word for it on a command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::CacheBox => "nginx",
            Self::Aria2 => "aria2",
            Self::Libtorrent => "libtorrent",
            Self::Potluck => "potluck",
        }
    }

    /// What it is, for a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Curl => "curl, each from the origin",
            Self::CacheBox => "nginx as a cache, 200 Mbit/s",
            Self::Aria2 => "aria2, web seed, LPD",
            Self::Libtorrent => "libtorrent, web seed, LSD",
            Self::Potluck => "**Potluck**",
        }
    }

    /// The version that is there, or why it cannot run.
    pub fn version(self) -> Result<String> {
        let (mut command, package) = match self {
            // Which one, each node says in its log.
            Self::Potluck => return Ok("potluck".to_owned()),
            Self::Curl => (Command::new("curl"), "curl"),
            Self::CacheBox => (Command::new("nginx"), "nginx-light"),
            Self::Aria2 => (Command::new("aria2c"), "aria2"),
            Self::Libtorrent => (Command::new(Libtorrent::python()), "libtorrent of PyPI"),
        };
        match self {
            Self::CacheBox => command.arg("-v"),
            Self::Libtorrent => command.args([
                "-c",
                "import libtorrent; print('libtorrent', libtorrent.__version__)",
            ]),
            _ => command.arg("--version"),
        };
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let output = command.stdin(Stdio::null()).output();
        let output = output.ok().filter(|output| output.status.success());
        let output = output.ok_or_else(|| anyhow!("not installed: {package}"))?;
        // nginx answers on the other output.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let words = text.lines().next().unwrap_or_default().split_whitespace();
        Ok(words.take(3).collect::<Vec<_>>().join(" "))
    }

    /// Puts its programs onto the hosts of a site.
    pub(super) fn crew(self, site: &Site<'_>, scene: &Scene) -> Result<Box<dyn Crew>> {
        Ok(match self {
            Self::Curl => Box::new(Curl::direct(site)?),
            Self::CacheBox => Box::new(Curl::by_cache(site, CACHE_UP)?),
            Self::Aria2 => Box::new(Aria2::new(site)?),
            Self::Libtorrent => Box::new(Libtorrent::new(site)?),
            Self::Potluck => Box::new(Potluck::new(site, scene)?),
        })
    }
}

impl FromStr for System {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|system| system.word() == word);
        found.ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            anyhow!("no system {word:?}: {words}")
        })
    }
}
