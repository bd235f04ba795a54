//! What the node said was done, and must still be so after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Blob, Node};

/// Everything that was acknowledged. What was asked for and not answered is not in here:
/// it may or may not have come about.
#[derive(Default)]
pub(crate) struct Promises(Mutex<Promised>);

#[derive(Default)]
pub(crate) struct Promised {
    /// Jobs that were accepted, with where their file goes.
    jobs: BTreeMap<String, (PathBuf, Blob)>,
    /// Files of jobs that were said to be complete.
    placed: Vec<(PathBuf, Blob)>,
    /// Contents that are pinned, by their hashes, and so never evicted.
    pub(crate) pinned: BTreeSet<String>,
    /// Contents that were removed.
    pub(crate) removed: BTreeSet<String>,
    /// What was downloaded last, and from where.
    pub(crate) newest: Option<(String, Blob)>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    jobs: usize,
    placed: usize,
    pinned: usize,
    removed: usize,
}

impl Promises {
    pub(crate) fn get(&self) -> MutexGuard<'_, Promised> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every job that was ever accepted has put its file in its place.
    pub(crate) fn await_jobs(&self, node: &Node) -> Result<()> {
        let mut promised = self.get();
        for (id, (path, blob)) in std::mem::take(&mut promised.jobs) {
            node.await_job(&id, &["acknowledged"], Duration::from_secs(60))?;
            blob.check(&path)?;
        }
        Ok(())
    }

    /// Fails unless the work was such that everything was promised at least once.
    pub(crate) fn ensure_all_kinds(&self) -> Result<()> {
        let promised = self.get();
        let Counts {
            jobs,
            placed,
            pinned,
            removed,
        } = promised.counts;
        ensure!(jobs.min(placed).min(pinned).min(removed) > 0, "{promised}");
        Ok(())
    }
}

impl Promised {
    pub(crate) fn open_jobs(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn accept(&mut self, job: String, path: PathBuf, blob: &Blob) {
        self.jobs.insert(job, (path, blob.clone()));
        self.counts.jobs += 1;
    }

    pub(crate) fn place(&mut self, path: PathBuf, blob: &Blob) {
        self.placed.push((path, blob.clone()));
        self.counts.placed += 1;
    }

    pub(crate) fn pin(&mut self, hash: String) {
        self.pinned.insert(hash);
        self.counts.pinned += 1;
    }

    pub(crate) fn remove(&mut self, hash: String) {
        self.removed.insert(hash);
        self.counts.removed += 1;
    }

    /// Looks after the files that were put in their places, and lets them go.
    pub(crate) fn check_files(&mut self) -> Result<()> {
        for (path, blob) in self.placed.drain(..) {
            blob.check(&path)?;
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Asks after all jobs. Those that are done are files from then on.
    pub(crate) fn check_jobs(&mut self, node: &Node) -> Result<()> {
        let listed = node.json(&["job", "list", "--all"])?;
        let listed = listed.as_array().context("a list of jobs")?;
        for job in listed {
            let id = job["id"].as_str().context("a job has an id")?;
            let state = job["state"].as_str().context("a job has a state")?;
            if !self.jobs.contains_key(id) {
                continue;
            }
            ensure!(!matches!(state, "error" | "cancelled"), "{job}");
            if state == "acknowledged"
                && let Some(done) = self.jobs.remove(id)
            {
                self.placed.push(done);
                self.counts.placed += 1;
            }
        }
        for id in self.jobs.keys() {
            let known = listed.iter().any(|job| job["id"] == id.as_str());
            ensure!(known, "job {id} was accepted and is not there");
        }
        Ok(())
    }

    /// Cancels the jobs of downloads whose user was killed with the node: nobody will
    /// complete them, and till then they keep what they got.
    pub(crate) fn give_up_others(&self, node: &Node) -> Result<()> {
        let listed = node.json(&["job", "list"])?;
        for job in listed.as_array().context("a list of jobs")? {
            let id = job["id"].as_str().context("a job has an id")?;
            if self.jobs.contains_key(id) {
                continue;
            }
            // One that nobody heard of being made may have completed itself since.
            if let Err(error) = node.ok(&["job", "cancel", id]) {
                let job = node.json(&["job", "show", id])?;
                ensure!(job["state"] == "acknowledged", "{job}: {error:#}");
            }
        }
        Ok(())
    }
}

impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl fmt::Display for Promised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            jobs,
            placed,
            pinned,
            removed,
        } = self.counts;
        write!(
            f,
            "{jobs} jobs accepted, {placed} files in their places, {pinned} contents pinned, \
             {removed} removed"
        )
    }
}
