//! Notes every step that changes a data directory, and stops at some of them to keep what
//! a crash there would find.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use potluck_cache::{DiskStep, DiskWatcher};

/// Which file, for as long as it exists under whatever names.
pub(crate) type FileId = usize;

/// A step that was taken. Paths are below the data directory.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Create(PathBuf, FileId),
    Write(FileId, u64, Arc<[u8]>),
    SetLen(FileId, u64),
    SyncFile(FileId),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeDir(PathBuf),
}

/// The files of the index, which sled writes and nobody watches.
pub(crate) type IndexFiles = BTreeMap<PathBuf, Vec<u8>>;

/// Between two steps.
pub(crate) struct Moment {
    pub(crate) events: Vec<Event>,
    /// The write that was about to begin, if it was one.
    pub(crate) begun: Option<Event>,
    pub(crate) index: IndexFiles,
    /// The index when it was synced last.
    pub(crate) synced_index: IndexFiles,
    pub(crate) seed: u64,
}

/// Looks on while a cache works.
pub(crate) struct Recorder {
    root: PathBuf,
    /// One step in so many is kept.
    rarity: usize,
    state: Mutex<State>,
}

struct State {
    events: Vec<Event>,
    names: HashMap<PathBuf, FileId>,
    /// By device and inode; both may be another's once the file is gone.
    files: HashMap<(u64, u64), FileId>,
    made: usize,
    synced_index: IndexFiles,
    moments: Vec<Moment>,
    rng: Rng,
}

impl Recorder {
    pub(crate) fn new(root: &Path, seed: u64, rarity: usize) -> Arc<Self> {
        Arc::new(Self {
            root: root.to_owned(),
            rarity,
            state: Mutex::new(State {
                events: Vec::new(),
                names: HashMap::new(),
                files: HashMap::new(),
                made: 0,
                synced_index: IndexFiles::new(),
                moments: Vec::new(),
                rng: Rng::with_seed(seed),
            }),
        })
    }

    /// The moments that were kept since the last call.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        std::mem::take(&mut self.state().moments)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A path below the data directory; `None` for what belongs to the index.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let path = path.strip_prefix(&self.root).unwrap();
        let of_index = path.to_string_lossy().starts_with("index");
        (!of_index).then(|| path.to_owned())
    }

    fn index_files(&self) -> IndexFiles {
        let mut files = IndexFiles::new();
        read_into(&mut files, &self.root, Path::new("index"));
        files
    }

    /// `None` when it changes nothing but the index.
    fn event(&self, state: &mut State, step: &DiskStep<'_>) -> Option<Event> {
        Some(match *step {
            DiskStep::Create { path } => {
                let below = self.below(path)?;
                match state.names.get(&below) {
                    Some(file) => Event::SetLen(*file, 0),
                    None => {
                        let file = state.made(&fs::metadata(path).unwrap());
                        state.names.insert(below.clone(), file);
                        Event::Create(below, file)
                    }
                }
            }
            DiskStep::Write { file, at, bytes } => {
                Event::Write(state.file(file)?, at, bytes.into())
            }
            DiskStep::Clone { file, source } => {
                let mut bytes = vec![0; source.metadata().unwrap().len() as usize];
                source.read_exact_at(&mut bytes, 0).unwrap();
                Event::Write(state.file(file)?, 0, bytes.into())
            }
            DiskStep::SetLen { file, len } => Event::SetLen(state.file(file)?, len),
            DiskStep::SyncFile { file } => match state.file(file) {
                Some(file) => Event::SyncFile(file),
                None => {
                    state.synced_index = self.index_files();
                    return None;
                }
            },
            DiskStep::SyncDir { path } => Event::SyncDir(self.below(path)?),
            DiskStep::Rename { from, to } => {
                let (from, to) = (self.below(from)?, self.below(to)?);
                state.forget(&to);
                if let Some(file) = state.names.remove(&from) {
                    state.names.insert(to.clone(), file);
                }
                Event::Rename(from, to)
            }
            DiskStep::Remove { path } => {
                let path = self.below(path)?;
                state.forget(&path);
                Event::Remove(path)
            }
            DiskStep::MakeDir { path } => Event::MakeDir(self.below(path)?),
            DiskStep::RemoveDir { path } => panic!("{} is removed", path.display()),
        })
    }
}

impl State {
    fn made(&mut self, meta: &Metadata) -> FileId {
        self.made += 1;
        self.files.insert((meta.dev(), meta.ino()), self.made);
        self.made
    }

    fn file(&self, file: &File) -> Option<FileId> {
        let meta = file.metadata().unwrap();
        self.files.get(&(meta.dev(), meta.ino())).copied()
    }

    fn forget(&mut self, path: &Path) {
        if let Some(gone) = self.names.remove(path) {
            self.files.retain(|_, file| *file != gone);
        }
    }
}

impl DiskWatcher for Recorder {
    fn before(&self, step: &DiskStep<'_>) -> io::Result<()> {
        let mut state = self.state();
        if state.rng.usize(..self.rarity) > 0 {
            return Ok(());
        }
        let begun = match *step {
            DiskStep::Write { file, at, bytes } => state
                .file(file)
                .map(|file| Event::Write(file, at, bytes.into())),
            _ => None,
        };
        let moment = Moment {
            events: state.events.clone(),
            begun,
            index: self.index_files(),
            synced_index: state.synced_index.clone(),
            seed: state.rng.u64(..),
        };
        state.moments.push(moment);
        Ok(())
    }

    fn after(&self, step: &DiskStep<'_>) {
        let mut state = self.state();
        if let Some(event) = self.event(&mut state, step) {
            state.events.push(event);
        }
    }
}

fn read_into(files: &mut IndexFiles, root: &Path, below: &Path) {
    let Ok(entries) = fs::read_dir(root.join(below)) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        if entry.path().is_dir() {
            read_into(files, root, &name);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            // sled removes old files of its own at any time.
            files.insert(name, bytes);
        }
    }
}
