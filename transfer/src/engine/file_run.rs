//! Drives the plan of one file until every piece is held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use potluck_content::{ChainingValue, ContentId, PieceIndex};
use potluck_discovery::Holding as PeerHolding;
use potluck_plan::{
    Accounting, Action, DropReason, FilePlan, Holding, OriginUse, Outcome, PeerFault, PeerKey,
    Rate, RequestId, ServeLimits, Source, SwarmCounts,
};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::engine::beside::Beside;
use crate::engine::fetch::{
    LOOK_AT_TURN, OriginSource, Parts, Sink, from_member, from_origin, from_peer,
};
use crate::engine::neighbours::Neighbours;
use crate::engine::once_proven::OnceProven;
use crate::engine::packing::Packing;
use crate::engine::piece_store::{Event, PieceStore};
use crate::engine::request::TransferError;
use crate::engine::search::{Found, News, Search};
use crate::engine::swarms::Swarms;
use crate::engine::together::{OfSwarm, Together, key_of};
use crate::origin::OriginError;
use crate::peer_client::{PeerAddress, PeerClient};
use crate::rates::now;
use crate::swarm::SignedStatement;

/// New bytes are made durable after so many, or after so long.
const CHECKPOINT_BYTES: u64 = 64 << 20;
const CHECKPOINT_TIME: Duration = Duration::from_secs(5);

/// Who gives pieces, and how it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Giver {
    /// It holds the content, which a manifest proves.
    Holder(PeerAddress),
    /// It fetches the same entity.
    Member(PeerAddress),
}

impl Giver {
    pub(super) const fn address(self) -> PeerAddress {
        match self {
            Self::Holder(at) | Self::Member(at) => at,
        }
    }
}

/// One file on its way.
pub(crate) struct FileRun {
    pub(crate) plan: FilePlan,
    pub(crate) store: Arc<PieceStore>,
    pub(crate) origin: Arc<OriginSource>,
    /// Where its bytes lie at the origin, when it is not the whole.
    pub(crate) packing: Option<Arc<Packing>>,
    pub(crate) origin_use: OriginUse,
    /// Whether the whole came where a part was asked for.
    pub(crate) parts_refused: bool,
    pub(crate) givers: Vec<Giver>,
    /// The swarm that it is fetched with.
    pub(crate) together: Option<Together>,
    /// The swarm that it is fetched with once a manifest proves its pieces.
    pub(crate) once_proven: Option<OnceProven>,
    /// How it went with the swarm, as far as the plan does not know it.
    pub(crate) counts: SwarmCounts,
    /// What members signed of pieces that turned out doubtful.
    pub(crate) doubted: BTreeMap<PieceIndex, Arc<SignedStatement>>,
    /// What of that the origin contradicted, once.
    pub(crate) contradicted: Vec<(Arc<SignedStatement>, ChainingValue)>,
    /// Whose word counts, also when it is not fetched together any more.
    pub(crate) swarms: Option<Swarms>,
    /// How many members had been caught when that was last looked at.
    pub(crate) bans_seen: u64,
    pub(crate) domain: Option<(Arc<dyn Neighbours>, PeerClient)>,
    pub(crate) search: Option<Search>,
    pub(crate) content: Option<ContentId>,
    pub(crate) beside: Beside,
    pub(crate) accounting: Accounting,
    pub(crate) events: mpsc::Receiver<(RequestId, Event)>,
    pub(crate) sender: mpsc::Sender<(RequestId, Event)>,
    pub(crate) requests: JoinSet<()>,
    pub(crate) running: BTreeMap<RequestId, AbortHandle>,
    pub(crate) origin_error: Option<OriginError>,
    pub(crate) housekeeping: JoinSet<()>,
    pub(crate) unsaved: u64,
    pub(crate) saved_at: Instant,
}

impl FileRun {
    /// Runs until every piece is held. `show` is called when something changed.
    pub(crate) async fn drive(
        &mut self,
        mut show: impl FnMut(&Self) + Send,
    ) -> Result<(), TransferError> {
        self.look_at_window();
        loop {
            // However much comes: old news make this node take over what others do.
            while let Some((peer, heard)) = self.try_heard() {
                self.on_heard(peer, heard);
            }
            self.look_at_bans()?;
            self.look_at_proof()?;
            self.carry_out()?;
            self.tell_swarm();
            let audited = self.together.as_ref().is_none_or(|it| it.audits.are_done());
            if self.plan.is_finished() && audited {
                return Ok(());
            }
            let wake = self.poll_timeout();
            tokio::select! {
                biased;
                Some((request, event)) = self.events.recv() => {
                    self.on_event(request, event)?;
                    show(self);
                    self.save();
                }
                Some(ended) = self.requests.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
                swarm = of_swarm(&mut self.together) => match swarm {
                    OfSwarm::Heard(peer, heard) => self.on_heard(peer, heard),
                    OfSwarm::Audited(audited) => self.on_audited(&audited)?,
                },
                news = next_news(&mut self.search) => {
                    match news {
                        News::Found(found) => self.adopt(found)?,
                        News::Holder(peer, holding) => self.join(peer, holding),
                        News::Nothing => {}
                    }
                    self.look_at_window();
                }
                manifest = self.beside.next() => {
                    self.adopt_beside(manifest)?;
                    show(self);
                }
                // Then more can be saved.
                Some(_) = self.housekeeping.join_next() => {}
                () = sleep_until(wake) => {
                    self.save();
                    self.plan.handle_timeout(now());
                    if let Some(search) = &mut self.search {
                        let holders = self.givers.iter().filter_map(|giver| match giver {
                            Giver::Holder(at) => Some(*at),
                            Giver::Member(_) => None,
                        });
                        search.handle_timeout(&holders.collect::<Vec<_>>());
                    }
                    self.look_at_window();
                }
            }
        }
    }

