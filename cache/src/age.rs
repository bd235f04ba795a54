//! What nobody used for so long goes.

use crate::eviction::Evicted;
use crate::index_row::Entry;
use crate::inner::Inner;
use crate::rank::{Queue, Rank};
use crate::shelf::Shelf;
use crate::victims::{AT_ONCE, Victims};

impl Inner {
    /// Lets go what was last used before a time, in microseconds since 1970.
    pub(crate) fn evict_older_than(&self, before: u64) -> Evicted {
        let mut evicted = Evicted::default();
        for queue in [Queue::Main, Queue::Small] {
            let mut after = None;
            loop {
                let mut victims = Victims::default();
                let more = {
                    let mut shelf = self.shelf();
                    self.choose_older_than(&mut shelf, before, queue, &mut after, &mut victims)
                };
                victims.add_to(&mut evicted);
                self.delete(&victims);
                if !more {
                    break;
                }
            }
        }
        evicted
    }

    /// Looks at the next few of a queue; says whether there may be more.
    fn choose_older_than<'a>(
        &'a self,
        shelf: &mut Shelf,
        before: u64,
        queue: Queue,
        after: &mut Option<Vec<u8>>,
        victims: &mut Victims<'a>,
    ) -> bool {
        for _ in 0..AT_ONCE {
            let Some((key, id, entry)) = self.index.next_in(queue, after.as_deref()) else {
                return false;
            };
            // Nobody came to stand here after the last use.
            if entry.rank.since >= before {
                return false;
            }
            *after = Some(key);
            if shelf.is_leased(&id) {
                continue;
            }
            let entry = shelf.with_touch(&self.index, &id, entry);
            if entry.accessed < before {
                self.let_go(shelf, &id, entry, victims);
            } else if entry.rank.since < before {
                // Behind those that are looked at next time: each is met once in so long.
                let rank = Rank {
                    since: entry.accessed,
                    ..entry.rank
                };
                let later = Entry { rank, ..entry };
                shelf.rerank(&self.index, &id, entry, later);
            }
        }
        true
    }
}
