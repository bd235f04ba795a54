//! What the cache finds out about its own files, for whoever keeps a log.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;

use potluck_content::{ContentId, PieceIndex};

use crate::inner::lock;

/// Something that an administrator should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The files of a content cannot be trusted: it is not served any more.
    Damaged(Damage),
    /// A content cannot be read. It is left where it is, and is a miss until it can.
    Unreadable {
        /// The content.
        id: ContentId,
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The index could not be trusted and was made again from the files.
    IndexRebuilt {
        /// What was wrong with it.
        reason: String,
    },
}

/// What was found wrong with a content, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The content.
    pub id: ContentId,
    /// The file with its bytes, where it lay.
    pub file: PathBuf,
    /// What is wrong, in words.
    pub reason: String,
    /// The pieces that are not what they were. None where the files as a whole cannot
    /// be trusted.
    pub bad_pieces: Vec<PieceIndex>,
    /// Bytes of good pieces that are kept as an unfinished content, so that only the
    /// rest must come again. 0 where everything was set aside.
    pub kept: u64,
}

/// Notices that wait to be taken. More than nobody takes are forgotten, the oldest
/// first: the log of the process has them all.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Notice>,
    /// Contents that were said to be unreadable: once is enough, however often they are
    /// asked for.
    unreadable: HashSet<ContentId>,
}

const MAX_WAITING: usize = 1_000;

impl Notices {
    pub(crate) fn add(&self, notice: Notice) {
        let mut waiting = lock(&self.0);
        if let Notice::Unreadable { id, .. } = &notice {
            if waiting.unreadable.len() >= MAX_WAITING {
                waiting.unreadable.clear();
            }
            if !waiting.unreadable.insert(*id) {
                return;
            }
        }
        if waiting.notices.len() >= MAX_WAITING {
            waiting.notices.pop_front();
        }
        waiting.notices.push_back(notice);
    }

    pub(crate) fn take(&self) -> Vec<Notice> {
        lock(&self.0).notices.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(n: u8) -> Notice {
        Notice::Unreadable {
            id: ContentId::of(&[n]),
            file: PathBuf::new(),
            reason: "closed".to_owned(),
        }
    }

    #[test]
    fn what_repeats_is_said_once() {
        let notices = Notices::default();
        for n in [1, 2, 1, 1] {
            notices.add(unreadable(n));
        }
        assert_eq!(notices.take(), [unreadable(1), unreadable(2)]);
        notices.add(unreadable(1));
        assert!(notices.take().is_empty());
    }

    #[test]
    fn those_that_nobody_takes_do_not_pile_up() {
        let notices = Notices::default();
        for n in 0..=MAX_WAITING {
            notices.add(Notice::IndexRebuilt {
                reason: n.to_string(),
            });
        }
        let taken = notices.take();
        assert_eq!(taken.len(), MAX_WAITING);
        let reason = MAX_WAITING.to_string();
        assert_eq!(taken.last(), Some(&Notice::IndexRebuilt { reason }));
    }
}
