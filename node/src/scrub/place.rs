//! How far the scrub is, over restarts.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use potluck_content::ContentId;
use serde::{Deserialize, Serialize};

/// From the beginning of one pass to that of the next, at the least: disks forget slowly,
/// and a small cache should not be read all day.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A pass through all contents, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// When the pass began.
    began: SystemTime,
    /// The content that was checked last.
    pub(super) after: Option<ContentId>,
    ended: bool,
    /// Contents that were checked.
    pub(super) contents: u64,
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// Contents that were damaged.
    pub(super) damaged: u64,
}

impl Place {
    pub(super) const fn new(now: SystemTime) -> Self {
        Self {
            began: now,
            after: None,
            ended: false,
            contents: 0,
            bytes: 0,
            damaged: 0,
        }
    }

    /// Where the last process stopped; from the beginning where nobody knows.
    pub(super) fn read(path: &Path, now: SystemTime) -> Self {
        let read = fs::read(path).ok();
        let place = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        place.unwrap_or_else(|| Self::new(now))
    }

    /// Not synced: what is lost is read once more.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&temporary, path)
    }

    /// Notes that the last content was checked.
    pub(super) const fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the last content was checked.
    pub(super) const fn is_at_end(&self) -> bool {
        self.ended
    }

    /// Whether there is something to check now. Begins the next pass when it is time.
    pub(super) fn is_due(&mut self, now: SystemTime) -> bool {
        // A clock that was set back must not put it off for years.
        let since = now.duration_since(self.began).unwrap_or(EVERY);
        if self.ended && since >= EVERY {
            *self = Self::new(now);
        }
        !self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn passes_begin_a_week_apart() {
        let start = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let mut place = Place::new(start);
        assert!(place.is_due(start));
        place.contents = 7;
        place.end();
        assert!(!place.is_due(start + 6 * DAY));
        assert!(place.is_due(start + 7 * DAY));
        assert_eq!(place, Place::new(start + 7 * DAY));
        // One that takes longer than a week is followed by the next at once.
        place.end();
        assert!(place.is_due(start + 30 * DAY));
        place.end();
        assert!(place.is_due(start), "the clock was set back");
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scrub.json");
        let now = SystemTime::now();
        let mut place = Place::read(&path, now);
        assert_eq!(place, Place::new(now));
        place.after = Some(ContentId::of(b"last"));
        place.bytes = 9;
        place.write(&path).unwrap();
        assert_eq!(Place::read(&path, now), place);
        fs::write(&path, "garbage").unwrap();
        assert_eq!(Place::read(&path, now), Place::new(now));
    }
}
