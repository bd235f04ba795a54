//! Pieces into the cache and out of it, one large file from its first piece to its last,
//! beside `dd` and `cp` on the same disk. Run by `tests/bench/run`.
//!
//! What goes in is read from a file in memory, checked against the manifest, written and
//! synced, by as many threads as the engine has for it. Meanwhile a task of the same
//! runtime wants to be woken every millisecond: how late it is, is how long the node would
//! leave a peer waiting.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use potluck_cache::{Cache, Config, Lease, Partial, PartialKey, PartialSpec};
use potluck_content::{ContentHasher, Manifest, PieceIndex};
use potluck_tests::big_file;
use rustix::fs::{Advice, fadvise};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const GIB: f64 = (1 << 30) as f64;
const ROUNDS: usize = 3;
/// As many as the engine has: see `HANDS` in its piece store.
const HANDS: usize = 2;
/// New bytes are made durable after so many, as by the engine: see its file run.
const CHECKPOINT: usize = 64 << 20;
/// As much as the engine reads at a time for a peer.
const BLOCK: usize = 1 << 20;
const TICK: Duration = Duration::from_millis(1);

/// One way, and how long it took each time.
struct Row {
    name: &'static str,
    times: Vec<Duration>,
}

fn main() -> Result<()> {
    let temp = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into()))?;
    let source = temp.path().join("source.bin");
    let size = big_file(temp.path(), "source.bin")?;
    let manifest = manifest(&source)?;
    let mut rows = [
        "dd bs=1M conv=fsync, file to file",
        "cp and sync, file to file",
        "the cache: checked, written, synced",
        "dd bs=1M, the cache's file from the disk to nowhere",
        "the cache: read from the disk for a peer",
    ]
    .map(|name| Row {
        name,
        times: Vec::new(),
    });
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        let target = temp.path().join("target.bin");
        let (from, to) = (source.display(), target.display());
        rows[0].times.push(shell(&format!(
            "dd if={from} of={to} bs=1M conv=fsync status=none"
        ))?);
        std::fs::remove_file(&target)?;
        rows[1]
            .times
            .push(shell(&format!("cp {from} {to} && sync {to}"))?);
        std::fs::remove_file(&target)?;
        let times = through_the_cache(temp.path(), &source, &manifest, &mut late)?;
        for (row, time) in rows[2..].iter_mut().zip(times) {
            row.times.push(time);
        }
    }
    print(&mut rows, size, &mut late);
    Ok(())
}

/// How long the file takes into a new cache, out of it by `dd`, and out of it by itself.
fn through_the_cache(
    dir: &Path,
    source: &Path,
    manifest: &Manifest,
    late: &mut Vec<Duration>,
) -> Result<[Duration; 3]> {
    let dir = tempfile::tempdir_in(dir)?;
    let cache = Cache::open(Config::new(dir.path().to_owned(), u64::MAX))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let written = runtime.block_on(async {
        let done = CancellationToken::new();
        let ticks = tokio::spawn(ticks(done.clone()));
        let start = Instant::now();
        ingest(&cache, source, manifest).await?;
        let taken = start.elapsed();
        done.cancel();
        late.extend(ticks.await?);
        anyhow::Ok(taken)
    })?;
    let lease = cache.lease(&manifest.id()).context("it is not there")?;
    ensure!(lease.size() == manifest.size());
    let hex = manifest.id().to_hex();
    let path = dir.path().join("contents").join(&hex[..2]).join(&hex[2..]);
    // The first time after it was written, a virtual disk may have to fetch it itself.
    forget(&path)?;
    read(&lease)?;
    forget(&path)?;
    let dd = format!("dd if={} of=/dev/null bs=1M status=none", path.display());
    let by_dd = shell(&dd)?;
    forget(&path)?;
    Ok([written, by_dd, read(&lease)?])
}

/// Reads all of it, as the engine does for a peer.
fn read(lease: &Lease) -> Result<Duration> {
    let start = Instant::now();
    let (mut at, mut block) = (0, vec![0; BLOCK]);
    while at < lease.size() {
        at += lease.read_at(&mut block, at)? as u64;
    }
    Ok(start.elapsed())
}

