//! Who wants what, and from when on.

use std::time::Duration;

use super::{Link, Wanted};

/// Bits per second out of the origin.
const ORIGIN_UP: u64 = 80_000_000;
/// Bits per second out of a host.
const HOST_UP: u64 = 200_000_000;
/// The link of the host that is ten times slower, both ways.
const SLOW: u64 = 20_000_000;
/// What a node gives by default.
const DEFAULT_UP: u64 = 1_000_000;

/// What nodes give to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Profile `lan`: as much as the link takes, and pieces of unfinished files.
    Lan,
    /// The defaults: three clients, 1 Mbit/s, complete files only.
    Default,
}

/// One host's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Bits per second out of it.
    pub up: u64,
    /// Bits per second into it, if there is a limit.
    pub down: Option<u64>,
    /// When it wants the files; `None`: it got them before the beginning.
    pub starts: Option<Duration>,
    /// When it is killed.
    pub dies: Option<Duration>,
    /// Whether its end is the others' too, or is told apart.
    pub counts: bool,
}

impl Part {
    /// One that wants the files from the beginning.
    const ORDINARY: Self = Self {
        up: HOST_UP,
        down: None,
        starts: Some(Duration::ZERO),
        dies: None,
        counts: true,
    };
}

/// A crowd and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// Bits per second out of the origin.
    pub origin_up: u64,
    /// The files.
    pub wanted: Wanted,
    /// What the nodes give, where they are Potluck's.
    pub serving: Serving,
    /// Whether they compare pieces with the origin. How many they pick is left to chance.
    pub audits: bool,
    /// The hosts.
    pub parts: Vec<Part>,
    /// Of the files' bytes and of everything that is left to chance.
    pub seed: u64,
}

impl Scene {
    /// All want one new file of `size` bytes in the same moment.
    pub fn cold(hosts: usize, size: u64, seed: u64) -> Self {
        Self {
            origin_up: ORIGIN_UP,
            wanted: Wanted::One(size),
            serving: Serving::Lan,
            audits: true,
            parts: vec![Part::ORDINARY; hosts],
            seed,
        }
    }

    /// They come one by one, at times chosen by chance in the first `over`.
    pub fn staggered(hosts: usize, size: u64, over: Duration, seed: u64) -> Self {
        let mut scene = Self::cold(hosts, size, seed);
        let mut chance = fastrand::Rng::with_seed(seed);
        for part in &mut scene.parts {
            part.starts = Some(over.mul_f64(chance.f64()));
        }
        scene
    }

    /// In the middle of the least time a third of the hosts is killed and two new ones
    /// come.
    pub fn churn(hosts: usize, size: u64, seed: u64) -> Self {
        let mut scene = Self::cold(hosts, size, seed);
        let middle = Duration::from_secs_f64(size as f64 * 8.0 / ORIGIN_UP as f64 / 2.0);
        for part in scene.parts.iter_mut().skip(hosts - hosts / 3) {
            part.dies = Some(middle);
            part.counts = false;
        }
        let late = Part {
            starts: Some(middle),
            ..Part::ORDINARY
        };
        scene.parts.extend([late, late]);
        scene
    }

    /// The last host's link has a tenth of the others' rate, in both directions.
    pub fn slow(hosts: usize, size: u64, seed: u64) -> Self {
        let mut scene = Self::cold(hosts, size, seed);
        if let Some(last) = scene.parts.last_mut() {
            last.up = SLOW;
            last.down = Some(SLOW);
            last.counts = false;
        }
        scene
    }

    /// All but the last have the file; the last may take as much as one of them gives.
    pub fn warm(hosts: usize, size: u64, seed: u64) -> Self {
        let mut scene = Self::cold(hosts, size, seed);
        if let Some((last, holders)) = scene.parts.split_last_mut() {
            last.down = Some(HOST_UP);
            for holder in holders {
                holder.starts = None;
                holder.counts = false;
            }
        }
        scene
    }

    /// All want the same `count` files of `from` to `to` bytes in the same moment.
    pub fn small(hosts: usize, count: usize, from: u64, to: u64, seed: u64) -> Self {
        Self {
            wanted: Wanted::Many { count, from, to },
            ..Self::cold(hosts, 0, seed)
        }
    }

    /// As cold, with nodes that give what they give by default.
    pub fn default_profile(hosts: usize, size: u64, seed: u64) -> Self {
        Self {
            serving: Serving::Default,
            ..Self::cold(hosts, size, seed)
        }
    }

    /// The hosts as the bound sees them.
    pub fn links(&self) -> Vec<Link> {
        let link = |part: &Part| {
            let up = match self.serving {
                Serving::Lan => part.up,
                Serving::Default => part.up.min(DEFAULT_UP),
            };
            Link {
                up: up as f64,
                down: part.down.map_or(f64::INFINITY, |down| down as f64),
                starts: part.starts,
                counts: part.counts,
            }
        };
        self.parts.iter().map(link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_dies_and_two_come() {
        let scene = Scene::churn(9, 64 << 20, 1);
        assert_eq!(scene.parts.len(), 11);
        assert_eq!(scene.parts.iter().filter(|p| p.dies.is_some()).count(), 3);
        assert_eq!(scene.parts.iter().filter(|p| p.counts).count(), 8);
    }

    #[test]
    fn chance_is_the_seed_s() {
        let ten = Duration::from_secs(10);
        let starts = |seed| Scene::staggered(8, 1, ten, seed).parts;
        assert_eq!(starts(1), starts(1));
        assert_ne!(starts(1), starts(2));
        assert!(starts(1).iter().all(|p| p.starts.unwrap() <= ten));
    }
}
