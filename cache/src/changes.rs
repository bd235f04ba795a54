//! Which contents change, told before they do.
//!
//! The index is made durable only now and then. In between, a journal names the contents
//! that changed, so that after a crash only these have to be looked at. There is always
//! one journal; while the index is synced there are two.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use potluck_content::ContentId;

use crate::CacheError;
use crate::data_dir::{DataDir, list};
use crate::disk::{Disk, private_file};
use crate::inner::lock;
use crate::journal::{Header, Journal, change_line, closed_line, header_line};

/// The journals of an open cache.
pub(crate) struct Changes {
    dir: PathBuf,
    disk: Disk,
    header: Header,
    state: Mutex<State>,
    /// Somebody ended a change.
    ended: Condvar,
    /// One sync at a time.
    syncing: Mutex<()>,
}

struct State {
    generation: u64,
    /// None when the disk was too full for a journal: then nothing can be added until the
    /// next sync finds room, and a crash makes the next start read all files.
    file: Option<Arc<File>>,
    /// Bytes in the file.
    len: u64,
    /// The directories with changed names that may not be durable, by the first byte of
    /// the ids in them.
    dirs: BTreeSet<u8>,
    /// The contents that the journal names, and whether that is durable.
    noted: HashMap<ContentId, bool>,
    /// Earlier journals, as long as they are needed, that name contents and may not be
    /// durable.
    doubtful: Vec<Arc<File>>,
    /// How many changes are being made, by the journal that names them.
    running: HashMap<u64, usize>,
    /// The contents whose removal may not be durable, and the journal that names it.
    removed: HashMap<ContentId, u64>,
}

/// While it lives, a change is being made. It is noted before it is in the index.
#[must_use]
pub(crate) struct Change<'a> {
    changes: &'a Changes,
    generation: u64,
}

/// A journal that is over: nobody makes a change any more that it names.
pub(crate) struct Ended {
    pub(crate) generation: u64,
    /// See [`State::dirs`].
    pub(crate) dirs: BTreeSet<u8>,
}

/// With so many the index is synced, so that little has to be looked at after a crash
/// and little is held in memory.
const MANY: usize = 20_000;

impl Changes {
    /// Begins a journal. Those before it stay until they are [forgotten](Self::forget).
    pub(crate) fn begin(
        dir: &DataDir,
        header: Header,
        generation: u64,
    ) -> Result<Self, CacheError> {
        let (file, len) = match create(dir, &header, generation) {
            Ok((file, len)) => (Some(Arc::new(file)), len),
            Err(CacheError::NoSpace { .. }) => (None, 0),
            Err(error) => return Err(error),
        };
        Ok(Self {
            dir: dir.changes(),
            disk: dir.disk.clone(),
            header,
            state: Mutex::new(State {
                generation,
                file,
                len,
                dirs: BTreeSet::new(),
                noted: HashMap::new(),
                doubtful: Vec::new(),
                running: HashMap::new(),
                removed: HashMap::new(),
            }),
            ended: Condvar::new(),
            syncing: Mutex::new(()),
        })
    }

    /// The cache that the journals are of.
    pub(crate) fn cache(&self) -> &str {
        &self.header.cache
    }

