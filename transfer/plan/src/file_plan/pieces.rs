//! The state of every piece of a file.

use std::ops::Range;

use potluck_content::{Bitfield, PieceIndex};

use crate::{Holding, RequestId, Source};

/// Every piece is in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceState {
    /// Nobody was asked.
    Missing,
    /// Asked of one, at the end perhaps of a second.
    Asked {
        by: RequestId,
        also: Option<RequestId>,
    },
    /// Here. From nobody when it was here before.
    Held { from: Option<Source> },
}

/// The pieces of a file and how many peers hold each.
#[derive(Debug)]
pub(super) struct PieceTable {
    states: Vec<PieceState>,
    holders: Vec<u32>,
    missing: u32,
    held: u32,
    /// No piece before this one is missing: saves looking at a long prefix again.
    first_missing: u32,
    /// How often a piece came to be missing again.
    reopened: u64,
}

impl PieceTable {
    pub(super) fn new(held: &Bitfield) -> Self {
        let states = (0..held.pieces())
            .map(|index| {
                if held.has(PieceIndex(index)) {
                    PieceState::Held { from: None }
                } else {
                    PieceState::Missing
                }
            })
            .collect();
        Self {
            states,
            holders: vec![0; held.pieces() as usize],
            missing: held.pieces() - held.count(),
            held: held.count(),
            first_missing: 0,
            reopened: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.states.len()).unwrap_or(u32::MAX)
    }

    /// The state of a piece; `None` when there is no such piece.
    pub(super) fn state(&self, index: u32) -> Option<PieceState> {
        self.states.get(index as usize).copied()
    }

    pub(super) fn is_missing(&self, index: u32) -> bool {
        self.state(index) == Some(PieceState::Missing)
    }

    pub(super) fn is_held(&self, index: u32) -> bool {
        matches!(self.state(index), Some(PieceState::Held { .. }))
    }

    /// How many live peers hold a piece.
    pub(super) fn holders(&self, index: u32) -> u32 {
        self.holders.get(index as usize).copied().unwrap_or(0)
    }

    pub(super) const fn missing(&self) -> u32 {
        self.missing
    }

    /// Goes up whenever a piece comes to be missing again: as long as it stays, who had
    /// nothing of what is missing has nothing of it now.
    pub(super) const fn reopened(&self) -> u64 {
        self.reopened
    }

    /// How many pieces are not here and with some live peer.
    pub(super) fn within_reach(&self) -> u32 {
        let unheld = (0..self.len()).filter(|index| !self.is_held(*index));
        let count = unheld.filter(|index| self.holders(*index) > 0).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// What was not to be asked of somebody may be now.
    pub(super) const fn reopen(&mut self) {
        self.reopened += 1;
    }

    pub(super) const fn held(&self) -> u32 {
        self.held
    }

    pub(super) fn is_complete(&self) -> bool {
        self.held as usize == self.states.len()
    }

    /// The missing pieces, in order.
    pub(super) fn iter_missing(&self) -> impl Iterator<Item = u32> + '_ {
        (self.first_missing..self.len()).filter(|index| self.is_missing(*index))
    }

    /// The pieces of a run that are asked of this request alone, in order.
    pub(super) fn only_of(
        &self,
        request: RequestId,
        run: Range<u32>,
    ) -> impl DoubleEndedIterator<Item = u32> + '_ {
        let wanted = PieceState::Asked {
            by: request,
            also: None,
        };
        run.filter(move |index| self.state(*index) == Some(wanted))
    }

    /// Gives a piece to a request: a missing one, or one that another gives up.
    pub(super) fn ask(&mut self, index: u32, by: RequestId) {
        if self.is_missing(index) {
            self.missing -= 1;
            if index == self.first_missing {
                self.first_missing += 1;
            }
        }
        self.states[index as usize] = PieceState::Asked { by, also: None };
    }

    /// Asks a second for a piece that one was asked for.
    pub(super) fn ask_also(&mut self, index: u32, second: RequestId) {
        if let Some(PieceState::Asked { also, .. }) = self.states.get_mut(index as usize) {
            *also = Some(second);
        }
    }

    /// A request is over: pieces of its run that nobody else was asked for are missing.
    pub(super) fn release(&mut self, request: RequestId, run: Range<u32>) {
        for index in run {
            let PieceState::Asked { by, also } = self.states[index as usize] else {
                continue;
            };
            if also == Some(request) {
                self.states[index as usize] = PieceState::Asked { by, also: None };
            } else if by == request {
                match also {
                    Some(second) => self.ask(index, second),
                    None => self.set_missing(index),
                }
            }
        }
    }

    /// A piece came. Says who was asked for it.
    pub(super) fn hold(&mut self, index: u32, from: Source) -> [Option<RequestId>; 2] {
        let before = self.states[index as usize];
        self.states[index as usize] = PieceState::Held { from: Some(from) };
        match before {
            PieceState::Missing => {
                self.missing -= 1;
                self.held += 1;
                [None, None]
            }
            PieceState::Asked { by, also } => {
                self.held += 1;
                [Some(by), also]
            }
            PieceState::Held { .. } => [None, None],
        }
    }

    /// A held piece is worthless after all.
    pub(super) fn forget(&mut self, index: u32) {
        if self.is_held(index) {
            self.held -= 1;
            self.set_missing(index);
        }
    }

    /// Where a held piece came from, unless it was here before.
    pub(super) fn source_of(&self, index: u32) -> Option<Source> {
        match self.state(index) {
            Some(PieceState::Held { from }) => from,
            _ => None,
        }
    }

    /// The held pieces that came from here.
    pub(super) fn of(&self, source: Source) -> impl Iterator<Item = PieceIndex> + '_ {
        let wanted = PieceState::Held { from: Some(source) };
        (0..self.len())
            .filter(move |index| self.state(*index) == Some(wanted))
            .map(PieceIndex)
    }

    pub(super) fn add_holder(&mut self, holding: &Holding) {
        for (index, holders) in (0..).zip(&mut self.holders) {
            *holders += u32::from(holding.has(PieceIndex(index)));
        }
    }

    pub(super) fn remove_holder(&mut self, holding: &Holding) {
        for (index, holders) in (0..).zip(&mut self.holders) {
            *holders -= u32::from(holding.has(PieceIndex(index)));
        }
    }

    pub(super) fn add_holder_of(&mut self, index: u32) {
        self.holders[index as usize] += 1;
    }

    pub(super) fn remove_holder_of(&mut self, index: u32) {
        self.holders[index as usize] -= 1;
    }

    /// Panics when counts and states contradict each other.
    pub(super) fn check(&self) {
        let count = |wanted: fn(&PieceState) -> bool| {
            let count = self.states.iter().filter(|state| wanted(state)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        assert_eq!(self.missing, count(|state| *state == PieceState::Missing));
        assert_eq!(
            self.held,
            count(|state| matches!(state, PieceState::Held { .. }))
        );
        assert!((0..self.first_missing).all(|index| !self.is_missing(index)));
    }

    fn set_missing(&mut self, index: u32) {
        self.states[index as usize] = PieceState::Missing;
        self.missing += 1;
        self.reopened += 1;
        self.first_missing = self.first_missing.min(index);
    }
}
