//! One transfer at a time for each content.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_cache::PartialKey;
use tokio::sync::{Notify, OwnedMutexGuard, watch};

use crate::engine::request::Progress;

/// Hands each unfinished content to one transfer at a time. Others wait in order, see
/// the progress of who works, and go on where that one left off.
#[derive(Clone, Default)]
pub(crate) struct KeyLocks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    entries: Mutex<HashMap<PartialKey, Entry>>,
    /// Told when the last entry went.
    empty: Notify,
}

struct Entry {
    lock: Arc<tokio::sync::Mutex<()>>,
    progress: Option<watch::Receiver<Progress>>,
    users: usize,
}

/// The right to work on a content.
pub(crate) struct KeyGuard {
    _guard: OwnedMutexGuard<()>,
    user: User,
}

/// Somebody who works or waits; the entry goes with the last.
struct User {
    locks: KeyLocks,
    key: PartialKey,
}

impl KeyLocks {
    /// Waits for the right; `watch` is called with the progress of whoever has it.
    pub(crate) async fn take(
        &self,
        key: &PartialKey,
        own: &watch::Receiver<Progress>,
        mut watch: impl FnMut(&Progress),
    ) -> KeyGuard {
        let (lock, user) = self.enter(key);
        let mut waiting = std::pin::pin!(lock.lock_owned());
        let guard = loop {
            let working = self.progress_of(key);
            tokio::select! {
                biased;
                guard = &mut waiting => break guard,
                () = next_change(working, &mut watch) => {}
            }
        };
        if let Some(entry) = self.lock().get_mut(key) {
            entry.progress = Some(own.clone());
        }
        KeyGuard {
            _guard: guard,
            user,
        }
    }

    /// Waits until nobody works or waits.
    pub(crate) async fn at_rest(&self) {
        loop {
            let emptied = self.0.empty.notified();
            if self.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Whether nobody works or waits.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.lock().is_empty()
    }

    fn enter(&self, key: &PartialKey) -> (Arc<tokio::sync::Mutex<()>>, User) {
        let mut entries = self.lock();
        let entry = entries.entry(key.clone()).or_insert_with(|| Entry {
            lock: Arc::default(),
            progress: None,
            users: 0,
        });
        entry.users += 1;
        (
            Arc::clone(&entry.lock),
            User {
                locks: self.clone(),
                key: key.clone(),
            },
        )
    }

    fn progress_of(&self, key: &PartialKey) -> Option<watch::Receiver<Progress>> {
        self.lock().get(key)?.progress.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PartialKey, Entry>> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for news of whoever works; longer when nobody is known to.
async fn next_change(
    working: Option<watch::Receiver<Progress>>,
    watch: &mut impl FnMut(&Progress),
) {
    let Some(mut working) = working else {
        return std::future::pending().await;
    };
    // A copy: the watcher may be about to write to the same progress.
    let seen = working.borrow_and_update().clone();
    watch(&seen);
    if working.changed().await.is_err() {
        // It has ended; the lock is about to come.
        std::future::pending::<()>().await;
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        if let Some(entry) = self.user.locks.lock().get_mut(&self.user.key) {
            entry.progress = None;
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut entries = self.locks.lock();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.users -= 1;
            if entry.users == 0 {
                entries.remove(&self.key);
            }
        }
        if entries.is_empty() {
            self.locks.0.empty.notify_waiters();
        }
    }
}
