//! The work that goes on while the node is killed.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use fastrand::Rng;
use potluck_tests::Node;

use crate::promises::Promises;
use crate::wares::Wares;

/// One kind of work; each is done again and again on a thread of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Jobs that nobody waits for, which outlive a kill.
    Detach,
    /// Downloads that somebody waits for.
    Get,
    /// Contents are added, pinned and removed.
    Shelve,
    /// The cache is listed.
    List,
    /// The peer downloads, from the node where it can.
    Serve,
}

impl Work {
    pub(crate) const ALL: [Self; 5] = [
        Self::Detach,
        Self::Get,
        Self::Shelve,
        Self::List,
        Self::Serve,
    ];
}

/// Jobs that may wait or run at a time.
const MAX_JOBS: usize = 8;

/// Pinned contents at a time: about a fourth of the limit.
const MAX_PINNED: usize = 12;

/// What one thread works with.
pub(crate) struct Shift<'a> {
    pub(crate) node: &'a Node,
    pub(crate) peer: &'a Node,
    pub(crate) wares: &'a Wares,
    pub(crate) promises: &'a Promises,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) rng: Rng,
}

impl Shift<'_> {
    /// Works until it is told to stop. What fails after that failed because of the kill.
    pub(crate) fn repeat(&mut self, work: Work) -> Result<()> {
        while !self.stopped() {
            let done = match work {
                Work::Detach => self.detach(),
                Work::Get => self.get(),
                Work::Shelve => self.shelve(),
                Work::List => self.node.json(&["cache", "list"]).map(drop),
                // The peer must be served whatever becomes of the node.
                Work::Serve => {
                    self.serve()?;
                    Ok(())
                }
            };
            if !self.stopped() {
                done.with_context(|| format!("{work:?}"))?;
            }
        }
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn detach(&mut self) -> Result<()> {
        if self.promises.get().open_jobs() >= MAX_JOBS {
            return self.promises.get().check_jobs(self.node);
        }
        let (url, blob) = self.wares.remote(&mut self.rng);
        let name = format!("job-{:x}", self.rng.u64(..));
        let job = self.node.get_with(&url, &name, &["--detach"])?;
        let id = job["id"].as_str().context("a detached job has an id")?;
        let path = self.node.downloaded(&name)?;
        self.promises.get().accept(id.to_owned(), path, blob);
        Ok(())
    }

    fn get(&mut self) -> Result<()> {
        let (url, blob) = self.wares.remote(&mut self.rng);
        let name = format!("get-{:x}", self.rng.u64(..));
        self.node.get(&url, &name)?;
        let path = self.node.downloaded(&name)?;
        let mut promised = self.promises.get();
        promised.place(path, blob);
        promised.newest = Some((url, blob.clone()));
        Ok(())
    }

    fn shelve(&mut self) -> Result<()> {
        let (blob, path) = self.wares.local(&mut self.rng);
        let (hash, path) = (blob.hash(), path.to_string_lossy());
        let mut promised = self.promises.get();
        let remove = promised.pinned.contains(&hash) || promised.pinned.len() >= MAX_PINNED;
        if remove {
            // From now on nobody knows, until it is answered.
            let Some(hash) = promised.pinned.pop_first() else {
                return Ok(());
            };
            drop(promised);
            self.node.ok(&["cache", "remove", &format!("b3:{hash}")])?;
            self.promises.get().remove(hash);
        } else {
            promised.removed.remove(&hash);
            drop(promised);
            if self.rng.u8(..3) == 0 {
                self.node.ok(&["cache", "add", &path])?;
            } else {
                self.node.ok(&["cache", "add", "--pin", &path])?;
                self.promises.get().pin(hash);
            }
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        // What the node has just got, or else anything.
        let newest = self.promises.get().newest.take();
        let (url, blob) = newest.unwrap_or_else(|| {
            let (url, blob) = self.wares.remote(&mut self.rng);
            (url, blob.clone())
        });
        let path = self.peer.downloaded("from-the-node")?;
        self.peer.get(&url, "from-the-node")?;
        blob.check(&path)?;
        Ok(std::fs::remove_file(path)?)
    }
}
