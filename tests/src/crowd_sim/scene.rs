//! What disturbs a cold crowd.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::settings::{CrowdSettings, Fate, HostSettings, mbit};

/// What disturbs a cold crowd ([`CrowdSettings::cold`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Nothing.
    Calm,
    /// Of the messages between members, and of the answers, one in a hundred gets lost.
    Loss,
    /// A tenth of the hosts is killed in the middle, and as many others begin there.
    Churn,
    /// Lines of 20, 50, 200 or 1000 Mbit/s up, and five times that down, 1 Gbit/s at most.
    Mixed,
    /// All of that at once.
    Everything,
}

/// When somebody is killed or begins late: between a quarter and three quarters of the
/// least time for 64 MiB of an origin of 80 Mbit/s, in milliseconds.
const MIDDLE: std::ops::Range<u64> = 1_680..5_030;

impl Scene {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Calm,
        Self::Loss,
        Self::Churn,
        Self::Mixed,
        Self::Everything,
    ];

    /// A cold crowd of so many hosts, disturbed. Where others begin in the middle they come
    /// on top of these.
    #[must_use]
    pub fn crowd(self, hosts: usize, seed: u64) -> CrowdSettings {
        let mut crowd = CrowdSettings::cold(hosts, seed);
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5CE_2E5);
        if matches!(self, Self::Churn | Self::Everything) {
            churn(&mut crowd, &mut random);
        }
        if matches!(self, Self::Mixed | Self::Everything) {
            crowd.hosts.iter_mut().for_each(|host| {
                let up = [20, 50, 200, 1000][random.usize(..4)];
                (host.up, host.down) = (mbit(up), mbit((up * 5).min(1000)));
            });
        }
        if matches!(self, Self::Loss | Self::Everything) {
            crowd.loss = 0.01;
        }
        crowd
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Loss => "loss",
            Self::Churn => "churn",
            Self::Mixed => "mixed",
            Self::Everything => "everything",
        }
    }
}

fn churn(crowd: &mut CrowdSettings, random: &mut fastrand::Rng) {
    let tenth = crowd.hosts.len() / 10;
    for host in &mut crowd.hosts[..tenth] {
        host.fate = Some((Duration::from_millis(random.u64(MIDDLE)), Fate::Killed));
    }
    let late = |_| HostSettings {
        starts: Duration::from_millis(random.u64(MIDDLE)),
        ..HostSettings::lan(mbit(200), mbit(1000))
    };
    crowd.hosts.extend((0..tenth).map(late));
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|scene| scene.name() == name);
        named.ok_or_else(|| format!("no scene is called {name:?}"))
    }
}
