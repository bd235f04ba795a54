//! The event log: what happened, as lines of JSON in plain files.
//!
//! One thread owns the files. It writes in the order in which events were recorded
//! and tells followers after the write, so nobody hears of what the log may not know.

mod budget;
mod reader;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use crate::api::is_administrator;
use crate::timestamp::rfc3339;
use budget::{Budget, Verdict};
use reader::events_in;

pub use reader::EventReader;

/// A file that is larger is put aside and a new one begun: 8 MiB are some 30,000 events.
const MAX_FILE: u64 = 8 << 20;
/// Files put aside; the oldest goes first.
const MAX_OLD_FILES: u32 = 4;
/// Events that wait to be written. More at once than the disk takes are lost, with a
/// warning, rather than stopping the node.
const QUEUE: usize = 4_096;
/// Bytes of a text in an event, as long as a URL may be, and items of a list.
const MAX_TEXT: usize = 2_200;
const MAX_ITEMS: usize = 64;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339.
    pub time: String,
    /// Rises by one from event to event.
    pub id: u64,
    /// What happened.
    pub kind: String,
    /// The job it is about.
    pub job: Option<String>,
    /// The user it belongs to; what belongs to nobody everybody may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Everything else there is to say.
    pub fields: Map<String, Value>,
}

impl Event {
    fn new(kind: &str, job: Option<String>, owner: Option<u32>, mut fields: Value) -> Self {
        shorten(&mut fields);
        Self {
            time: rfc3339(SystemTime::now()),
            id: 0,
            kind: kind.to_owned(),
            job,
            owner,
            fields: match fields {
                Value::Object(fields) => fields,
                _ => Map::new(),
            },
        }
    }

    /// So many of a user's events are not in the log.
    fn left_out(owner: u32, count: u64) -> Self {
        let fields = json!({ "count": count });
        Self::new("events_left_out", None, Some(owner), fields)
    }
}

/// Writes and reads the event log. Clones share it.
#[derive(Debug, Clone)]
pub struct EventLog {
    dir: PathBuf,
    queue: SyncSender<Message>,
    followers: broadcast::Sender<Event>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct EventWriter(JoinHandle<()>);

enum Message {
    Event(Box<Event>),
    /// Everything recorded before this has been written when it is answered.
    Flush(SyncSender<()>),
    Stop,
}

impl EventLog {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    /// When the directory or the file cannot be made.
    pub fn open(dir: &Path) -> io::Result<(Self, EventWriter)> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        let mut files = Files::open(dir)?;
        let (queue, messages) = sync_channel(QUEUE);
        let (followers, _) = broadcast::channel(1_024);
        let told = followers.clone();
        let thread = std::thread::Builder::new()
            .name("events".into())
            .spawn(move || write_all(&mut files, &messages, &told))?;
        let log = Self {
            dir: dir.into(),
            queue,
            followers,
        };
        Ok((log, EventWriter(thread)))
    }

    /// Notes an event; `fields` must be a JSON object.
    pub fn record(&self, kind: &str, about: Option<(String, u32)>, fields: Value) {
        let (job, owner) = about.map_or((None, None), |(job, owner)| (Some(job), Some(owner)));
        self.note(kind, job, owner, fields);
    }

    /// Notes an event of a user that is about no job.
    pub fn record_for(&self, owner: u32, kind: &str, fields: Value) {
        self.note(kind, None, Some(owner), fields);
    }

    fn note(&self, kind: &str, job: Option<String>, owner: Option<u32>, fields: Value) {
        let event = Event::new(kind, job, owner, fields);
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Event(Box::new(event))) {
            tracing::warn!(kind, "an event is lost: the disk is too slow");
        }
    }

    /// Everything there is, the oldest first. Blocks; call it from threads that may.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&self, wanted: impl Fn(&Event) -> bool) -> io::Result<Vec<Event>> {
        let mut reader = self.reader(0)?;
        let mut events = Vec::new();
        loop {
            let batch = reader.read()?;
            if batch.is_empty() {
                return Ok(events);
            }
            events.extend(batch.into_iter().filter(|event| wanted(event)));
        }
    }

    /// Reads what there is, a little at a time: everything after the event of this number.
    /// Blocks.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn reader(&self, after: u64) -> io::Result<EventReader> {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            // An error means that the writer has stopped; then all is written too.
            let _ = written.recv();
        }
        EventReader::open(&self.dir, after)
    }

    /// Hears of every event from now on. Who reads too slowly loses the oldest.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Event> {
        self.followers.subscribe()
    }

    /// Ends the writer once everything is written.
    pub fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Message::Stop);
    }
}

