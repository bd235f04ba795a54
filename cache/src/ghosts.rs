//! Contents that went and may have gone too early.

use std::collections::{HashMap, VecDeque};

use potluck_content::ContentId;

/// The newest of them; older ones are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// In the order in which they went, each with the number it went under.
    order: VecDeque<(u64, u64)>,
    /// The number each last went under.
    numbers: HashMap<u64, u64>,
    next: u64,
}

/// About 3 MB at most. A cache that turns over more than this before a content comes again
/// would not have kept it either.
const MOST: usize = 65_536;

impl Ghosts {
    pub(crate) fn add(&mut self, id: &ContentId) {
        let name = name(id);
        self.numbers.insert(name, self.next);
        self.order.push_back((name, self.next));
        self.next += 1;
        if self.order.len() > MOST
            && let Some((oldest, number)) = self.order.pop_front()
            && self.numbers.get(&oldest) == Some(&number)
        {
            self.numbers.remove(&oldest);
        }
    }

    /// Forgets a content and says whether it was known.
    pub(crate) fn take(&mut self, id: &ContentId) -> bool {
        self.numbers.remove(&name(id)).is_some()
    }
}

/// Ids are hashes: a part of one is as good as the whole, and to mistake one costs little.
fn name(id: &ContentId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_newest_only() {
        let id = |n: usize| ContentId::of(&n.to_le_bytes());
        let mut ghosts = Ghosts::default();
        ghosts.add(&id(0));
        for n in 0..MOST {
            ghosts.add(&id(n));
        }
        // It went twice: the second time counts.
        assert!(ghosts.take(&id(0)) && !ghosts.take(&id(0)));
        ghosts.add(&id(MOST));
        ghosts.add(&id(MOST + 1));
        assert!(!ghosts.take(&id(1)) && ghosts.take(&id(2)));
        assert!(ghosts.order.len() <= MOST && ghosts.numbers.len() <= MOST);
    }
}
