//! What a crash leaves of the files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use potluck_content::ContentId;

use crate::common::reboot_sidecars;
use crate::recorder::{Event, FileId, Moment};

/// How a node ends without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process dies: the kernel has all that was done.
    Death,
    /// The machine dies: of what was not synced, some is on the disk and some is not.
    PowerLoss,
}

/// Of a write that was not synced, blocks of this size are on the disk or not.
const BLOCK: usize = 4096;

impl Moment {
    /// Writes to `root` what the next start would find there.
    pub(crate) fn leave(&self, crash: Crash, root: &Path) {
        let mut rng = Rng::with_seed(self.seed);
        let (names, files) = match crash {
            Crash::Death => {
                let mut events = self.events.clone();
                events.extend(self.begun.as_ref().map(|begun| cut(begun, &mut rng)));
                let all = vec![true; events.len()];
                (names(&events, &all), contents(&events))
            }
            Crash::PowerLoss => {
                let mut events = self.events.clone();
                events.extend(self.begun.clone());
                let kept = surviving_names(&events, &mut rng);
                (names(&events, &kept), surviving_contents(&events, &mut rng))
            }
        };
        fs::create_dir_all(root).unwrap();
        for (path, node) in &names {
            match node {
                Node::Dir => fs::create_dir_all(root.join(path)).unwrap(),
                Node::File(file) => {
                    let none = Vec::new();
                    fs::write(root.join(path), files.get(file).unwrap_or(&none)).unwrap();
                }
            }
        }
        self.leave_index(crash, root, &mut rng);
        if crash == Crash::PowerLoss {
            boot_again(&root.join("changes"));
            reboot_sidecars(&root.join("contents"));
            forget_boot(&root.join("partial"));
        }
    }

    /// sled's file grows, so what was written since its last sync may be cut off.
    fn leave_index(&self, crash: Crash, root: &Path, rng: &mut Rng) {
        let (files, cut) = match crash {
            Crash::Death => (&self.index, false),
            Crash::PowerLoss => match rng.u8(..3) {
                0 => (&self.index, false),
                1 => (&self.index, true),
                _ => (&self.synced_index, false),
            },
        };
        for (name, bytes) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let synced = self.synced_index.get(name).map_or(0, Vec::len);
            let len = if cut {
                synced.min(bytes.len())
            } else {
                bytes.len()
            };
            fs::write(path, &bytes[..len]).unwrap();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(FileId),
}

/// The names that there are after those steps that are kept.
fn names(events: &[Event], kept: &[bool]) -> BTreeMap<PathBuf, Node> {
    let mut names = BTreeMap::from([(PathBuf::new(), Node::Dir)]);
    let put = |names: &mut BTreeMap<PathBuf, Node>, path: &Path, node| {
        if path
            .parent()
            .is_none_or(|parent| names.contains_key(parent))
        {
            names.insert(path.to_owned(), node);
        }
    };
    for (event, _) in events.iter().zip(kept).filter(|(_, kept)| **kept) {
        match event {
            Event::Create(path, file) => put(&mut names, path, Node::File(*file)),
            Event::MakeDir(path) => put(&mut names, path, Node::Dir),
            Event::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    put(&mut names, to, node);
                }
            }
            Event::Remove(path) => {
                names.remove(path);
            }
            _ => {}
        }
    }
    names
}

/// The names that a step changes.
fn touched(event: &Event) -> Vec<&Path> {
    match event {
        Event::Create(path, _) | Event::MakeDir(path) | Event::Remove(path) => vec![path],
        Event::Rename(from, to) => vec![from, to],
        _ => Vec::new(),
    }
}

