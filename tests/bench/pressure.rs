//! Ten times what the cache may hold is written through it. How much of the disk it takes
//! meanwhile, and how long any call takes, beside the same without a limit: what both have
//! is the disk, what only the first has is eviction. Run by `tests/bench/run`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use potluck_cache::{Cache, Config, Eviction, PartialKey, PartialSpec};
use potluck_content::{ContentId, HashedPiece, Layout};

const LIMIT: u64 = 256 << 20;
const WRITTEN: u64 = 10 * LIMIT;
const WRITERS: u64 = 2;
/// As they come by turns; the large ones make the room of thousands of small ones.
const SIZES: [usize; 8] = [
    4 << 10,
    64 << 10,
    16 << 10,
    1 << 20,
    4 << 10,
    256 << 10,
    32 << 20,
    8 << 10,
];
const AIM: Duration = Duration::from_millis(50);

/// The longest call of each kind.
type Longest = BTreeMap<&'static str, Duration>;

/// What the writers tell the others.
#[derive(Default)]
struct Progress {
    /// Bytes of contents that were begun and are not complete.
    in_flight: AtomicU64,
    /// Bytes that the last complete contents have.
    written: AtomicU64,
    is_over: AtomicBool,
}

fn main() -> Result<()> {
    println!("| | LRU | S3-FIFO | no limit |\n|---|---:|---:|---:|");
    let runs = [
        run(LIMIT, Eviction::Lru)?,
        run(LIMIT, Eviction::S3Fifo)?,
        run(u64::MAX, Eviction::Lru)?,
    ];
    for call in runs[0].1.keys() {
        let cells = runs.each_ref().map(|(_, longest)| {
            let time = longest.get(call).copied().unwrap_or_default();
            format!("{:.1} ms", time.as_secs_f64() * 1e3)
        });
        println!("| longest {call} | {} |", cells.join(" | "));
    }
    let over = runs.each_ref().map(|(over, _)| match over {
        Some(over) => format!("{:+.1} MiB", *over as f64 / f64::from(1 << 20)),
        None => "-".to_owned(),
    });
    println!(
        "| disk at most, beside limit and in flight | {} |",
        over.join(" | ")
    );
    for (name, (_, longest)) in ["LRU", "S3-FIFO"].iter().zip(&runs) {
        let late: Vec<_> = longest.iter().filter(|(_, time)| **time > AIM).collect();
        if !late.is_empty() {
            println!("\n{name}: above the aim of {AIM:?}: {late:?}; compare with no limit.");
        }
    }
    Ok(())
}

/// By how many bytes the disk held more than it may, at most, and the longest calls.
fn run(max_size: u64, eviction: Eviction) -> Result<(Option<i64>, Longest)> {
    let temp = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into()))?;
    let dir = temp.path().join("data");
    let cache = Cache::open(Config {
        eviction,
        ..Config::new(dir.clone(), max_size)
    })?;
    let progress = Progress::default();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (cache, progress) = (&cache, &progress);
                scope.spawn(move || write(cache, progress, writer))
            })
            .collect();
        let reader = scope.spawn(|| read(&cache, &progress));
        let watcher = scope.spawn(|| watch(&dir, &progress, max_size));
        let mut longest = Longest::new();
        for writer in writers {
            merge(&mut longest, writer.join().expect("no panic")?);
        }
        progress.is_over.store(true, Ordering::Relaxed);
        merge(&mut longest, reader.join().expect("no panic")?);
        let over = watcher.join().expect("no panic")?;
        ensure!(cache.usage().bytes <= max_size);
        Ok(((max_size == LIMIT).then_some(over), longest))
    })
}

fn merge(longest: &mut Longest, other: Longest) {
    for (call, time) in other {
        let known = longest.entry(call).or_default();
        *known = time.max(*known);
    }
}

fn timed<T>(longest: &mut Longest, call: &'static str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    let known = longest.entry(call).or_default();
    *known = start.elapsed().max(*known);
    done
}

fn write(cache: &Cache, progress: &Progress, writer: u64) -> Result<Longest> {
    let mut longest = Longest::new();
    let mut number = writer;
    while progress.written.load(Ordering::Relaxed) < WRITTEN {
        let size = SIZES[(number / WRITERS) as usize % SIZES.len()];
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(number).fill(&mut bytes);
        let bytes = Bytes::from(bytes);
        let layout = Layout::for_size(size as u64)?;
        progress.in_flight.fetch_add(size as u64, Ordering::Relaxed);
        let spec = PartialSpec {
            key: PartialKey::Private(format!("writer-{writer}")),
            size: Some(size as u64),
            manifest: None,
        };
        let partial = timed(&mut longest, "opening of a partial", || cache.partial(spec))?;
        for index in layout.indices() {
            let span = layout.span(index);
            let part = bytes.slice(span.start as usize..span.end as usize);
            let piece = HashedPiece::new(layout, index, part)?;
            let _ = timed(&mut longest, "writing of a piece", || {
                partial.put_hashed(piece)
            })?;
        }
        let lease = timed(&mut longest, "finish", || partial.finish(None))
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        timed(&mut longest, "end of a lease", || drop(lease));
        progress.in_flight.fetch_sub(size as u64, Ordering::Relaxed);
        progress.written.fetch_add(size as u64, Ordering::Relaxed);
        number += WRITERS;
    }
    Ok(longest)
}

/// Looks up and leases what may be there.
fn read(cache: &Cache, progress: &Progress) -> Result<Longest> {
    let mut longest = Longest::new();
    let mut last: Option<ContentId> = None;
    while !progress.is_over.load(Ordering::Relaxed) {
        let page = timed(&mut longest, "page of 20", || {
            cache.page(&potluck_cache::Filter::default(), last.as_ref(), 20)
        });
        last = page.last().map(|record| record.id);
        for record in page {
            timed(&mut longest, "look-up", || cache.held(&record.id));
            let lease = timed(&mut longest, "lease", || cache.lease(&record.id));
            drop(lease);
        }
        timed(&mut longest, "flush", || cache.flush());
        thread::sleep(Duration::from_millis(5));
    }
    Ok(longest)
}

/// By how many bytes the files of contents exceed the limit and what is in flight.
fn watch(dir: &Path, progress: &Progress, max_size: u64) -> Result<i64> {
    let mut most = i64::MIN;
    while !progress.is_over.load(Ordering::Relaxed) {
        let before = progress.in_flight.load(Ordering::Relaxed);
        let mut bytes = 0;
        for part in ["contents", "partial", "scratch"] {
            bytes += bytes_in(&dir.join(part))?;
        }
        // What was in flight at any time while the files were counted may be among them.
        let in_flight = before.max(progress.in_flight.load(Ordering::Relaxed));
        let allowed = max_size.saturating_add(in_flight);
        most = most
            .max(i64::try_from(bytes)?.saturating_sub(i64::try_from(allowed).unwrap_or(i64::MAX)));
        thread::sleep(Duration::from_millis(20));
    }
    Ok(most)
}

/// As `du` counts them, but without sidecars.
fn bytes_in(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let Ok(path) = entry.map(|entry| entry.path()) else {
            continue;
        };
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            bytes += bytes_in(&path)?;
        } else if path.extension().is_none() {
            bytes += meta.blocks() * 512;
        }
    }
    Ok(bytes)
}
