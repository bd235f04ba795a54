//! Where every piece of one file comes from.

mod action;
mod ask_origin;
mod ask_together;
mod bookkeeping;
mod config;
mod judge;
mod peer;
mod pieces;
mod relieve;
mod schedule;
mod spread;
mod together;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use potluck_content::{Bitfield, Layout, PieceIndex};

pub use action::{Action, Deadline, OriginFailure, Outcome, PieceUse, StuckReason};
pub use config::{FilePlanConfig, OriginUse};

use crate::swarm::Swarm;
use crate::{
    DropReason, Holding, PeerFault, PeerKey, Priority, Rate, RequestId, ServeLimits, Source,
};
use peer::{Origin, Patience, Peer, Performance, Request};
use pieces::PieceTable;
use together::Together;

/// How often requests in flight are looked at.
const JUDGE_EVERY: Duration = Duration::from_millis(250);

/// A file that lost so many peers takes no more: it remembers those it dropped.
const MAX_DROPPED: usize = 1024;

/// The longest a peer that refused is left alone.
const LONGEST_REFUSAL: Duration = Duration::from_secs(60);

/// Decides which piece of one file is asked of whom.
///
/// Peers come first: each that joins is given runs of pieces it holds, rare ones
/// before common ones, a bounded number of requests each. The origin gives what no
/// peer holds. It gives the rest too when no peer is left, or when peers together
/// deliver less than the minimum rate. Who finds nothing missing takes over from the
/// slowest, so one slow source does not hold up the end. A peer that does wrong is
/// dropped; one that brings nothing is asked less and, after a few times, no more.
///
/// Invariants: every piece is missing, or asked of one (at the end of two), or held;
/// what is held is not asked for again (a stream, which has no ranges, passes it);
/// nothing is asked of a dropped peer; while pieces are missing there is a request in
/// flight, or a time in [`FilePlan::poll_timeout`] at which there will be one, or an
/// open discovery window, or [`Action::Stuck`] was said.
#[derive(Debug)]
pub struct FilePlan {
    layout: Layout,
    config: FilePlanConfig,
    pieces: PieceTable,
    requests: BTreeMap<RequestId, Request>,
    peers: BTreeMap<PeerKey, Peer>,
    dropped: BTreeSet<PeerKey>,
    origin: Origin,
    started: Instant,
    next_request: u64,
    window_open: bool,
    /// Whether a background job has left it to the peers alone for long enough.
    delay_over: bool,
    judge_at: Option<Instant>,
    /// Whether the last look came too late to blame anybody.
    excused: bool,
    finished: bool,
    stuck: bool,
    /// The swarm that this node fetches the file with.
    swarm: Option<Swarm>,
    together: Together,
    /// Drained by the caller after each event; bounded by requests and peers.
    actions: VecDeque<Action>,
}

impl FilePlan {
    /// A plan for what is missing in `held`. It asks peers as they join, and the origin
    /// only after [`FilePlan::handle_window_closed`].
    ///
    /// # Panics
    /// When `held` is of another number of pieces than `layout`.
    #[must_use]
    pub fn new(layout: Layout, held: &Bitfield, config: FilePlanConfig, now: Instant) -> Self {
        assert_eq!(
            held.pieces(),
            layout.pieces(),
            "a bitfield of another layout"
        );
        let config = FilePlanConfig {
            origin_connections: config.origin_connections.max(1),
            requests_per_peer: config.requests_per_peer.max(1),
            ..config
        };
        let origin = Origin {
            performance: Performance::new(&config, now),
            patience: Patience::default(),
            in_flight: 0,
            failed: false,
        };
        let mut plan = Self {
            layout,
            config,
            pieces: PieceTable::new(held),
            requests: BTreeMap::new(),
            peers: BTreeMap::new(),
            dropped: BTreeSet::new(),
            origin,
            started: now,
            next_request: 0,
            window_open: true,
            delay_over: false,
            judge_at: None,
            excused: false,
            finished: false,
            stuck: false,
            swarm: None,
            together: Together::new(now),
            actions: VecDeque::new(),
        };
        plan.finish_if_complete();
        plan
    }