impl EventWriter {
    /// Waits for the end after [`EventLog::stop`].
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the event log ended with a panic");
        }
    }
}

struct Files {
    dir: PathBuf,
    file: File,
    size: u64,
    next_id: u64,
    /// The last line has no end.
    is_torn: bool,
}

impl Files {
    fn open(dir: &Path) -> io::Result<Self> {
        let last_id = (0..=MAX_OLD_FILES).find_map(|age| last_id(&file_name(dir, age)));
        let file = append_to(&file_name(dir, 0))?;
        let size = file.metadata()?.len();
        Ok(Self {
            dir: dir.into(),
            file,
            size,
            next_id: last_id.map_or(1, |id| id + 1),
            is_torn: size > 0 && !ends_with_newline(&file_name(dir, 0))?,
        })
    }

    fn write(&mut self, event: &mut Event) -> io::Result<()> {
        event.id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.size > 0 && self.size + line.len() as u64 > MAX_FILE {
            for age in (0..MAX_OLD_FILES).rev() {
                match fs::rename(file_name(&self.dir, age), file_name(&self.dir, age + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            self.file = append_to(&file_name(&self.dir, 0))?;
            self.size = 0;
            self.is_torn = false;
        }
        if self.is_torn {
            line.insert(0, b'\n');
        }
        self.size += line.len() as u64;
        // On a full disk a part may be written; the next event must not be glued to it.
        let written = self.file.write_all(&line);
        self.is_torn = written.is_err();
        written
    }
}

fn write_all(files: &mut Files, messages: &Receiver<Message>, told: &broadcast::Sender<Event>) {
    let mut budget = Budget::default();
    let mut write = |mut event: Event| {
        if let Err(error) = files.write(&mut event) {
            tracing::warn!(%error, kind = event.kind, "an event is not in the log");
        }
        // Nobody following is no failure.
        let _ = told.send(event);
    };
    for message in messages {
        match message {
            Message::Event(event) => match (weigh(&mut budget, &event), event.owner) {
                (Verdict::Write { left_out }, Some(owner)) if left_out > 0 => {
                    write(Event::left_out(owner, left_out));
                    write(*event);
                }
                (Verdict::Write { .. }, _) => write(*event),
                (Verdict::LeaveOut { is_first: true }, owner) => {
                    tracing::warn!(owner, "a user's events are left out: there are too many");
                }
                (Verdict::LeaveOut { .. }, _) => {}
            },
            Message::Flush(done) => drop(done.try_send(())),
            Message::Stop => break,
        }
    }
    for (owner, count) in budget.untold() {
        write(Event::left_out(owner, count));
    }
}

/// What becomes of an event. Administrators and the node itself write what they like.
fn weigh(budget: &mut Budget, event: &Event) -> Verdict {
    let user = event.owner.filter(|owner| !is_administrator(*owner));
    let bytes = serde_json::to_vec(event).map_or(0, |line| line.len());
    match user {
        Some(user) => budget.spend(user, bytes, Instant::now()),
        None => Verdict::Write { left_out: 0 },
    }
}

/// Origins and users write some of what events say: no more of it than is of use.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > MAX_TEXT => {
            let end = (0..=MAX_TEXT).rfind(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            text.push('…');
        }
        Value::Array(items) => {
            items.truncate(MAX_ITEMS);
            items.iter_mut().for_each(shorten);
        }
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

fn file_name(dir: &Path, age: u32) -> PathBuf {
    match age {
        0 => dir.join("events.jsonl"),
        age => dir.join(format!("events.{age}.jsonl")),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn last_id(path: &Path) -> Option<u64> {
    events_in(File::open(path).ok()?)
        .last()
        .map(|event| event.id)
}

fn ends_with_newline(path: &Path) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests;
