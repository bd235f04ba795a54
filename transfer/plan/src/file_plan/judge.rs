//! Looking at the requests in flight, and who is to blame.

use std::time::{Duration, Instant};

use super::{Deadline, FilePlan, JUDGE_EVERY, OriginUse};
use crate::{DropReason, PeerKey, RequestId, Source};

/// A look that comes so late says that this node is too busy to notice what others do.
const HELD_UP: Duration = Duration::from_millis(150);

/// A look that comes so late says that this node was held up, not its peers.
const TOO_LATE: Duration = Duration::from_secs(1);

/// The longest pause that the origin may ask for without ending its part in the plan:
/// longer waits are the job's, which frees its place meanwhile.
const LONGEST_ORIGIN_PAUSE: Duration = Duration::from_secs(5);

impl FilePlan {
    /// Time went by. May be called at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(due) = self.judge_at
            && due <= now
        {
            self.judge_at = Some(now + JUDGE_EVERY);
            if now.saturating_duration_since(due) > HELD_UP {
                self.together.awake_since = now;
            }
            if now.saturating_duration_since(due) > TOO_LATE && !self.excused {
                self.excuse(due, now);
            } else {
                self.excused = false;
                self.end_stalled(now);
            }
        }
        self.together.look_around = true;
        self.tick_swarm(now);
        self.schedule(now);
    }

    /// When to call [`FilePlan::handle_timeout`], and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Deadline)> {
        if self.finished {
            return None;
        }
        let judge = self.judge_at.map(|at| (at, Deadline::Judge));
        let peers = self
            .peers
            .values()
            .filter_map(|peer| peer.patience.not_before)
            .min()
            .map(|at| (at, Deadline::PeerRetry));
        let origin_is_in = self.config.origin != OriginUse::Never && !self.origin.failed;
        let origin = self
            .origin
            .patience
            .not_before
            .filter(|_| origin_is_in)
            .map(|at| (at, Deadline::OriginRetry));
        let delay = (origin_is_in && !self.delay_over && self.config.priority.is_background())
            .then(|| self.started.checked_add(self.config.origin_delay))
            .flatten()
            .map(|at| (at, Deadline::OriginDelay));
        [judge, peers, origin, delay].into_iter().flatten().min()
    }

    /// The request was not sent yet: others of this node have their turn at the peer
    /// before, and it gives them enough. The time until now says nothing of anybody. To be
    /// told a few times a second.
    pub fn handle_held_back(&mut self, id: RequestId, now: Instant) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        (request.asked_at, request.alive_at) = (now, now);
        let mut requests = self.requests.iter();
        let is_heard = requests.any(|(it, request)| it.source == id.source && request.started);
        if let Source::Peer(key) = id.source
            && !is_heard
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.performance.excuse(now, self.config.grace, now);
        }
    }

    /// Breaks off what brings nothing any more.
    fn end_stalled(&mut self, now: Instant) {
        let config = &self.config;
        let stalled: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(id, request)| {
                let patience = match id.source {
                    Source::Origin => config.origin_stall_timeout,
                    Source::Peer(_) if request.started => config.stall_timeout,
                    Source::Peer(_) => config.wait_timeout,
                };
                now.saturating_duration_since(request.alive_at) >= patience
            })
            .map(|(id, _)| *id)
            .collect();
        for id in stalled {
            self.cancel(id);
            match id.source {
                Source::Origin => self.blame_origin(Duration::ZERO, now),
                Source::Peer(key) => self.blame(key, now),
            }
        }
    }

    /// This node was held up since `due`: what did not come in that time is not held
    /// against anybody.
    fn excuse(&mut self, due: Instant, now: Instant) {
        self.excused = true;
        let late = now.saturating_duration_since(due);
        for request in self.requests.values_mut() {
            request.alive_at = (request.alive_at + late).min(now);
        }
        let grace = self.config.grace;
        for peer in self.peers.values_mut() {
            peer.performance.excuse(due, grace, now);
        }
        self.origin.performance.excuse(due, grace, now);
    }

    /// A request to this peer brought nothing.
    pub(super) fn blame(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.patience.fail(Duration::ZERO, now);
        peer.performance.disappoint(now);
        let failures = peer.patience.failures;
        if failures >= self.config.max_failures {
            self.drop_peer(key, DropReason::Unresponsive(failures), now);
        }
    }

    /// A request to the origin brought nothing.
    pub(super) fn blame_origin(&mut self, pause: Duration, now: Instant) {
        self.origin.patience.fail(pause, now);
        if self.origin.patience.failures >= self.config.max_failures || pause > LONGEST_ORIGIN_PAUSE
        {
            self.origin.failed = true;
        }
    }
}
