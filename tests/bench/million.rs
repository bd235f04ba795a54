//! A cache with a million small contents: how long it takes to start, what it takes in
//! memory and on disk, how long a lookup takes, and what becomes of its index while
//! contents come, go and are used. Run by `tests/bench/run`; `POTLUCK_CONTENTS` sets
//! another number.
//!
//! Each step is a process of its own, as a daemon would be. One of them ends by SIGKILL.

mod million_files;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use million_files::{Sample, write_contents};
use potluck_cache::{Cache, Config, Filter};
use rustix::process::{Signal, getpid, kill_process};

const MILLION: u64 = 1_000_000;
const LOOKUPS: u64 = 200_000;
/// What changes before the crash; each is looked at after it.
const CHANGED: u64 = 1_000;
const REMOVED: u64 = 10_000;
/// Spreads consecutive numbers over the contents.
const STRIDE: u64 = 7_919;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("child"), Some(step), Some(dir)) => child(&step, Path::new(&dir)),
        _ => run(),
    }
}

fn run() -> Result<()> {
    let temp = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into()))?;
    let dir = temp.path();
    let count = count()?;
    let time = Instant::now();
    write_contents(&open(dir)?, dir, count)?;
    println!(
        "{count} contents of 64 bytes, each with one URL and one SHA-256; their files were \
         made in {:.0} s.\n",
        time.elapsed().as_secs_f64()
    );
    // All that is known so far is the first one.
    fs::remove_dir_all(dir.join("changes"))?;
    println!("| what | result |");
    println!("|---|---|");
    shell(
        dir,
        "find contents -type f | wc -l",
        "find: the names alone",
    )?;
    shell(
        dir,
        "find contents -name '*.meta' -print0 | xargs -0 cat | wc -c",
        "cat: all sidecars",
    )?;
    for step in [
        "rebuild", "clean", "cold", "crash", "crashed", "use", "clean",
    ] {
        if step == "cold" {
            fs::write("/proc/sys/vm/drop_caches", "3").context("run this as root")?;
        }
        start(step, dir)?;
    }
    sqlite(dir, count)?;
    println!("\nA month of a small cache:\n");
    let small = temp.path().join("small");
    start("month", &small)?;
    Ok(())
}

/// Runs a step in a process of its own.
fn start(step: &str, dir: &Path) -> Result<()> {
    let own = std::env::current_exe()?;
    let status = Command::new(own).args(["child", step]).arg(dir).status()?;
    ensure!(status.success() || step == "crash", "{step}: {status}");
    Ok(())
}

fn child(step: &str, dir: &Path) -> Result<()> {
    let time = Instant::now();
    let cache = open(dir)?;
    let ready = time.elapsed();
    match step {
        "rebuild" => {
            row("start without an index: all of it made", &seconds(ready));
            row("its most memory then", &memory("VmHWM")?);
        }
        "clean" => {
            row("start after a proper end", &seconds(ready));
            row("memory at rest", &memory("VmRSS")?);
            lookups(&cache)?;
            row("memory after these lookups", &memory("VmRSS")?);
        }
        "cold" => row(
            "start after a proper end, nothing in memory",
            &seconds(ready),
        ),
        "crash" => {
            for number in 0..CHANGED {
                cache.set_pinned(&Sample::new(number)?.id, true)?;
            }
            for number in CHANGED..CHANGED + REMOVED {
                cache.remove(&Sample::new(number)?.id)?;
            }
            kill_process(getpid(), Signal::KILL)?;
        }
        "crashed" => {
            let what = format!("start after SIGKILL, {CHANGED} changed, {REMOVED} removed");
            row(&what, &seconds(ready));
            let usage = cache.usage();
            ensure!(usage.pinned == CHANGED, "{usage:?}");
            ensure!(usage.contents == count()? - CHANGED - REMOVED, "{usage:?}");
        }
        "use" => use_all(&cache, dir)?,
        "month" => return month(&cache, dir),
        other => bail!("no step {other}"),
    }
    let disk = size_of(&dir.join("index"))? as f64 / count()? as f64;
    let time = Instant::now();
    drop(cache);
    row("end", &seconds(time.elapsed()));
    row("index on disk, bytes a content", &format!("{disk:.0}"));
    Ok(())
}

