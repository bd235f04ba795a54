//! Where every piece of one file comes from.

mod config;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use potluck_content::{Bitfield, Layout, PieceIndex};

pub use config::{FilePlanConfig, OriginUse};

use crate::{DropReason, Holding, PeerFault, PeerKey, Priority, Rate, RequestId, Source};

/// What the driver owes after a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask this peer for a run of pieces.
    Ask {
        /// Names the request in everything that follows.
        request: RequestId,
        /// Whom to ask.
        peer: PeerKey,
        /// Which pieces, from the first to before the last.
        run: Range<u32>,
    },
    /// Ask the origin for a run of pieces, as one range. With [`OriginUse::Stream`] the
    /// run is the whole content: ask without a range, and expect pieces from the first
    /// on, also ones that are held already.
    AskOrigin {
        /// Names the request in everything that follows.
        request: RequestId,
        /// Which pieces.
        run: Range<u32>,
    },
    /// Break this request off. The plan has forgotten it: nothing more need be reported
    /// about it, a piece that came in the meantime is still welcome.
    Cancel {
        /// Which request.
        request: RequestId,
    },
    /// Nothing more is asked of this peer. Its requests were cancelled before.
    DropPeer {
        /// Which peer.
        peer: PeerKey,
        /// Why. A fault is to be reported to the peer list.
        reason: DropReason,
    },
    /// Every piece is held. Comes again only after [`FilePlan::forget`].
    Finished,
    /// Pieces are missing and nobody is left to ask. A peer that joins, or an origin
    /// that is allowed again, gets things going.
    Stuck {
        /// Why the origin does not help.
        reason: StuckReason,
    },
}

/// Why the origin does not help out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StuckReason {
    /// It is not to be asked.
    #[error("no peer holds the rest, and the origin is not to be asked")]
    OriginNotAllowed,
    /// It failed for good, or too often.
    #[error("no peer holds the rest, and the origin failed")]
    OriginFailed,
}

/// How a request ended, as its driver saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All bytes came.
    Complete,
    /// It broke: no connection, an error, an early end.
    Failed,
    /// The peer's queue is full: come back then.
    Refused {
        /// What the peer asked for; bounded by the plan.
        retry_after: Duration,
    },
    /// The peer does not hold the content any more.
    NotHeld,
}

/// Why the origin could not answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginFailure {
    /// May pass. The plan tries a few times, a moment apart; longer waits are the job's.
    Transient {
        /// What the origin asked for; more than a moment counts as
        /// [`OriginFailure::Final`] for this plan.
        retry_after: Option<Duration>,
    },
    /// Will not pass while this plan lives.
    Final,
    /// It sends the whole content whatever the range: goes on as [`OriginUse::Stream`].
    NoRanges,
}

/// What to do with a verified piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceUse {
    /// Store it. The plan counts it as held from now on.
    Keep,
    /// It is held already, or its giver is no longer trusted: count it as discarded.
    Discard,
}

/// What [`FilePlan::poll_timeout`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// Looking again how fast the requests in flight deliver.
    Judge,
    /// A peer may be asked again.
    PeerRetry,
    /// The origin may be asked again.
    OriginRetry,
    /// The time for which a background job leaves it to the peers is over.
    OriginDelay,
}

/// Decides which piece of one file is asked of whom.
#[derive(Debug)]
pub struct FilePlan {
    layout: Layout,
    config: FilePlanConfig,
    held: Bitfield,
    actions: VecDeque<Action>,
}

impl FilePlan {
    /// A plan for what is missing in `held`.
    ///
    /// # Panics
    /// When `held` is of another number of pieces than `layout`.
    #[must_use]
    pub fn new(layout: Layout, held: Bitfield, config: FilePlanConfig, now: Instant) -> Self {
        assert_eq!(held.pieces(), layout.pieces(), "a bitfield of this layout");
        let _ = now;
        Self {
            layout,
            config,
            held,
            actions: VecDeque::new(),
        }
    }

    /// A peer holds the content, or a part of it.
    pub fn handle_peer_joined(&mut self, _peer: PeerKey, _holding: Holding, _now: Instant) {}

    /// A peer got these pieces since.
    pub fn handle_peer_pieces(&mut self, _peer: PeerKey, _pieces: &[PieceIndex], _now: Instant) {}

    /// A peer went away without a fault.
    pub fn handle_peer_left(&mut self, _peer: PeerKey, _now: Instant) {}

    /// A peer did wrong: its requests are cancelled and it is never asked again.
    pub fn handle_fault(&mut self, _peer: PeerKey, _fault: PeerFault, _now: Instant) {}

    /// The discovery window has closed: before that, the origin is not asked.
    pub fn handle_window_closed(&mut self, _now: Instant) {}

    /// The request waits in the queue of the peer. Only tells that the peer is alive.
    pub fn handle_waiting(&mut self, _request: RequestId, _now: Instant) {}

    /// Bytes of a request came, verified or not yet.
    pub fn handle_progress(&mut self, _request: RequestId, _bytes: u64, _now: Instant) {}

    /// A piece of a request came and verified.
    pub fn handle_piece(
        &mut self,
        _request: RequestId,
        index: PieceIndex,
        _now: Instant,
    ) -> PieceUse {
        if self.held.set(index) {
            PieceUse::Keep
        } else {
            PieceUse::Discard
        }
    }

    /// A request to a peer ended, or one to the origin without a failure.
    pub fn handle_request_ended(&mut self, _request: RequestId, _outcome: Outcome, _now: Instant) {}

    /// A request to the origin failed.
    pub fn handle_origin_failed(
        &mut self,
        _request: RequestId,
        _failure: OriginFailure,
        _now: Instant,
    ) {
    }

    /// Time went by.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// Changes how the origin may be used; a failed origin gets another chance.
    pub fn set_origin(&mut self, origin: OriginUse, _now: Instant) {
        self.config.origin = origin;
    }

    /// Changes the priority of the job.
    pub fn set_priority(&mut self, priority: Priority, _now: Instant) {
        self.config.priority = priority;
    }

    /// Changes the rate below which the origin tops up.
    pub fn set_min_peer_rate(&mut self, rate: Rate, _now: Instant) {
        self.config.min_peer_rate = rate;
    }

    /// These pieces turned out worthless: they are missing again.
    pub fn forget(&mut self, pieces: &[PieceIndex], _now: Instant) {
        for piece in pieces {
            self.held.clear(*piece);
        }
    }

    /// Whether this piece is still missing here.
    #[must_use]
    pub fn wants(&self, index: PieceIndex) -> bool {
        index.0 < self.layout.pieces() && !self.held.has(index)
    }

    /// The pieces held now that came from peers, or from this one only.
    #[must_use]
    pub fn pieces_from(&self, _source: Source) -> Vec<PieceIndex> {
        Vec::new()
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`FilePlan::handle_timeout`], and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Deadline)> {
        None
    }
}
