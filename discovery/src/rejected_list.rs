//! Who was refused lately, and why.

use std::collections::VecDeque;

use crate::Rejected;

/// How many entries are kept: enough to see who keeps knocking, few enough that
/// strangers cannot fill the memory.
const CAPACITY: usize = 256;

/// A bounded list of refusals, one entry for each address and reason.
#[derive(Default, Debug)]
pub(crate) struct RejectedList {
    /// The latest at the back.
    entries: VecDeque<Rejected>,
}

impl RejectedList {
    /// Notes a refusal and gives it back with how often it happened.
    pub(crate) fn note(&mut self, mut rejected: Rejected) -> Rejected {
        rejected.count = rejected.count.max(1);
        let known = self
            .entries
            .iter()
            .position(|entry| is_same(entry, &rejected));
        if let Some(old) = known.and_then(|index| self.entries.remove(index)) {
            rejected.count += old.count;
            rejected.id = rejected.id.or(old.id);
            rejected.name = rejected.name.or(old.name);
        } else if self.entries.len() >= CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(rejected.clone());
        rejected
    }

    /// The entries, the latest first.
    pub(crate) fn latest(&self) -> Vec<Rejected> {
        self.entries.iter().rev().cloned().collect()
    }
}

/// Callers use a fresh port each time, so their port tells nothing; a port that we
/// called stays.
fn is_same(a: &Rejected, b: &Rejected) -> bool {
    let same_place = match a.direction {
        crate::Direction::Inbound => a.address.ip() == b.address.ip(),
        crate::Direction::Outbound => a.address == b.address,
    };
    same_place
        && (a.direction, a.port, &a.reason) == (b.direction, b.port, &b.reason)
        && (a.id.is_none() || b.id.is_none() || a.id == b.id)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Direction, PortKind, RejectReason};

    fn refusal(address: &str, reason: &str) -> Rejected {
        Rejected {
            address: address.parse().unwrap(),
            id: None,
            name: None,
            reason: RejectReason::Other(reason.to_owned()),
            at: SystemTime::UNIX_EPOCH,
            direction: Direction::Inbound,
            port: PortKind::Control,
            count: 1,
        }
    }

    #[test]
    fn the_same_caller_is_counted_not_repeated() {
        let mut list = RejectedList::default();
        list.note(refusal("10.0.0.1:1000", "expired"));
        let noted = list.note(refusal("10.0.0.1:1001", "expired"));
        assert_eq!(noted.count, 2);
        list.note(refusal("10.0.0.1:1002", "garbage"));
        let latest = list.latest();
        assert_eq!(latest.len(), 2);
        assert_eq!(latest[0].reason.to_string(), "garbage");
    }

    #[test]
    fn strangers_cannot_fill_it() {
        let mut list = RejectedList::default();
        for n in 0..3 * CAPACITY {
            list.note(refusal("10.0.0.1:1", &format!("reason {n}")));
        }
        assert_eq!(list.latest().len(), CAPACITY);
        assert_eq!(
            list.latest()[0].reason.to_string(),
            format!("reason {}", 3 * CAPACITY - 1)
        );
    }
}