/// Takes the file in, piece by piece, as the engine does with what comes from a peer.
async fn ingest(cache: &Cache, source: &Path, manifest: &Manifest) -> Result<()> {
    let source = Arc::new(File::open(source)?);
    let partial = Arc::new(cache.partial(PartialSpec {
        key: PartialKey::Content(manifest.id()),
        size: Some(manifest.size()),
        manifest: Some(manifest.clone()),
    })?);
    let manifest = Arc::new(manifest.clone());
    let (hands, mut puts) = (Arc::new(Semaphore::new(HANDS)), JoinSet::new());
    let (mut unsaved, mut saving) = (0, JoinSet::new());
    for index in manifest.layout().indices() {
        let hand = Arc::clone(&hands).acquire_owned().await?;
        let (from, proof, to) = (
            Arc::clone(&source),
            Arc::clone(&manifest),
            Arc::clone(&partial),
        );
        puts.spawn_blocking(move || {
            let put = put(&from, &proof, &to, index);
            drop(hand);
            put
        });
        while let Some(put) = puts.try_join_next() {
            put??;
        }
        unsaved += manifest.layout().len_of(index);
        if unsaved >= CHECKPOINT && saving.is_empty() {
            unsaved = 0;
            let partial = Arc::clone(&partial);
            saving.spawn_blocking(move || partial.checkpoint());
        }
        while let Some(saved) = saving.try_join_next() {
            saved??;
        }
    }
    while let Some(saved) = saving.join_next().await {
        saved??;
    }
    while let Some(put) = puts.join_next().await {
        put??;
    }
    let partial = Arc::into_inner(partial).context("nobody else has it")?;
    let id = manifest.id();
    tokio::task::spawn_blocking(move || partial.finish(Some(id)).map(drop)).await??;
    Ok(())
}

fn put(source: &File, manifest: &Manifest, partial: &Partial, index: PieceIndex) -> Result<()> {
    let span = manifest.layout().span(index);
    let mut bytes = vec![0; manifest.layout().len_of(index)];
    source.read_exact_at(&mut bytes, span.start)?;
    partial.put(manifest.verify(index, Bytes::from(bytes))?)?;
    Ok(())
}

/// Sleeps again and again, and says how much later than wanted it was woken.
async fn ticks(done: CancellationToken) -> Vec<Duration> {
    let mut late = Vec::new();
    while !done.is_cancelled() {
        let wanted = tokio::time::Instant::now() + TICK;
        tokio::time::sleep_until(wanted).await;
        // The clock of the timers goes in milliseconds, so a tick may be one late.
        late.push(wanted.elapsed());
    }
    late
}

fn manifest(path: &Path) -> Result<Manifest> {
    let file = File::open(path)?;
    let (mut hasher, mut block) = (ContentHasher::new(), vec![0; BLOCK]);
    loop {
        match file.read_at(&mut block, hasher.size())? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&block[..read])?,
        }
    }
}

/// Takes a file out of the memory of the system, so that it is read from the disk.
fn forget(path: &Path) -> Result<()> {
    Ok(fadvise(&File::open(path)?, 0, None, Advice::DontNeed)?)
}

fn shell(command: &str) -> Result<Duration> {
    let start = Instant::now();
    let status = Command::new("sh").args(["-c", command]).status()?;
    ensure!(status.success(), "{command}: {status}");
    Ok(start.elapsed())
}

fn print(rows: &mut [Row], size: u64, late: &mut [Duration]) {
    println!("{} MiB, {ROUNDS} rounds, median\n", size >> 20);
    println!("| way | GiB/s | seconds |");
    println!("|---|---|---|");
    for row in rows {
        row.times.sort_unstable();
        let seconds = row.times[ROUNDS / 2].as_secs_f64();
        let rate = size as f64 / GIB / seconds;
        println!("| {} | {rate:.2} | {seconds:.2} |", row.name);
    }
    late.sort_unstable();
    let at = |part: usize| late[(late.len() - 1) * part / 1000].as_micros();
    println!(
        "\na task that wakes every ms while pieces go in, µs late: median {}, p99 {}, p99.9 {}, worst {}",
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}
