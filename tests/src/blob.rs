//! Bytes to transfer: made up, but the same for the same seed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The bytes of one file that tests send around.
#[derive(Debug, Clone)]
pub struct Blob {
    bytes: Vec<u8>,
}

impl Blob {
    /// `size` bytes that no compression makes smaller.
    pub fn new(seed: u64, size: usize) -> Self {
        let mut bytes = vec![0; size];
        blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        Self { bytes }
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// BLAKE3 of the whole as 64 hex digits, what `b3sum` prints.
    pub fn hash(&self) -> String {
        blake3::hash(&self.bytes).to_hex().to_string()
    }

    /// Writes the bytes to `dir/name`.
    pub fn write(&self, dir: &Path, name: &str) -> Result<PathBuf> {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(&path, &self.bytes).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Fails unless the file at `path` has exactly these bytes.
    pub fn check(&self, path: &Path) -> Result<()> {
        let found = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            found.len() == self.bytes.len(),
            "{} has {} bytes instead of {}",
            path.display(),
            found.len(),
            self.bytes.len()
        );
        let hash = blake3::hash(&found).to_hex().to_string();
        ensure!(
            hash == self.hash(),
            "{} has the wrong bytes: {hash}",
            path.display()
        );
        Ok(())
    }
}

/// Writes a file for benchmarks, 2 GiB of it or what `BENCH_MIB` says. Its size.
pub fn big_file(dir: &Path, name: &str) -> Result<u64> {
    let size = match std::env::var("BENCH_MIB") {
        Ok(mib) => mib.parse::<u64>().context("BENCH_MIB")? << 20,
        Err(_) => 2 << 30,
    };
    file_of(size, dir, name)?;
    Ok(size)
}

/// Writes a file of `size` bytes for benchmarks.
pub fn file_of(size: u64, dir: &Path, name: &str) -> Result<()> {
    use std::io::Write;
    let mut file = fs::File::create(dir.join(name))?;
    let part = Blob::new(1, 16 << 20);
    for number in 0..size.div_ceil(part.size()) {
        // No two parts are the same, in case anything looks for that.
        file.write_all(&number.to_le_bytes())?;
        file.write_all(&part.bytes()[8..])?;
    }
    file.set_len(size)?;
    Ok(file.sync_all()?)
}
