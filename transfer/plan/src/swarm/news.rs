//! What members of a swarm tell each other.

use std::ops::Range;

use potluck_content::EntityKey;

use super::doubts::Doubt;
use super::leading::Leader;
use crate::Rate;

/// What one member says of itself in one swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Of which swarm.
    pub entity: EntityKey,
    /// Bytes of the whole, so that nobody mixes up two things.
    pub size: u64,
    /// What this news is.
    pub kind: NewsKind,
    /// Goes up when something that was told is true no longer: then everything is told
    /// anew. News of an older count is out of date.
    pub epoch: u32,
    /// Pieces that it has and gives: those since the last news, or all of them in
    /// [`NewsKind::Join`] and [`NewsKind::State`]. Sorted runs.
    pub got: Vec<Range<u32>>,
    /// What it fetches from the origin now, all of it. Sorted runs.
    pub fetching: Vec<Range<u32>>,
    /// Bytes of this entity that the origin gave it so far.
    pub fetched: u64,
    /// How much it serves. Told with everything it has.
    pub limits: Option<ServeLimits>,
    /// Who leads, as far as it knows. Told when it changed.
    pub leader: Option<Leader>,
    /// What it found to be otherwise than somebody signed, [`MAX_DOUBTS`](crate::MAX_DOUBTS)
    /// at most. All of it.
    pub doubts: Vec<Doubt>,
}

/// What a news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewsKind {
    /// It takes part from now on and wants to hear the same of the other.
    Join,
    /// Everything: the answer to a join.
    State,
    /// What changed.
    Change,
    /// It takes part no longer and gives nothing more.
    Leave,
}

/// How much a member serves at most, so that others do not count on more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeLimits {
    /// Peers at once.
    pub clients: u32,
    /// To all of them together.
    pub rate: Rate,
}

/// How far one peer was told what there is to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewsCursor {
    /// How often everything was told anew; 0 when nothing was told yet.
    pub(super) epoch: u32,
    /// How many of the pieces in the order of their coming.
    pub(super) told: usize,
    /// Of what is being fetched.
    pub(super) version: u64,
    /// Bytes of the origin.
    pub(super) fetched: u64,
    /// Of the leader.
    pub(super) leader: u64,
}

impl NewsCursor {
    /// Whether anything was told yet.
    pub(super) const fn is_begun(&self) -> bool {
        self.epoch != 0
    }
}
