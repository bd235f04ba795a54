//! The files that are moved around.

use std::path::PathBuf;

use anyhow::Result;
use fastrand::Rng;
use potluck_tests::{Blob, Lab, Nginx};

/// What the origin has, and what lies on the node's own disk.
pub(crate) struct Wares {
    nginx: Nginx,
    remote: Vec<Blob>,
    local: Vec<(Blob, PathBuf)>,
}

const REMOTE: usize = 48;
const LOCAL: usize = 24;

impl Wares {
    pub(crate) fn new(lab: &Lab, nginx: Nginx, rng: &mut Rng) -> Result<Self> {
        let dir = lab.subdir("local")?;
        let mut remote = Vec::new();
        for number in 0..REMOTE {
            // Many small ones, some of several pieces, about 48 MiB together.
            let size = match number % 4 {
                0 => rng.usize(0..40_000),
                1 | 2 => rng.usize(0..1_200_000),
                _ => rng.usize(1_000_000..5_000_000),
            };
            let blob = Blob::new(rng.u64(..), size);
            blob.write(nginx.root(), &number.to_string())?;
            remote.push(blob);
        }
        let mut local = Vec::new();
        for number in 0..LOCAL {
            let blob = Blob::new(rng.u64(..), rng.usize(1..700_000));
            let path = blob.write(&dir, &number.to_string())?;
            local.push((blob, path));
        }
        Ok(Self {
            nginx,
            remote,
            local,
        })
    }

    /// Something to download: its URL and its bytes. The origin may be slow, and the same
    /// bytes have several URLs.
    pub(crate) fn remote(&self, rng: &mut Rng) -> (String, &Blob) {
        let number = rng.usize(..self.remote.len());
        let speed = if rng.u8(..4) == 0 { "slow/" } else { "" };
        let version = rng.u8(..3);
        let url = self.nginx.url(&format!("{speed}{number}?{version}"));
        (url, &self.remote[number])
    }

    /// Something to add: its bytes and where they are.
    pub(crate) fn local(&self, rng: &mut Rng) -> (&Blob, &PathBuf) {
        let (blob, path) = &self.local[rng.usize(..self.local.len())];
        (blob, path)
    }
}