    /// Notes durably that a content is about to be changed.
    ///
    /// What a sidecar says from now on must not be forgotten for what the index says.
    pub(crate) fn note(&self, id: &ContentId) -> Result<Change<'_>, CacheError> {
        let mut state = self.state();
        let fail = |e| CacheError::io(&self.dir, e);
        state.append(&self.disk, id).map_err(fail)?;
        let change = self.change(&mut state);
        if state.noted.get(id) == Some(&true) {
            return Ok(change);
        }
        let file = state.file.clone();
        drop(state);
        if let Some(file) = file {
            self.disk.sync(&file).map_err(fail)?;
        }
        let mut state = self.state();
        if state.generation == change.generation {
            state.noted.insert(*id, true);
        }
        Ok(change)
    }

    /// Notes that a content is about to be changed, in a way that a loss of power may undo.
    ///
    /// Then its files tell what became of it, or that they are not to be believed: the note
    /// only saves looking for them, and is there after the death of the process.
    pub(crate) fn note_unsynced(&self, id: &ContentId) -> Result<Change<'_>, CacheError> {
        let mut state = self.state();
        (state.append(&self.disk, id)).map_err(|e| CacheError::io(&self.dir, e))?;
        Ok(self.change(&mut state))
    }

    /// Makes durable what was noted, if it is not yet: once for all contents that are about
    /// to become durable, which must not be forgotten then for what the index says of them.
    pub(crate) fn sync_notes(&self) -> Result<(), CacheError> {
        let state = self.state();
        let generation = state.generation;
        let noted = state.noted_in_doubt();
        let mut files = state.doubtful.clone();
        files.extend(state.file.clone().filter(|_| !noted.is_empty()));
        drop(state);
        let mut synced = files.iter().map(|file| self.disk.sync(file));
        let synced = synced.find(Result::is_err).unwrap_or(Ok(()));
        let mut state = self.state();
        if state.generation == generation {
            for id in noted {
                match &synced {
                    Ok(()) => state.noted.insert(id, true),
                    // It may be lost: it is noted again.
                    Err(_) => state.noted.remove(&id),
                };
            }
        }
        synced.map_err(|e| CacheError::io(&self.dir, e))?;
        let is_later = |file: &Arc<File>| !files.iter().any(|done| Arc::ptr_eq(done, file));
        state.doubtful.retain(is_later);
        Ok(())
    }

    /// Notes that a content is about to be removed.
    ///
    /// This needs not be durable: when the machine goes down, the files that are left are
    /// compared with the index. Nor must it fail on a full disk, where removing is what
    /// helps: the worst is that the index leads to files that are gone, which is noticed.
    pub(crate) fn note_removal(&self, id: &ContentId) -> Change<'_> {
        let mut state = self.state();
        if let Err(error) = state.append(&self.disk, id) {
            tracing::debug!(content = %id, %error, "removal not noted");
        }
        let generation = state.generation;
        state.removed.insert(*id, generation);
        self.change(&mut state)
    }

    /// Whether files of this content that were removed may come back when the power goes.
    pub(crate) fn may_come_back(&self, id: &ContentId) -> bool {
        self.state().removed.contains_key(id)
    }

    /// The directories of a journal are synced: what it says was removed stays so.
    pub(crate) fn removals_are_durable(&self, ended: &Ended) {
        let is_later = |_: &ContentId, generation: &mut u64| *generation > ended.generation;
        self.state().removed.retain(is_later);
    }

    /// Whether the index should be synced.
    pub(crate) fn are_many(&self) -> bool {
        self.state().noted.len() >= MANY
    }

    /// Goes on with a new journal, and waits until the changes that the old one names are
    /// made. Whoever makes a change must not call this.
    pub(crate) fn turn(&self, dir: &DataDir) -> Result<Ended, CacheError> {
        let generation = self.state().generation;
        let (file, len) = create(dir, &self.header, generation + 1)?;
        let mut state = self.state();
        let ended = Ended {
            generation,
            dirs: std::mem::take(&mut state.dirs),
        };
        if !state.noted_in_doubt().is_empty() {
            let before = state.file.clone();
            state.doubtful.extend(before);
        }
        state.noted = HashMap::new();
        state.generation = generation + 1;
        state.file = Some(Arc::new(file));
        state.len = len;
        while state.running.contains_key(&generation) {
            state = (self.ended.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(ended)
    }

    /// Takes back the directories of a journal, because they could not be synced.
    pub(crate) fn take_back(&self, ended: &Ended) {
        self.state().dirs.extend(&ended.dirs);
    }

    /// Whether anything changed since the last turn, or there is no journal.
    pub(crate) fn is_turn_due(&self) -> bool {
        let state = self.state();
        !state.dirs.is_empty() || !state.noted.is_empty() || state.file.is_none()
    }

    /// The number of the journal before this one.
    pub(crate) fn before(&self) -> u64 {
        self.state().generation - 1
    }

    /// The right to sync.
    pub(crate) fn syncing(&self) -> MutexGuard<'_, ()> {
        lock(&self.syncing)
    }

    /// Removes the journals up to one, whose changes are durable in the index.
    pub(crate) fn forget(&self, generation: u64) {
        self.state().doubtful.clear();
        for (path, number) in files(&self.dir).unwrap_or_default() {
            if number.is_none_or(|number| number <= generation) {
                self.disk.discard(&path);
            }
        }
    }

    /// Notes that the cache is closed, if nothing changed since the last turn.
    pub(crate) fn close(&self) {
        let state = self.state();
        if let (true, Some(file)) = (state.noted.is_empty(), &state.file) {
            let line = closed_line(state.generation);
            let closed = (self.disk.write_at(file, line.as_bytes(), state.len))
                .and_then(|()| self.disk.sync(file));
            if let Err(error) = closed {
                tracing::debug!(%error, "end not noted");
            }
        }
    }

    fn change(&self, state: &mut State) -> Change<'_> {
        *state.running.entry(state.generation).or_default() += 1;
        Change {
            changes: self,
            generation: state.generation,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// What the journal names, and may not be durable.
    fn noted_in_doubt(&self) -> Vec<ContentId> {
        let noted = self.noted.iter().filter(|(_, durable)| !**durable);
        noted.map(|(id, _)| *id).collect()
    }

    /// Writes down a content that is not yet in the journal.
    fn append(&mut self, disk: &Disk, id: &ContentId) -> io::Result<()> {
        if !self.noted.contains_key(id) {
            self.dirs.insert(id.as_bytes()[0]);
            let line = change_line(self.generation, id);
            let full = || io::Error::from(io::ErrorKind::StorageFull);
            let file = self.file.as_ref().ok_or_else(full)?;
            // Where it fails, the next line goes over what is there of this one.
            disk.write_at(file, line.as_bytes(), self.len)?;
            self.len += line.len() as u64;
            self.noted.insert(*id, false);
        }
        Ok(())
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut state = self.changes.state();
        if let Some(running) = state.running.get_mut(&self.generation) {
            *running -= 1;
            if *running == 0 {
                state.running.remove(&self.generation);
                self.changes.ended.notify_all();
            }
        }
    }
}

/// The journals that are there, by number; `None` where one cannot be read.
pub(crate) fn read_journals(dir: &DataDir) -> Result<Option<Vec<Journal>>, CacheError> {
    let mut journals = Vec::new();
    for (path, number) in files(&dir.changes())? {
        let read = || Journal::parse(number?, &fs::read(&path).ok()?);
        let Some(journal) = read() else {
            tracing::warn!(path = %path.display(), "journal cannot be read");
            return Ok(None);
        };
        journals.push(journal);
    }
    journals.sort_by_key(|journal| journal.generation);
    Ok(Some(journals))
}

/// The largest number that a journal has; 0 when there is none.
pub(crate) fn last_generation(dir: &DataDir) -> u64 {
    let files = files(&dir.changes()).unwrap_or_default();
    let numbers = files.into_iter().filter_map(|(_, number)| number);
    numbers.max().unwrap_or(0)
}

fn files(dir: &Path) -> Result<Vec<(PathBuf, Option<u64>)>, CacheError> {
    let files = list(dir)?.into_iter();
    Ok(files
        .map(|(path, name)| (path, name.parse().ok()))
        .collect())
}

/// Makes a journal that is there after any crash, and says how long it is. One of the same
/// number is replaced.
fn create(dir: &DataDir, header: &Header, generation: u64) -> Result<(File, u64), CacheError> {
    let path = dir.changes().join(generation.to_string());
    let line = header_line(generation, header);
    dir.replace(&path, line.as_bytes())?;
    dir.sync_dir(&dir.changes())?;
    let opened = private_file().open(&path);
    let file = opened.map_err(|e| CacheError::io(&path, e))?;
    Ok((file, line.len() as u64))
}
