//! What is left of the index when the power goes: a process that changes the cache is
//! killed, and the file of the index is cut back to what was synced of it, which is what a
//! filesystem may leave. `POTLUCK_POWER_LOSSES` sets how often; by hand, thirty times.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use common::{Dir, blob, entity, read, reboot, store};
use potluck_cache::{Cache, Config, DiskStep, DiskWatcher, Facts};
use potluck_content::{ContentId, Entity};

const ROUNDS: u64 = 3;
/// So many that a change writes much to the index.
const ENTITIES: u64 = 60;
const MAX_SIZE: u64 = 1 << 30;

/// What the other process is told by.
const DIR: &str = "POTLUCK_TEST_DIR";
const SEED: &str = "POTLUCK_TEST_SEED";

#[test]
fn nothing_is_lost_with_the_power() {
    if let Ok(dir) = env::var(DIR) {
        write(Path::new(&dir), env::var(SEED).unwrap().parse().unwrap());
    }
    let rounds = env::var("POTLUCK_POWER_LOSSES").map_or(ROUNDS, |n| n.parse().unwrap());
    let dir = Dir::new(MAX_SIZE);
    let mut expected = Expected::default();
    let mut grown = 0;
    for seed in 1..=rounds {
        // So many answers, so many changes; which one is cut off is left to chance.
        let answers = 80 + usize::from(blob(seed, 2)[1]);
        let synced = write_until_killed(&dir, seed, answers, &mut expected);
        let db = dir.path().join("index/db");
        assert!(synced > 0);
        let file = OpenOptions::new().write(true).open(&db).unwrap();
        if file.metadata().unwrap().len() > synced {
            grown += 1;
            file.set_len(synced).unwrap();
        }
        // Sometimes only the index suffers, as with a disk of its own.
        if seed % 3 > 0 {
            reboot(&dir);
        }
        check(&dir, &expected, seed);
    }
    println!("{rounds} rounds, the file had grown since its last sync in {grown}");
}

/// What the cache must have, and what it must not.
#[derive(Default)]
struct Expected {
    /// Contents by the number they are made from, with whether they are surely validated.
    held: BTreeMap<u64, bool>,
    gone: BTreeSet<u64>,
}

/// Lets another process change the cache and kills it when it said so often what it did.
/// Says how long the index was when it was last synced.
fn write_until_killed(dir: &Dir, seed: u64, answers: usize, expected: &mut Expected) -> u64 {
    let mut child = writer(&dir.path(), seed);
    let said = BufReader::new(child.stdout.take().unwrap());
    let (mut synced, mut count) = (0, 0);
    // What it said after that counts too.
    for line in said.lines().map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        let &[what, number, "."] = &words[..] else {
            continue;
        };
        let number: u64 = number.parse().unwrap();
        match what {
            "synced" => synced = number,
            "added" => drop(expected.held.insert(number, false)),
            "validated" => drop(expected.held.insert(number, true)),
            // From here on it may be there or not.
            "removing" => drop(expected.held.remove(&number)),
            "removed" => drop(expected.gone.insert(number)),
            _ => panic!("{line}"),
        }
        count += 1;
        if count == answers {
            child.kill().unwrap();
        }
    }
    let ended = child.wait().unwrap();
    assert!(count >= answers, "the writer ended by itself: {ended}");
    synced
}

fn check(dir: &Dir, expected: &Expected, seed: u64) {
    let cache = dir.open();
    for (number, validated) in &expected.held {
        let bytes = bytes_of(*number);
        let id = ContentId::of(&bytes);
        let lease = cache
            .lease(&id)
            .unwrap_or_else(|| panic!("{number} is lost, {seed}"));
        assert_eq!(read(&lease), bytes, "{number}, {seed}");
        assert!(lease.validated() || !validated, "{number}, {seed}");
        for entity in entities(*number).iter().filter(|_| *validated) {
            assert_eq!(
                cache.find_entity(&entity.key()),
                Some(id),
                "{number}, {seed}"
            );
        }
    }
    for number in &expected.gone {
        let id = ContentId::of(&bytes_of(*number));
        assert!(cache.held(&id).is_none(), "{number} came back, {seed}");
        for entity in entities(*number) {
            assert_eq!(cache.find_entity(&entity.key()), None, "{number}, {seed}");
        }
    }
    let records = cache.list();
    for record in &records {
        let lease = cache.lease(&record.id).unwrap();
        assert_eq!(ContentId::of(&read(&lease)), record.id, "{seed}");
    }
    let usage = cache.usage();
    let bytes: u64 = records.iter().map(|record| record.size).sum();
    assert_eq!((usage.bytes, usage.contents), (bytes, records.len() as u64));
}

fn bytes_of(number: u64) -> Bytes {
    Bytes::from(format!("content {number}"))
}

fn entities(number: u64) -> Vec<Entity> {
    let url = |n| format!("http://o/{number}/{n}");
    (0..ENTITIES)
        .map(|n| entity(&url(n), &bytes_of(number)))
        .collect()
}

fn writer(dir: &Path, seed: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "nothing_is_lost_with_the_power", "--nocapture"])
        .env(DIR, dir)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the other process does, until it is killed.
fn write(dir: &Path, seed: u64) {
    let config = Config::new(dir.to_owned(), MAX_SIZE);
    let cache = Cache::open_watched(config, Arc::new(Witness)).unwrap();
    let (mut fresh, mut mine) = (Vec::new(), Vec::new());
    for step in 0_u64.. {
        let chance = blob(seed * 1_000_000 + step, 2)[1];
        let number = seed * 1_000_000 + step;
        let id = |number| ContentId::of(&bytes_of(number));
        match chance % 64 {
            0..28 => {
                drop(store(&cache, &bytes_of(number)));
                say("added", number);
                fresh.push(number);
            }
            28..58 if !fresh.is_empty() => {
                let number = fresh.swap_remove(usize::from(chance) % fresh.len());
                let facts = |facts: &mut Facts| {
                    facts.validated = true;
                    facts.entities = entities(number);
                };
                cache.update(&id(number), facts).unwrap();
                say("validated", number);
                mine.push(number);
            }
            58..62 if !mine.is_empty() => {
                let number = mine.swap_remove(usize::from(chance) % mine.len());
                say("removing", number);
                cache.remove(&id(number)).unwrap();
                say("removed", number);
            }
            62 => cache.flush(),
            _ => {}
        }
    }
}

/// Sees how much of the index is synced.
struct Witness;

impl DiskWatcher for Witness {
    fn before(&self, _: &DiskStep<'_>) -> io::Result<()> {
        Ok(())
    }

    fn after(&self, step: &DiskStep<'_>) {
        if let DiskStep::SyncFile { file } = step {
            let name = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            if name.ends_with("index/db") {
                say("synced", file.metadata().unwrap().len());
            }
        }
    }
}

/// One line of its own; one that is cut off lacks its end.
fn say(what: &str, number: u64) {
    io::stdout()
        .write_all(format!("\n{what} {number} .\n").as_bytes())
        .unwrap();
}
