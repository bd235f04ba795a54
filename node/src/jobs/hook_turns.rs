//! Whose hook is called next, so that nobody's hooks keep those of others waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::JobId;

/// Programs that run at once, at most.
const AT_ONCE: usize = 16;
/// Of these, those of one owner.
const OF_ONE: usize = 4;

/// The calls that are to be made, by whose they are.
#[derive(Debug, Default)]
pub(super) struct HookTurns {
    owners: BTreeMap<u32, Owner>,
    /// Turns so far.
    turns: u64,
}

#[derive(Debug, Default)]
struct Owner {
    due: BTreeSet<(SystemTime, JobId)>,
    running: usize,
    /// Their last turn.
    last: u64,
}

impl HookTurns {
    /// A call is to be made at some time.
    pub(super) fn remember(&mut self, owner: u32, at: SystemTime, job: JobId) {
        let owner = self.owners.entry(owner).or_default();
        owner.due.insert((at, job));
    }

    /// When the next call may be made; nothing where that is not before another ends.
    pub(super) fn next_at(&self) -> Option<SystemTime> {
        let waiting = self.waiting();
        waiting.filter_map(|(_, owner)| owner.first_at()).min()
    }

    /// Takes a call that is due and may be made: of whoever has the fewest under way, and
    /// among these of whoever had no turn for longest.
    pub(super) fn take(&mut self, now: SystemTime) -> Option<(SystemTime, JobId)> {
        let waiting = self.waiting();
        let due = waiting.filter(|(_, owner)| owner.first_at().is_some_and(|at| at <= now));
        let next = due.min_by_key(|(_, owner)| (owner.running, owner.last));
        let next = *next?.0;
        self.turns += 1;
        let owner = self.owners.get_mut(&next)?;
        owner.last = self.turns;
        let call = owner.due.pop_first();
        self.forget_idle();
        call
    }

    /// A call of theirs is being made.
    pub(super) fn begin(&mut self, owner: u32) {
        let turns = self.turns;
        let owner = self.owners.entry(owner).or_default();
        owner.running += 1;
        owner.last = turns;
    }

    /// A call of theirs has ended.
    pub(super) fn end(&mut self, owner: u32) {
        if let Some(owner) = self.owners.get_mut(&owner) {
            owner.running = owner.running.saturating_sub(1);
        }
        self.forget_idle();
    }

    /// Who may have a program called now.
    fn waiting(&self) -> impl Iterator<Item = (&u32, &Owner)> {
        let running: usize = self.owners.values().map(|owner| owner.running).sum();
        let owners = self.owners.iter();
        owners.filter(move |(_, owner)| running < AT_ONCE && owner.running < OF_ONE)
    }

    fn forget_idle(&mut self) {
        self.owners
            .retain(|_, owner| owner.running > 0 || !owner.due.is_empty());
    }
}

impl Owner {
    fn first_at(&self) -> Option<SystemTime> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use potluck_plan::JobKey;

    use super::*;

    const ANN: u32 = 1;
    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn job(number: u64) -> JobId {
        JobId::from_key(JobKey(number))
    }

    /// Takes and begins a call; says whose it is.
    fn call(turns: &mut HookTurns) -> Option<u64> {
        let (_, id) = turns.take(NOW)?;
        let number = id.key().0;
        turns.begin(u32::try_from(number / 100).unwrap());
        Some(number)
    }

    #[test]
    fn owners_take_turns() {
        let mut turns = HookTurns::default();
        for number in 100..120 {
            turns.remember(ANN, NOW, job(number));
        }
        let hers: Vec<_> = std::iter::from_fn(|| call(&mut turns)).collect();
        assert_eq!(hers, [100, 101, 102, 103]);
        assert_eq!(turns.next_at(), None);
        turns.remember(2, NOW, job(200));
        assert_eq!(turns.next_at(), Some(NOW));
        assert_eq!(call(&mut turns), Some(200), "at once");
        // Four others with all they may have: what ends then is the next one's.
        for owner in 3..=5 {
            for number in 0..9 {
                turns.remember(owner, NOW, job(u64::from(owner) * 100 + number));
            }
        }
        let theirs = std::iter::from_fn(|| call(&mut turns)).count();
        assert_eq!(theirs, AT_ONCE - OF_ONE - 1);
        turns.remember(6, NOW, job(600));
        turns.end(ANN);
        assert_eq!(call(&mut turns), Some(600));
    }

    #[test]
    fn nothing_is_called_before_its_time() {
        let mut turns = HookTurns::default();
        let later = NOW + Duration::from_secs(1);
        turns.remember(ANN, later, job(100));
        assert_eq!((turns.take(NOW), turns.next_at()), (None, Some(later)));
        assert_eq!(turns.take(later), Some((later, job(100))));
        assert!(turns.owners.is_empty());
    }
}
