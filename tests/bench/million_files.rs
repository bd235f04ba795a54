//! Contents by the million, written as the cache writes them but without its syncs, which
//! would take a day.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use potluck_cache::{Cache, Facts};
use potluck_content::{ContentId, Digest, Entity, Validator};

/// Bytes of each content.
const SIZE: usize = 64;

/// One of the contents, by its number.
pub(crate) struct Sample {
    pub(crate) bytes: Vec<u8>,
    pub(crate) id: ContentId,
    pub(crate) entity: Entity,
    /// Not that of the bytes: nothing here computes it, and the cache takes it as checked.
    pub(crate) sha256: Digest,
}

impl Sample {
    pub(crate) fn new(number: u64) -> Result<Self> {
        let mut bytes = format!("content {number} ").into_bytes();
        bytes.resize(SIZE, b'.');
        let sha256 = ContentId::of(format!("sha256 of {number}").as_bytes()).to_hex();
        Ok(Self {
            id: ContentId::of(&bytes),
            entity: Entity {
                url: format!("https://origin.example/packages/{number}.tar.zst"),
                validator: Validator::ETag(format!("\"{number:x}\"")),
                size: SIZE as u64,
            },
            sha256: format!("sha256:{sha256}")
                .parse()
                .map_err(|_| anyhow!("no digest: {sha256}"))?,
            bytes,
        })
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            validated: true,
            entities: vec![self.entity.clone()],
            digests: vec![self.sha256],
            ..Facts::default()
        }
    }
}

/// Fills `contents` with so many. The first is added by the cache itself, and its sidecar
/// is the pattern of all others.
pub(crate) fn write_contents(cache: &Cache, dir: &Path, count: u64) -> Result<()> {
    let first = Sample::new(0)?;
    let file = dir.join("first");
    fs::write(&file, &first.bytes)?;
    cache.add_file_with(&file, &first.facts(), |_| {})?;
    fs::remove_file(file)?;
    let contents = dir.join("contents");
    let pattern = fs::read(path(&contents, &first.id).with_extension("meta"))?;
    for shelf in 0..=u8::MAX {
        fs::create_dir_all(contents.join(format!("{shelf:02x}")))?;
    }
    let threads = thread::available_parallelism()?.get() as u64;
    let write = |thread| {
        for number in (1 + thread..count).step_by(usize::try_from(threads)?) {
            let sample = Sample::new(number)?;
            let data = path(&contents, &sample.id);
            fs::write(&data, &sample.bytes)?;
            fs::write(data.with_extension("meta"), sidecar(&pattern, &sample)?)?;
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let write = &write;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        let mut ends = threads.into_iter().map(|thread| thread.join());
        ends.try_for_each(|end| end.map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// Where the bytes of a content lie.
fn path(contents: &Path, id: &ContentId) -> std::path::PathBuf {
    let hex = id.to_hex();
    contents.join(&hex[..2]).join(&hex[2..])
}

/// The pattern with what is the sample's own, in the frame that sidecars have.
fn sidecar(pattern: &[u8], sample: &Sample) -> Result<Vec<u8>> {
    const HEAD: usize = 28;
    const SUM: usize = 32;
    let text = &pattern[HEAD..pattern.len() - SUM];
    let mut text: serde_json::Value = serde_json::from_slice(text).context("the pattern")?;
    let facts = serde_json::to_value(sample.facts())?;
    for field in ["entities", "digests"] {
        text[field] = facts[field].clone();
    }
    text["id"] = serde_json::to_value(sample.id)?;
    let text = serde_json::to_vec(&text)?;
    let mut bytes = pattern[..HEAD].to_vec();
    bytes[20..24].copy_from_slice(&u32::try_from(text.len())?.to_le_bytes());
    bytes.extend(&text);
    let sum = ContentId::of(&bytes);
    bytes.extend(sum.as_bytes());
    Ok(bytes)
}