    /// A peer holds the content, or a part of it, and serves so much at most if it said so.
    /// Told again, it replaces what was known. Ignored for a peer that was dropped, and
    /// when there are too many.
    pub fn handle_peer_joined(
        &mut self,
        key: PeerKey,
        holding: Holding,
        limits: Option<ServeLimits>,
        now: Instant,
    ) {
        if let Holding::Pieces(bitfield) = &holding
            && bitfield.pieces() != self.layout.pieces()
        {
            let fault = PeerFault::Protocol("a bitfield of another length".to_owned());
            self.handle_fault(key, fault, now);
            return;
        }
        let known = self.peers.contains_key(&key);
        if self.dropped.contains(&key)
            || self.dropped.len() >= MAX_DROPPED
            || !known && self.peers.len() >= self.config.max_peers
        {
            return;
        }
        self.set_holding(key, holding, now);
        self.set_limits(key, limits);
        self.schedule(now);
    }

    /// A peer got these pieces since.
    pub fn handle_peer_pieces(&mut self, key: PeerKey, pieces: &[PieceIndex], now: Instant) {
        self.add_peer_pieces(key, pieces);
        self.schedule(now);
    }

    /// A peer went away without a fault. It may come back.
    pub fn handle_peer_left(&mut self, key: PeerKey, now: Instant) {
        self.remove_peer(key, now);
        self.schedule(now);
    }

    /// A peer did wrong: its requests are cancelled and it is never asked again.
    pub fn handle_fault(&mut self, key: PeerKey, fault: PeerFault, now: Instant) {
        self.drop_peer(key, DropReason::Fault(fault), now);
        self.schedule(now);
    }

    /// The discovery window has closed: before that, the origin is not asked.
    pub fn handle_window_closed(&mut self, now: Instant) {
        self.window_open = false;
        if let Some(swarm) = &mut self.swarm {
            swarm.begin(now);
        }
        self.schedule(now);
    }

    /// The request waits in the queue of the peer. Tells only that the peer is alive.
    pub fn handle_waiting(&mut self, request: RequestId, now: Instant) {
        if let Some(request) = self.requests.get_mut(&request) {
            request.alive_at = now;
        }
    }

