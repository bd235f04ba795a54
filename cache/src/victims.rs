//! How contents go: chosen under the lock a few at a time, deleted without it.

use potluck_content::ContentId;

use crate::changes::Change;
use crate::data_dir::meta_path;
use crate::eviction::{Evicted, Heads, Verdict};
use crate::index_row::Entry;
use crate::inner::Inner;
use crate::rank::Queue;
use crate::shelf::Shelf;

/// Candidates that are looked at under one hold of the lock: some milliseconds at most.
pub(crate) const AT_ONCE: usize = 64;

/// Contents that the index does not know any more and whose files are still there.
#[derive(Default)]
pub(crate) struct Victims<'a> {
    ids: Vec<ContentId>,
    /// Until the files are gone, too.
    changes: Vec<Change<'a>>,
    bytes: u64,
}

/// Where an eviction looks next, so that what must stay is looked at once.
#[derive(Default)]
struct Places {
    main: Option<Vec<u8>>,
    small: Option<Vec<u8>>,
}

impl Inner {
    /// Lets go one content after another as long as it is `wanted`, at most about `most`.
    pub(crate) fn evict_while(&self, wanted: impl Fn(&Shelf) -> bool, most: usize) -> Evicted {
        let mut evicted = Evicted::default();
        let mut places = Places::default();
        loop {
            let mut victims = Victims::default();
            let more = self.choose(&wanted, most, &mut places, &mut victims);
            victims.add_to(&mut evicted);
            self.delete(&victims);
            if !more || evicted.contents >= most as u64 {
                return evicted;
            }
        }
    }

    /// Says whether there may be more to let go.
    fn choose<'a>(
        &'a self,
        wanted: &impl Fn(&Shelf) -> bool,
        most: usize,
        places: &mut Places,
        victims: &mut Victims<'a>,
    ) -> bool {
        let mut shelf = self.shelf();
        for _ in 0..AT_ONCE.min(most) {
            if !wanted(&shelf) {
                return false;
            }
            let main = self.index.next_in(Queue::Main, places.main.as_deref());
            let small = self.index.next_in(Queue::Small, places.small.as_deref());
            let heads = Heads {
                main: main.as_ref().map(|(_, _, entry)| entry.rank.since),
                small: small.as_ref().map(|(_, _, entry)| entry.rank.since),
                small_bytes: shelf.small_bytes,
                max_size: shelf.limits.max_size,
            };
            let (place, head) = match shelf.policy.next(&heads) {
                Some(Queue::Main) => (&mut places.main, main),
                Some(Queue::Small) => (&mut places.small, small),
                None => return false,
            };
            let Some((key, id, entry)) = head else {
                return false;
            };
            *place = Some(key);
            if !shelf.is_leased(&id) {
                self.judge(&mut shelf, &id, entry, victims);
            }
        }
        true
    }

    fn judge<'a>(
        &'a self,
        shelf: &mut Shelf,
        id: &ContentId,
        entry: Entry,
        victims: &mut Victims<'a>,
    ) {
        let known = shelf.with_touch(&self.index, id, entry);
        if known.queue_key(id) != entry.queue_key(id) {
            // It was used meanwhile and stands elsewhere now.
            return;
        }
        let now = shelf.stamp();
        match shelf.policy.judge(id, &known.candidate(), now) {
            Verdict::Goes => self.let_go(shelf, id, known, victims),
            Verdict::Stays(rank) => {
                let moved = Entry { rank, ..known };
                shelf.rerank(&self.index, id, known, moved);
            }
        }
    }

    /// Takes a content out of the index; its files go with the `victims`.
    pub(crate) fn let_go<'a>(
        &'a self,
        shelf: &mut Shelf,
        id: &ContentId,
        entry: Entry,
        victims: &mut Victims<'a>,
    ) {
        tracing::debug!(content = %id, bytes = entry.size, "evicted");
        victims.changes.push(self.changes.note_removal(id));
        self.index.remove(id);
        shelf.count_out(id, &entry);
        shelf.forget(id);
        shelf.let_go += entry.size;
        victims.ids.push(*id);
        victims.bytes += entry.size;
    }

    /// Deletes the files of those that went and did not come back meanwhile. The caller
    /// holds no lock and no edit.
    pub(crate) fn delete(&self, victims: &Victims<'_>) {
        for id in &victims.ids {
            let mut trash = Vec::new();
            {
                // Nobody puts files there meanwhile.
                let _edit = self.edit(id);
                if self.index.get(id).is_none() {
                    let data = self.dir.content(id);
                    trash.extend(self.dir.withdraw(&data));
                    trash.extend(self.dir.withdraw(&meta_path(&data)));
                }
            }
            self.dir.throw_out(trash);
        }
    }
}

impl Victims<'_> {
    pub(crate) fn add_to(&self, evicted: &mut Evicted) {
        evicted.contents += self.ids.len() as u64;
        evicted.bytes += self.bytes;
    }
}