    /// A peer takes part.
    pub(crate) fn join(&mut self, peer: PeerAddress, holding: PeerHolding) {
        let giver = Giver::Holder(peer);
        if self.givers.contains(&giver) || Some(holding.content) != self.content {
            return;
        }
        let key = key_of(self.givers.len());
        self.givers.push(giver);
        let limits = holding.serves.map(|serves| ServeLimits {
            clients: serves.clients,
            rate: serves.bits_per_second.map_or(Rate::Unlimited, Rate::Bits),
        });
        let holding = holding.bitfield.map_or(Holding::Whole, Holding::Pieces);
        self.plan.handle_peer_joined(key, holding, limits, now());
    }

    /// Somebody proved what peers hold after the transfer had begun without them.
    fn adopt(&mut self, found: Found) -> Result<(), TransferError> {
        let vouched = self.beside.vouches_for();
        if vouched.is_some_and(|content| content != found.manifest.id()) {
            tracing::warn!(content = %found.manifest.id(), "peers hold something else than the origin's manifest says");
            self.search = None;
            return Ok(());
        }
        let differing = self.store.partial.differing(&found.manifest);
        let of_origin = self.plan.pieces_from(Source::Origin);
        if differing
            .iter()
            .any(|index| of_origin.binary_search(index).is_ok())
        {
            tracing::warn!(content = %found.manifest.id(), "peers hold something else than the origin has");
            self.search = None;
            return Ok(());
        }
        self.forget_pieces(&differing)?;
        self.content = Some(found.manifest.id());
        self.store.set_manifest(Some(found.manifest));
        for (peer, holding) in found.holders {
            self.join(peer, holding);
        }
        Ok(())
    }

    /// Drops every peer and everything that is not surely the origin's: what they gave,
    /// or said that the content is, is not what the origin has.
    pub(crate) fn distrust_peers(&mut self) -> Result<(), TransferError> {
        // It turned out to be of another content.
        self.beside.forget();
        self.store.set_manifest(None);
        self.content = None;
        self.search = None;
        for place in 0..self.givers.len() {
            match self.givers[place] {
                Giver::Holder(_) => {
                    let fault = PeerFault::WrongContent;
                    self.plan.handle_fault(key_of(place), fault, now());
                }
                // It gave what somebody signed: the origin will show who lied.
                Giver::Member(_) => self.plan.handle_peer_left(key_of(place), now()),
            }
        }
        self.plan.handle_window_closed(now());
        let good = self.plan.pieces_from(Source::Origin);
        let doubtful: Vec<PieceIndex> = self
            .store
            .layout
            .indices()
            .filter(|index| !self.plan.wants(*index) && good.binary_search(index).is_err())
            .collect();
        if let Some(together) = self.together.take() {
            let signed = doubtful
                .iter()
                .filter(|index| together.pieces.vouched_by(**index).is_some());
            self.doubted = signed
                .filter_map(|index| Some((*index, together.pieces.statement(*index)?)))
                .collect();
        }
        let (before, origin) = (self.accounting.received(), self.bytes_of(&good));
        tracing::warn!(pieces = doubtful.len(), "pieces dropped");
        self.store.partial.discard_pieces(&doubtful)?;
        self.plan.forget(&doubtful, now());
        self.accounting = Accounting {
            origin,
            discarded: before.saturating_sub(origin),
            ..Accounting::default()
        };
        Ok(())
    }

    /// Ends all requests; afterwards nobody else uses the store.
    pub(crate) async fn wind_down(&mut self) {
        self.events.close();
        self.requests.shutdown().await;
        while self.housekeeping.join_next().await.is_some() {}
        while self.events.try_recv().is_ok() {}
        self.store.settle().await;
    }

