//! Reading the event log, a little at a time.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Event, MAX_OLD_FILES, file_name};

/// How much of a file is read at once, in bytes.
const BATCH: u64 = 64 << 10;

/// Reads events, the oldest first, as far as they were written when it was made. The files
/// are kept open: what is put aside meanwhile is read all the same.
#[derive(Debug)]
pub struct EventReader {
    /// The oldest is last.
    files: Vec<BufReader<File>>,
    last: u64,
}

impl EventReader {
    pub(super) fn open(dir: &Path, after: u64) -> io::Result<Self> {
        let mut files: Vec<(File, Metadata)> = Vec::new();
        // From the newest on: a file that is put aside meanwhile comes twice, and none is
        // passed over.
        for path in (0..=MAX_OLD_FILES).map(|age| file_name(dir, age)) {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let about = file.metadata()?;
            let is_known = |(_, known): &(File, Metadata)| known.ino() == about.ino();
            if !files.iter().any(is_known) {
                files.push((file, about));
            }
        }
        let files = files.into_iter().map(|(file, _)| BufReader::new(file));
        Ok(Self {
            files: files.collect(),
            last: after,
        })
    }

    /// The next events; none at the end. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut line = Vec::new();
        while let Some(file) = self.files.last_mut() {
            line.clear();
            let read = file.read_until(b'\n', &mut line)?;
            if read == 0 {
                self.files.pop();
            }
            bytes += read as u64;
            if let Some(event) = event_in(&line).filter(|event| event.id > self.last) {
                self.last = event.id;
                events.push(event);
            }
            if bytes >= BATCH && !events.is_empty() {
                break;
            }
        }
        Ok(events)
    }

    /// The number of the last event that was read, or after which it began.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }
}

/// The events of a file.
pub(super) fn events_in(file: File) -> impl Iterator<Item = Event> {
    let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| event_in(&line))
}

/// What a crash or a full disk left of others is passed over, whatever bytes it is.
fn event_in(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line).ok()
}
