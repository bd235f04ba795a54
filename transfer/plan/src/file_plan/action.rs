//! What goes into a file plan and what comes out, besides pieces.

use std::ops::Range;
use std::time::Duration;

use crate::{DropReason, PeerKey, RequestId};

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
    /// Ask the origin for a run of pieces, as one range. With
    /// [`OriginUse::Stream`](crate::OriginUse::Stream) the run is the whole content: ask
    /// without a range, and expect pieces from the first on, also ones that are held
    /// already.
    AskOrigin {
        /// Names the request in everything that follows.
        request: RequestId,
        /// Which pieces.
        run: Range<u32>,
    },
    /// Break this request off. The plan has forgotten it: nothing more need be reported
    /// about it, but a piece that came in the meantime is still welcome.
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
    /// Every piece is held. Comes again only after [`FilePlan::forget`](crate::FilePlan::forget).
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All bytes came. Its pieces are to be reported before; what was not reported by
    /// then counts as not delivered.
    Complete,
    /// It broke: no connection, an error, an early end.
    Failed,
    /// The peer's queue is full: come back then.
    Refused {
        /// What the peer asked for; the plan waits a minute at most.
        retry_after: Duration,
    },
    /// The peer does not hold the content any more.
    NotHeld,
    /// The peer gives it, and this node does not take it: who vouched for it is not
    /// believed. That is not the peer's fault.
    Unwanted,
}

/// Why the origin could not answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginFailure {
    /// May pass. The plan tries a few times, a moment apart; longer waits are the job's.
    Transient {
        /// What the origin asked for; more than 5 s counts as [`OriginFailure::Final`]
        /// for this plan.
        retry_after: Option<Duration>,
    },
    /// Will not pass while this plan lives.
    Final,
    /// It sends the whole content whatever the range: the plan goes on as
    /// [`OriginUse::Stream`](crate::OriginUse::Stream).
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

/// What [`FilePlan::poll_timeout`](crate::FilePlan::poll_timeout) is for.
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
