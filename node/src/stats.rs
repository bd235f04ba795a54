//! Counters per day, kept over restarts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use potluck_plan::Accounting;
use serde::{Deserialize, Serialize};

use crate::timestamp::{day, rfc3339};

/// Days that are kept apart; older ones are only in the sum.
const MAX_DAYS: usize = 400;

/// What was counted over some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Bytes that jobs got, by where they came from.
    #[serde(flatten)]
    pub got: Accounting,
    /// Bytes given to peers.
    pub bytes_served: u64,
    /// Bytes of manifests that lie beside files, which are in no file's count.
    #[serde(default)]
    pub bytes_of_manifests: u64,
    /// Of the discarded, bytes of the origin that pieces of members were compared with.
    #[serde(default)]
    pub bytes_audited: u64,
    /// Pieces that were asked of origins in the place of a late member of the swarm.
    #[serde(default)]
    pub claims_taken_over: u64,
    /// Downloads that were completed.
    pub jobs_completed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.got += other.got;
        self.bytes_served = self.bytes_served.saturating_add(other.bytes_served);
        self.bytes_of_manifests = self
            .bytes_of_manifests
            .saturating_add(other.bytes_of_manifests);
        self.bytes_audited = self.bytes_audited.saturating_add(other.bytes_audited);
        self.claims_taken_over = self
            .claims_taken_over
            .saturating_add(other.claims_taken_over);
        self.jobs_completed = self.jobs_completed.saturating_add(other.jobs_completed);
    }
}

/// The counters of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Stats {
    path: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

/// What this process has moved so far that is in no job's count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Bytes given to peers.
    pub served: u64,
    /// Bytes of manifests that came.
    pub manifests: u64,
}

#[derive(Debug)]
struct Inner {
    kept: Kept,
    /// What [`Stats::add_so_far`] was told last.
    so_far: SoFar,
    is_saved: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    version: u32,
    since: String,
    /// Days that are no longer kept apart.
    before: Counts,
    days: BTreeMap<String, Counts>,
}

impl Stats {
    /// Opens the counters in a file. A file that is missing or broken begins anew.
    #[must_use]
    pub fn open(path: &Path, now: SystemTime) -> Self {
        let kept = fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok())
            .filter(|kept| kept.version == 1)
            .unwrap_or_else(|| Kept {
                version: 1,
                since: rfc3339(now),
                before: Counts::default(),
                days: BTreeMap::new(),
            });
        Self {
            path: path.into(),
            inner: Arc::new(Mutex::new(Inner {
                kept,
                so_far: SoFar::default(),
                is_saved: true,
            })),
        }
    }

    /// Counts.
    pub fn add(&self, counts: Counts, now: SystemTime) {
        if counts == Counts::default() {
            return;
        }
        let mut inner = self.inner();
        inner.is_saved = false;
        let kept = &mut inner.kept;
        *kept.days.entry(day(now)).or_default() += counts;
        while kept.days.len() > MAX_DAYS {
            if let Some((_, oldest)) = kept.days.pop_first() {
                kept.before += oldest;
            }
        }
    }

    /// Counts what was moved since this was told last.
    pub fn add_so_far(&self, so_far: SoFar, now: SystemTime) {
        let before = std::mem::replace(&mut self.inner().so_far, so_far);
        let counts = Counts {
            bytes_served: so_far.served.saturating_sub(before.served),
            bytes_of_manifests: so_far.manifests.saturating_sub(before.manifests),
            ..Counts::default()
        };
        self.add(counts, now);
    }

    /// The sum since the day that `since` falls on, or of all time, and when that began.
    #[must_use]
    pub fn sum(&self, since: Option<SystemTime>) -> (Counts, String) {
        let inner = self.inner();
        let kept = &inner.kept;
        let first = since
            .map(day)
            .filter(|first: &String| first.as_str() > kept.since.get(..10).unwrap_or_default());
        let mut sum = Counts::default();
        match &first {
            Some(first) => kept
                .days
                .range(first.clone()..)
                .for_each(|(_, day)| sum += *day),
            None => {
                sum += kept.before;
                kept.days.values().for_each(|day| sum += *day);
            }
        }
        let began = first.map_or_else(|| kept.since.clone(), |day| format!("{day}T00:00:00Z"));
        (sum, began)
    }

    /// Makes the counters durable. Blocks; call it from threads that may.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save(&self) -> io::Result<()> {
        let kept = {
            let mut inner = self.inner();
            if std::mem::replace(&mut inner.is_saved, true) {
                return Ok(());
            }
            inner.kept.clone()
        };
        self.write(&kept)
            .inspect_err(|_| self.inner().is_saved = false)
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sums_go_back_as_far_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stats.json");
        let today = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400);
        let days = |days: u64| today - Duration::from_secs(days * 86_400);
        let one = Counts {
            bytes_served: 5,
            jobs_completed: 1,
            ..Counts::default()
        };
        let stats = Stats::open(&path, days(10));
        stats.add(one, days(10));
        stats.add(one, days(3));
        stats.add(one, today);
        stats.save().unwrap();
        let stats = Stats::open(&path, today);
        assert_eq!(stats.sum(None).0.jobs_completed, 3);
        assert_eq!(stats.sum(Some(days(3))).0.jobs_completed, 2);
        assert_eq!(stats.sum(Some(today)).0.bytes_served, 5);
        assert_eq!(stats.sum(Some(days(99))).1, rfc3339(days(10)));
    }

    #[test]
    fn what_is_told_again_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let stats = Stats::open(&dir.path().join("stats.json"), SystemTime::UNIX_EPOCH);
        for (served, manifests) in [(5, 0), (5, 7), (9, 8)] {
            let so_far = SoFar { served, manifests };
            stats.add_so_far(so_far, SystemTime::UNIX_EPOCH);
        }
        let sum = stats.sum(None).0;
        assert_eq!((sum.bytes_served, sum.bytes_of_manifests), (9, 8));
    }

    #[test]
    fn what_could_not_be_saved_is_saved_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/stats.json");
        let stats = Stats::open(&path, SystemTime::UNIX_EPOCH);
        let counts = Counts {
            jobs_completed: 1,
            ..Counts::default()
        };
        stats.add(counts, SystemTime::UNIX_EPOCH);
        stats.save().unwrap_err();
        fs::create_dir(dir.path().join("missing")).unwrap();
        stats.save().unwrap();
        let again = Stats::open(&path, SystemTime::UNIX_EPOCH);
        assert_eq!(again.sum(None).0, counts);
    }

    #[test]
    fn old_days_stay_in_the_sum() {
        let dir = tempfile::tempdir().unwrap();
        let stats = Stats::open(&dir.path().join("stats.json"), SystemTime::UNIX_EPOCH);
        for day in 0..500_u64 {
            let counts = Counts {
                jobs_completed: 1,
                ..Counts::default()
            };
            stats.add(
                counts,
                SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400),
            );
        }
        assert_eq!(stats.sum(None).0.jobs_completed, 500);
    }
}
