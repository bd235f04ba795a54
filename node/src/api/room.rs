//! How many callers may be in at once, so that nobody keeps the others out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::Problem;

/// Counts the callers of a door. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Room {
    most: usize,
    /// Of `most`, for root and the user of the daemon alone.
    reserve: usize,
    /// Of one other user.
    of_one: usize,
    inside: Arc<Mutex<BTreeMap<u32, usize>>>,
    /// Told when somebody leaves.
    left: Arc<Notify>,
}

/// A place in a room, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    room: Room,
    uid: u32,
}

impl Room {
    pub(super) fn new(most: usize, reserve: usize, of_one: usize) -> Self {
        Self {
            most,
            reserve,
            of_one,
            inside: Arc::default(),
            left: Arc::default(),
        }
    }

    /// Lets somebody in, where there is room for them. Without a number it is a stranger
    /// whom nobody told apart from others.
    pub(super) fn enter(&self, uid: Option<u32>) -> Option<Seat> {
        let is_first = uid.is_some_and(super::caller::is_administrator);
        // The number that means nobody (chown(2)).
        let uid = uid.unwrap_or(u32::MAX);
        let mut inside = self.inside();
        let all: usize = inside.values().sum();
        let own = inside.entry(uid).or_default();
        let fits = match is_first {
            true => all < self.most,
            false => all < self.most - self.reserve && *own < self.of_one,
        };
        if !fits {
            return None;
        }
        *own += 1;
        let room = self.clone();
        Some(Seat { room, uid })
    }

    /// Waits until there is room.
    pub(super) async fn wait(&self, uid: Option<u32>) -> Seat {
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            // Who leaves from now on is heard.
            left.as_mut().enable();
            if let Some(seat) = self.enter(uid) {
                return seat;
            }
            left.await;
        }
    }

    fn inside(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.room.inside();
        if let Some(own) = inside.get_mut(&self.uid) {
            *own = own.saturating_sub(1);
        }
        inside.retain(|_, own| *own > 0);
        drop(inside);
        self.room.left.notify_waiters();
    }
}

/// What each user may have so much of at once; who wants more waits for their own.
#[derive(Debug)]
pub struct Turns {
    of_one: usize,
    users: Mutex<HashMap<u32, Weak<Semaphore>>>,
}

impl Turns {
    /// How long somebody waits, below the patience of the command line.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// So many of each user.
    #[must_use]
    pub fn new(of_one: usize) -> Self {
        Self {
            of_one,
            users: Mutex::default(),
        }
    }

    /// Waits for a turn, which is over when the permit is dropped.
    pub(super) async fn wait(&self, uid: u32) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = timeout(Self::PATIENCE, self.of(uid).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let most = self.of_one;
            Problem::crowded(format!(
                "user {uid} has {most} calls of this kind under way: let them end first"
            ))
        })
    }

    fn of(&self, uid: u32) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = users.get(&uid).and_then(Weak::upgrade) {
            return known;
        }
        users.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.of_one));
        users.insert(uid, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: u32 = 64_101;
    const BOB: u32 = 64_102;

    #[test]
    fn one_user_leaves_room_for_others_and_all_for_root() {
        let room = Room::new(6, 2, 3);
        let enter = |uid| room.enter(Some(uid));
        let hers: Vec<_> = (0..3).map(|_| enter(ANN).unwrap()).collect();
        assert!(enter(ANN).is_none(), "she has as many as one may have");
        let his = enter(BOB).unwrap();
        assert!(enter(BOB).is_none(), "the rest is for root");
        assert!(room.enter(None).is_none());
        let roots: Vec<_> = (0..2).map(|_| enter(0).unwrap()).collect();
        assert!(enter(0).is_none());
        drop(hers);
        assert!(enter(BOB).is_some());
        drop((his, roots));
        assert!(room.inside().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_of_each_user() {
        let turns = Turns::new(1);
        let hers = turns.wait(ANN).await.unwrap();
        drop(turns.wait(BOB).await.unwrap());
        turns.wait(ANN).await.unwrap_err();
        drop(hers);
        drop(turns.wait(ANN).await.unwrap());
    }
}
