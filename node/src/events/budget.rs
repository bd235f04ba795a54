//! How much of the event log one user may fill, so that nobody pushes out what others did.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bytes a second that a user may fill for ever: 40 MiB in a day, as much as the log keeps.
const PACE: u64 = 512;
/// What they may fill at once, some 7,000 events, in seconds at that pace.
const BURST: Duration = Duration::from_secs((2 << 20) / PACE);
/// How much of that is free again before the next event, so that not every second one is of
/// what was left out.
const BREAK: Duration = Duration::from_secs((64 << 10) / PACE);

/// What users have filled.
#[derive(Debug, Default)]
pub(super) struct Budget(HashMap<u32, Account>);

#[derive(Debug)]
struct Account {
    /// Until when what was written is paid.
    paid: Instant,
    left_out: u64,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written, after so many that were not.
    Write { left_out: u64 },
    /// It is not, and the one before was or was not either.
    LeaveOut { is_first: bool },
}

impl Budget {
    /// An event of so many bytes.
    pub(super) fn spend(&mut self, user: u32, bytes: usize, now: Instant) -> Verdict {
        if !self.0.contains_key(&user) {
            self.0
                .retain(|_, account| account.paid > now || account.left_out > 0);
        }
        let account = self.0.entry(user).or_insert(Account {
            paid: now,
            left_out: 0,
        });
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let cost = Duration::from_millis(bytes.saturating_mul(1_000) / PACE);
        let debt = account.paid.saturating_duration_since(now);
        let limit = match account.left_out {
            0 => BURST,
            _ => BURST - BREAK,
        };
        if debt.saturating_add(cost) > limit {
            account.left_out += 1;
            let is_first = account.left_out == 1;
            return Verdict::LeaveOut { is_first };
        }
        account.paid = account.paid.max(now) + cost;
        let left_out = std::mem::take(&mut account.left_out);
        Verdict::Write { left_out }
    }

    /// Of whom events were left out that nobody has been told of.
    pub(super) fn untold(&mut self) -> Vec<(u32, u64)> {
        let accounts = self.0.iter_mut();
        let counts = accounts.map(|(user, account)| (*user, std::mem::take(&mut account.left_out)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: u32 = 7;
    const WRITE: Verdict = Verdict::Write { left_out: 0 };

    #[test]
    fn a_user_fills_so_much_and_later_some_more() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        let half = 1 << 20;
        assert_eq!(budget.spend(ANN, half, now), WRITE);
        assert_eq!(budget.spend(ANN, half, now), WRITE);
        let first = budget.spend(ANN, 300, now);
        assert_eq!(first, Verdict::LeaveOut { is_first: true });
        assert_eq!(budget.spend(ANN + 1, 300, now), WRITE, "others may");
        let soon = now + BREAK / 2;
        let second = budget.spend(ANN, 300, soon);
        assert_eq!(second, Verdict::LeaveOut { is_first: false });
        let later = now + BREAK + Duration::from_secs(1);
        let third = budget.spend(ANN, 300, later);
        assert_eq!(third, Verdict::Write { left_out: 2 });
        assert_eq!(budget.spend(ANN, 300, later), WRITE);
        assert!(budget.untold().is_empty());
        budget.spend(ANN, half, later);
        assert_eq!(budget.untold(), [(ANN, 1)]);
        budget.spend(9, 1, later + BURST);
        assert_eq!(budget.0.len(), 1, "who has paid is forgotten");
    }
}