    /// Bytes of a request came, verified or not yet. To be told often, a few times a
    /// second at least: it is what rates and stalls are judged by.
    pub fn handle_progress(&mut self, id: RequestId, bytes: u64, now: Instant) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        if bytes > 0 {
            request.started = true;
            request.partial = request.partial.saturating_add(bytes);
            request.alive_at = now;
            match id.source {
                Source::Origin => {
                    self.origin.performance.add(bytes, now);
                    self.together.fetched(bytes, now);
                }
                Source::Peer(key) => {
                    if let Some(peer) = self.peers.get_mut(&key) {
                        peer.performance.add(bytes, now);
                    }
                }
            }
        }
        if self.judge_at.is_some_and(|at| at <= now) {
            self.handle_timeout(now);
        }
    }

    /// A piece of a request came and verified. To be told in the order of the run, and
    /// also of a request that was cancelled meanwhile.
    pub fn handle_piece(&mut self, id: RequestId, index: PieceIndex, now: Instant) -> PieceUse {
        let index = index.0;
        let trusted = match id.source {
            Source::Origin => true,
            Source::Peer(key) => !self.dropped.contains(&key),
        };
        if index >= self.pieces.len() || !trusted {
            return PieceUse::Discard;
        }
        if let Some(request) = self.requests.get_mut(&id) {
            request.next = request.next.max(index + 1);
            request.partial = 0;
            request.started = true;
            request.alive_at = now;
            match id.source {
                Source::Origin => self.origin.patience.succeed(),
                Source::Peer(key) => {
                    if let Some(peer) = self.peers.get_mut(&key) {
                        peer.patience.succeed();
                    }
                }
            }
        }
        if self.pieces.is_held(index) {
            return PieceUse::Discard;
        }
        self.together.got(now);
        let mut over = false;
        for owner in self.pieces.hold(index, id.source).into_iter().flatten() {
            over |= self.disown(owner);
        }
        self.finish_if_complete();
        if over {
            self.schedule(now);
        }
        PieceUse::Keep
    }

    /// A piece of the origin could not be kept, which is not the origin's fault: it is
    /// asked again.
    pub fn handle_origin_piece_lost(&mut self) {
        self.origin.patience.succeed();
    }

    /// A request ended. Not to be told of one that the plan cancelled, nor of a failed
    /// one to the origin.
    pub fn handle_request_ended(&mut self, id: RequestId, outcome: Outcome, now: Instant) {
        let Some(request) = self.remove_request(id) else {
            return;
        };
        match (id.source, outcome) {
            (Source::Origin, _) => self.blame_origin(Duration::ZERO, now),
            (Source::Peer(key), Outcome::Complete | Outcome::Failed) => self.blame(key, now),
            (Source::Peer(key), Outcome::NotHeld) if self.is_member(key) => {
                self.lose_holding(key, request.run);
                self.blame(key, now);
            }
            (Source::Peer(key), Outcome::Unwanted) if self.is_member(key) => {
                self.lose_holding(key, request.run);
            }
            (Source::Peer(key), Outcome::NotHeld | Outcome::Unwanted) => {
                self.drop_peer(key, DropReason::NotHeld, now);
            }
            (Source::Peer(key), Outcome::Refused { retry_after }) => {
                if let Some(peer) = self.peers.get_mut(&key) {
                    let pause = retry_after.clamp(JUDGE_EVERY, LONGEST_REFUSAL);
                    peer.patience.pause(pause, now);
                    peer.performance.disappoint(now);
                }
            }
        }
        self.schedule(now);
    }

    /// A request to the origin failed.
    pub fn handle_origin_failed(&mut self, id: RequestId, failure: OriginFailure, now: Instant) {
        if id.source != Source::Origin || self.remove_request(id).is_none() {
            return;
        }
        match failure {
            OriginFailure::Transient { retry_after } => {
                self.blame_origin(retry_after.unwrap_or_default(), now);
            }
            OriginFailure::NoRanges if self.config.origin == OriginUse::Ranges => {
                self.config.origin = OriginUse::Stream;
                // The other ranges would bring the whole content each.
                self.cancel_all(Source::Origin);
            }
            OriginFailure::NoRanges | OriginFailure::Final => self.origin.failed = true,
        }
        self.schedule(now);
    }

    /// Changes how the origin may be used; one that failed gets another chance.
    pub fn set_origin(&mut self, origin: OriginUse, now: Instant) {
        if origin != self.config.origin {
            self.cancel_all(Source::Origin);
        }
        self.config.origin = origin;
        self.origin.failed = false;
        self.origin.patience = Patience::default();
        self.schedule(now);
    }

    /// Changes the priority of the job.
    pub fn set_priority(&mut self, priority: Priority, now: Instant) {
        self.config.priority = priority;
        self.schedule(now);
    }

    /// The rate below which the origin tops up.
    #[must_use]
    pub const fn min_peer_rate(&self) -> Rate {
        self.config.min_peer_rate
    }

    /// Changes the rate below which the origin tops up.
    pub fn set_min_peer_rate(&mut self, rate: Rate, now: Instant) {
        self.config.min_peer_rate = rate;
        self.schedule(now);
    }

    /// These pieces turned out worthless: they are missing again.
    pub fn forget(&mut self, pieces: &[PieceIndex], now: Instant) {
        for piece in pieces {
            self.pieces.forget(piece.0);
        }
        self.finished &= self.pieces.is_complete();
        self.schedule(now);
    }

    /// Whether this piece is not held yet.
    #[must_use]
    pub fn wants(&self, index: PieceIndex) -> bool {
        index.0 < self.pieces.len() && !self.pieces.is_held(index.0)
    }

    /// Whether every piece is held.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether this peer takes part.
    #[must_use]
    pub fn is_peer(&self, key: PeerKey) -> bool {
        self.peers.contains_key(&key)
    }

    /// How many pieces are held.
    #[must_use]
    pub const fn held(&self) -> u32 {
        self.pieces.held()
    }

    /// The held pieces that came from this source in the life of this plan.
    #[must_use]
    pub fn pieces_from(&self, source: Source) -> Vec<PieceIndex> {
        self.pieces.of(source).collect()
    }

    /// Where a held piece came from in the life of this plan.
    #[must_use]
    pub fn source_of(&self, index: PieceIndex) -> Option<Source> {
        self.pieces.source_of(index.0)
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