/// Which changes of names are on the disk: all in directories that were synced since, and
/// any of the others; but none that builds on one that is lost.
fn surviving_names(events: &[Event], rng: &mut Rng) -> Vec<bool> {
    let mut durable = vec![false; events.len()];
    for (at, event) in events.iter().enumerate() {
        let Event::SyncDir(dir) = event else { continue };
        let mut names: HashSet<&Path> = HashSet::new();
        for before in (0..at).rev() {
            let touched = touched(&events[before]);
            let inside = touched.iter().any(|path| path.parent() == Some(dir));
            if inside || touched.iter().any(|path| names.contains(path)) {
                durable[before] = true;
                names.extend(touched);
            }
        }
    }
    let chance = [0, 50, 90, 100][rng.usize(..4)];
    let mut lost: HashSet<&Path> = HashSet::new();
    let mut kept = durable.clone();
    for (at, event) in events.iter().enumerate() {
        let touched = touched(event);
        let free = !touched.iter().any(|path| lost.contains(path));
        kept[at] = durable[at] || (free && rng.u8(..100) < chance);
        if !kept[at] {
            lost.extend(touched);
        }
    }
    kept
}

/// The bytes of all files.
fn contents(events: &[Event]) -> HashMap<FileId, Vec<u8>> {
    let mut files = HashMap::new();
    for event in events {
        apply(&mut files, event);
    }
    files
}

/// The bytes of all files: those that were synced, and any of those written since.
fn surviving_contents(events: &[Event], rng: &mut Rng) -> HashMap<FileId, Vec<u8>> {
    let mut synced = HashMap::new();
    for (at, event) in events.iter().enumerate() {
        if let Event::SyncFile(file) = event {
            synced.insert(*file, at);
        }
    }
    let mut files = HashMap::new();
    let mut chances = HashMap::new();
    for (at, event) in events.iter().enumerate() {
        let (Event::Write(file, ..) | Event::SetLen(file, _)) = event else {
            continue;
        };
        let chance = *chances
            .entry(*file)
            .or_insert_with(|| [0, 50, 100][rng.usize(..3)]);
        match event {
            _ if synced.get(file).is_some_and(|sync| at < *sync) => apply(&mut files, event),
            Event::Write(_, start, bytes) => {
                for (number, block) in bytes.chunks(BLOCK).enumerate() {
                    if rng.u8(..100) < chance {
                        let start = start + (number * BLOCK) as u64;
                        apply(&mut files, &Event::Write(*file, start, block.into()));
                    }
                }
            }
            event if rng.u8(..100) < chance => apply(&mut files, event),
            _ => {}
        }
    }
    files
}

fn apply(files: &mut HashMap<FileId, Vec<u8>>, event: &Event) {
    match event {
        Event::Write(file, at, bytes) => {
            let old = files.entry(*file).or_default();
            let end = *at as usize + bytes.len();
            old.resize(old.len().max(end), 0);
            old[*at as usize..end].copy_from_slice(bytes);
        }
        Event::SetLen(file, len) => files.entry(*file).or_default().resize(*len as usize, 0),
        _ => {}
    }
}

/// A write of which only the beginning was done.
fn cut(write: &Event, rng: &mut Rng) -> Event {
    match write {
        Event::Write(file, at, bytes) => {
            Event::Write(*file, *at, bytes[..rng.usize(..=bytes.len())].into())
        }
        other => other.clone(),
    }
}

/// Makes the journals those of another run of the kernel.
fn boot_again(changes: &Path) {
    let Ok(entries) = fs::read_dir(changes) else {
        return;
    };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let Some((header, rest)) = text.split_once('\n') else {
            continue;
        };
        let number = path.file_name().unwrap().to_string_lossy();
        let checked = |header: &str| {
            let check = ContentId::of(format!("{number} {header}").as_bytes()).to_hex();
            format!("{header} {}", &check[..8])
        };
        // The run and the check are the last two words of the first line.
        let words: Vec<&str> = header.rsplitn(3, ' ').collect();
        let &[check, run, start] = words.as_slice() else {
            continue;
        };
        // What is torn stays torn.
        if header == checked(&format!("{start} {run}")) && !check.is_empty() {
            let header = checked(&format!("{start} another-run"));
            fs::write(&path, format!("{header}\n{rest}")).unwrap();
        }
    }
}

/// The logs of written pieces are of another run of the kernel.
fn forget_boot(partials: &Path) {
    let Ok(entries) = fs::read_dir(partials) else {
        return;
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == "written")) {
        let mut bytes = fs::read(&path).unwrap();
        if let Some(first) = bytes.get_mut(16) {
            *first ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }
}