    /// When to look at the plan, the peers and what is not saved yet.
    fn poll_timeout(&self) -> Option<Instant> {
        let plan = self.plan.poll_timeout().map(|(at, _)| at);
        let search = self.search.as_ref().map(Search::poll_timeout);
        let save = (self.unsaved > 0 && self.housekeeping.is_empty())
            .then(|| self.saved_at + CHECKPOINT_TIME);
        [plan, search, save].into_iter().flatten().min()
    }

    fn look_at_window(&mut self) {
        let search = self.search.as_ref();
        if search.is_none_or(|search| !search.window.is_open()) {
            self.plan.handle_window_closed(now());
        }
    }

    fn carry_out(&mut self) -> Result<(), TransferError> {
        while let Some(action) = self.plan.poll_action() {
            tracing::debug!(?action, "plan");
            match action {
                Action::Ask { request, peer, run } => {
                    if !self.ask_peer(request, peer, run) {
                        self.plan
                            .handle_request_ended(request, Outcome::NotHeld, now());
                    }
                }
                Action::AskOrigin { request, run } => {
                    let sink = self.sink(request, run);
                    let parts = match (self.origin_use, &self.packing) {
                        (OriginUse::Stream, _) => Parts::Whole,
                        (_, None) => Parts::Some(vec![sink.bytes()]),
                        (_, Some(packing)) => Parts::Some(packing.sources_of(sink.bytes())),
                    };
                    let fetch = from_origin(Arc::clone(&self.origin), parts, sink);
                    self.running.insert(request, self.requests.spawn(fetch));
                }
                Action::Cancel { request } => {
                    if let Some(running) = self.running.remove(&request) {
                        running.abort();
                    }
                }
                Action::DropPeer { peer, reason } => self.drop_peer(peer, &reason),
                // The loop looks whether it is.
                Action::Finished => {}
                Action::Stuck { reason } => {
                    let error = self.origin_error.take();
                    return Err(error.map_or_else(
                        || {
                            let context = potluck_plan::ErrorContext::Peer;
                            TransferError::new("no_source", context, reason.to_string(), true)
                        },
                        TransferError::from,
                    ));
                }
            }
        }
        Ok(())
    }

    /// Asks a peer, if it can still be asked.
    fn ask_peer(&mut self, request: RequestId, peer: PeerKey, run: std::ops::Range<u32>) -> bool {
        let Some((_, client)) = &self.domain else {
            return false;
        };
        let (client, sink) = (client.clone(), self.sink(request, run));
        let running = match (
            self.givers.get(peer.0 as usize),
            self.content,
            &self.together,
        ) {
            (Some(Giver::Holder(at)), Some(content), _) => {
                self.requests.spawn(from_peer(client, *at, content, sink))
            }
            (Some(Giver::Member(at)), _, Some(together)) => {
                let swarm = (together.swarms.clone(), *together.pieces.entity());
                self.requests.spawn(from_member(client, *at, swarm, sink))
            }
            _ => return false,
        };
        self.running.insert(request, running);
        true
    }

    fn sink(&self, request: RequestId, run: std::ops::Range<u32>) -> Sink {
        let enough = self.plan.min_peer_rate().bytes_in(LOOK_AT_TURN);
        Sink {
            enough: enough.max(1),
            store: Arc::clone(&self.store),
            request,
            events: self.sender.clone(),
            run,
        }
    }

    fn drop_peer(&mut self, peer: PeerKey, reason: &DropReason) {
        let Some(address) = self
            .givers
            .get(peer.0 as usize)
            .map(|giver| giver.address())
        else {
            return;
        };
        tracing::debug!(peer = %address.id, %reason, "peer dropped");
        if let (DropReason::Fault(fault), Some((neighbours, client))) = (reason, &self.domain) {
            client.forget(&address.id);
            neighbours.report_fault(address.id, fault.to_string());
        }
    }

    /// Makes new bytes durable now and then, one time at once.
    fn save(&mut self) {
        let due = self.unsaved >= CHECKPOINT_BYTES
            || (self.unsaved > 0
                && now().saturating_duration_since(self.saved_at) >= CHECKPOINT_TIME);
        if due && self.housekeeping.is_empty() {
            self.unsaved = 0;
            self.saved_at = now();
            let (store, copied) = (Arc::clone(&self.store), Arc::clone(&self.store));
            self.housekeeping
                .spawn_blocking(move || copied.partial.sync_early_copy());
            self.housekeeping.spawn_blocking(move || {
                if let Err(error) = store.partial.checkpoint() {
                    tracing::warn!(%error, "unfinished content not made durable");
                }
            });
        }
    }

    pub(super) fn bytes_of(&self, pieces: &[PieceIndex]) -> u64 {
        pieces
            .iter()
            .map(|index| self.store.layout.len_of(*index) as u64)
            .sum()
    }
}

async fn of_swarm(together: &mut Option<Together>) -> OfSwarm {
    match together {
        Some(together) => together.next().await,
        None => std::future::pending().await,
    }
}

async fn next_news(search: &mut Option<Search>) -> News {
    match search {
        Some(search) => search.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
