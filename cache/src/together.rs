//! Waiting for the disk several times at once.

use std::sync::Mutex;
use std::thread;

use crate::inner::lock;

/// Who waits at once. Syncs that meet share what the filesystem does for them.
const HANDS: usize = 4;

/// Does the same to each, a few at once, and gives what came of it in the same order. For
/// what waits for the disk: on threads of its own, that end with it.
pub(crate) fn together<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let hands = HANDS.min(items.len());
    if hands <= 1 {
        return items.into_iter().map(work).collect();
    }
    let count = items.len();
    let line = Mutex::new(items.into_iter().enumerate());
    let next = || lock(&line).next();
    let hand = || {
        let mut done = Vec::new();
        while let Some((place, item)) = next() {
            done.push((place, work(item)));
        }
        done
    };
    let mut done = Vec::with_capacity(count);
    thread::scope(|scope| {
        let others: Vec<_> = (1..hands).map(|_| scope.spawn(hand)).collect();
        done.extend(hand());
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_in_order() {
        for count in [0, 1, 3, 1000] {
            let doubled = together((0..count).collect(), |number: usize| number * 2);
            assert!(doubled.into_iter().eq((0..count).map(|number| number * 2)));
        }
    }
}
