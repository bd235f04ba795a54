//! The files that a crowd wants.

use std::path::Path;

use anyhow::{Context, Result};

use crate::Blob;

/// How many files, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One file of so many bytes.
    One(u64),
    /// Many, each of a size by chance.
    Many {
        /// Number of files.
        count: usize,
        /// The least size in bytes.
        from: u64,
        /// The largest size in bytes.
        to: u64,
    },
}

/// Files at an origin.
#[derive(Debug, Clone)]
pub struct Load {
    /// The directory that many files are in; `None` for a single file.
    directory: Option<String>,
    files: Vec<(String, Blob)>,
}

impl Load {
    /// Makes the files up and writes them below `root`.
    pub(super) fn write(wanted: Wanted, seed: u64, root: &Path) -> Result<Self> {
        let load = match wanted {
            Wanted::One(size) => Self {
                directory: None,
                files: vec![(
                    format!("{seed}.bin"),
                    Blob::new(seed, usize::try_from(size)?),
                )],
            },
            Wanted::Many { count, from, to } => {
                let mut chance = fastrand::Rng::with_seed(seed);
                let mut file = |number: usize| {
                    let size = usize::try_from(chance.u64(from..=to))?;
                    let seed = seed.wrapping_mul(1 << 20).wrapping_add(number as u64);
                    Ok((format!("{number}.bin"), Blob::new(seed, size)))
                };
                Self {
                    directory: Some(format!("many-{seed}")),
                    files: (0..count).map(&mut file).collect::<Result<_>>()?,
                }
            }
        };
        for (path, (_, blob)) in load.paths().zip(&load.files) {
            blob.write(root, &path)?;
        }
        Ok(load)
    }

    /// The directory that many files are in; `None` for a single file.
    pub fn directory(&self) -> Option<&str> {
        self.directory.as_deref()
    }

    /// Names, without the directory, and bytes.
    pub fn files(&self) -> &[(String, Blob)] {
        &self.files
    }

    /// The name of the only file or of the directory of all.
    pub fn name(&self) -> &str {
        match (&self.directory, self.files.first()) {
            (Some(directory), _) => directory,
            (None, Some((name, _))) => name,
            (None, None) => "",
        }
    }

    /// Paths below the origin's root.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|(name, _)| match &self.directory {
            Some(directory) => format!("{directory}/{name}"),
            None => name.clone(),
        })
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|(_, blob)| blob.size()).sum()
    }

    /// Fails unless every file is in `dir` with exactly its bytes.
    pub fn check(&self, dir: &Path) -> Result<()> {
        for (name, blob) in &self.files {
            blob.check(&dir.join(name))
                .with_context(|| format!("what came to {}", dir.display()))?;
        }
        Ok(())
    }
}