fn open(dir: &Path) -> Result<Cache> {
    Ok(Cache::open(Config::new(dir.to_owned(), 1 << 40))?)
}

/// Looks contents up by each of their names, in no order.
fn lookups(cache: &Cache) -> Result<()> {
    let held = CHANGED + REMOVED..count()?;
    let sample = |n: u64| Sample::new(held.start + n * STRIDE % (held.end - held.start));
    timed("by content id", |n| {
        let sample = sample(n)?;
        Ok(move || cache.held(&sample.id).is_some())
    })?;
    timed("by SHA-256", |n| {
        let sample = sample(n)?;
        Ok(move || cache.find_digest(&sample.sha256) == Some(sample.id))
    })?;
    timed("by URL and validator", |n| {
        let sample = sample(n)?;
        let key = sample.entity.key();
        Ok(move || cache.find_entity(&key) == Some(sample.id))
    })?;
    let time = Instant::now();
    let page = cache.page(&Filter::default(), None, 100);
    ensure!(page.len() == 100);
    row("the first 100 of the list", &seconds(time.elapsed()));
    Ok(())
}

fn timed<F: FnOnce() -> bool>(name: &str, lookup: impl Fn(u64) -> Result<F>) -> Result<()> {
    let mut times = Vec::new();
    for n in 0..LOOKUPS {
        let lookup = lookup(n)?;
        let time = Instant::now();
        let found = lookup();
        times.push(time.elapsed());
        ensure!(found, "{name}: lookup {n} found nothing");
    }
    times.sort_unstable();
    let us = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;
    let result = format!("median {:.1} µs, p99 {:.1} µs", us(50), us(99));
    row(&format!("lookup {name}"), &result);
    Ok(())
}

/// As many uses as there are contents, and how the index grows by them.
fn use_all(cache: &Cache, dir: &Path) -> Result<()> {
    let count = count()?;
    let mut sizes = Vec::new();
    let time = Instant::now();
    for n in 0..count {
        if n % (count / 10).max(1) == 0 {
            cache.flush();
            sizes.push(mib(size_of(&dir.join("index"))?));
        }
        // Those that are gone are a miss.
        drop(cache.lease(&Sample::new(n * STRIDE % count)?.id));
    }
    row(
        "one use, with its part of noting it",
        &format!(
            "{:.1} µs",
            time.elapsed().as_secs_f64() * 1e6 / count as f64
        ),
    );
    row(
        "index, MiB, after each tenth of so many uses",
        &sizes.join(", "),
    );
    row("memory after them", &memory("VmRSS")?);
    Ok(())
}

/// A cache of 2,000 contents: each day 10,000 uses, and 100 contents go and as many come.
fn month(cache: &Cache, dir: &Path) -> Result<()> {
    const HELD: u64 = 2_000;
    const DAYS: u64 = 30;
    const USES: u64 = 10_000;
    const CHANGES: u64 = 100;
    let file = dir.join("file");
    let add = |number: u64| {
        let sample = Sample::new(number)?;
        fs::write(&file, &sample.bytes)?;
        cache.add_file_with(&file, &sample.facts(), |_| {})?;
        anyhow::Ok(())
    };
    (0..HELD).try_for_each(add)?;
    println!("| day | index on disk, KiB | journals, KiB |");
    println!("|---|---|---|");
    for day in 0..=DAYS {
        cache.flush();
        if day % 5 == 0 {
            let kib = |name: &str| anyhow::Ok(size_of(&dir.join(name))? >> 10);
            println!("| {day} | {} | {} |", kib("index")?, kib("changes")?);
        }
        let oldest = day * CHANGES;
        for n in 0..USES {
            // Some times an hour.
            if n % 250 == 0 {
                cache.flush();
            }
            let number = oldest + n * STRIDE % HELD;
            ensure!(cache.lease(&Sample::new(number)?.id).is_some());
        }
        for number in oldest..oldest + CHANGES {
            ensure!(cache.remove(&Sample::new(number)?.id)?);
            add(number + HELD)?;
        }
    }
    Ok(())
}

/// The same rows in SQLite, by its own shell: another index that could be had.
fn sqlite(dir: &Path, count: u64) -> Result<()> {
    if Command::new("sqlite3").arg("-version").output().is_err() {
        println!("\nsqlite3 is not installed: nothing to compare with.");
        return Ok(());
    }
    let fill = format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
         CREATE TABLE contents(id BLOB PRIMARY KEY, size, accessed, flags) WITHOUT ROWID;
         CREATE TABLE names(name BLOB PRIMARY KEY, id BLOB) WITHOUT ROWID;
         CREATE INDEX by_access ON contents(accessed);
         CREATE TEMP TABLE made AS
           WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1)
           SELECT i, randomblob(32) AS id FROM n;
         BEGIN;
         INSERT INTO contents SELECT id, 64, 1700000000000000 + i, 5 FROM made ORDER BY id;
         INSERT INTO names SELECT randomblob(33), id FROM made ORDER BY 1;
         INSERT INTO names SELECT randomblob(33), id FROM made ORDER BY 1;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
    );
    let db = dir.join("rival.sqlite");
    let run = |script: &str| {
        let time = Instant::now();
        let output = Command::new("sqlite3").arg(&db).arg(script).output()?;
        ensure!(output.status.success(), "{output:?}");
        anyhow::Ok(time.elapsed())
    };
    let filled = run(&fill)?;
    let bytes = fs::metadata(&db)?.len() as f64 / count as f64;
    row(
        "SQLite: the same rows",
        &format!("{}, {bytes:.0} bytes a content", seconds(filled)),
    );
    let opened = run("SELECT size FROM contents LIMIT 1")?;
    let asked = "CREATE TEMP TABLE asked AS SELECT name FROM names ORDER BY random() LIMIT 200000;";
    let joined = "SELECT sum(size) FROM asked CROSS JOIN names USING (name) \
                  CROSS JOIN contents USING (id);";
    let choosing = run(asked)?;
    let all = run(&format!("{asked}{joined}"))?;
    let each = all.saturating_sub(choosing).as_secs_f64() * 1e6 / LOOKUPS as f64;
    row("SQLite: open and read one row", &seconds(opened));
    row(
        "SQLite: lookup by a name, in one statement",
        &format!("mean {each:.1} µs"),
    );
    Ok(())
}

/// What a shell needs for something that a start need not do.
fn shell(dir: &Path, script: &str, name: &str) -> Result<()> {
    let time = Instant::now();
    let status = Command::new("sh")
        .args(["-c", &format!("{script} > /dev/null")])
        .current_dir(dir)
        .status()?;
    ensure!(status.success(), "{script}");
    row(name, &seconds(time.elapsed()));
    Ok(())
}

fn count() -> Result<u64> {
    match std::env::var("POTLUCK_CONTENTS") {
        Ok(count) => Ok(count.parse()?),
        Err(_) => Ok(MILLION),
    }
}

fn row(what: &str, result: &str) {
    println!("| {what} | {result} |");
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn mib(bytes: u64) -> String {
    (bytes >> 20).to_string()
}

/// A line of what the kernel says of this process.
fn memory(line: &str) -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let found = status.lines().find_map(|l| l.strip_prefix(line));
    let kib = found.and_then(|rest| rest.split_whitespace().nth(1));
    let kib: u64 = kib.with_context(|| format!("no {line}"))?.parse()?;
    Ok(format!("{} MiB", kib >> 10))
}

/// Bytes of the files in a directory.
fn size_of(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            size_of(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}
